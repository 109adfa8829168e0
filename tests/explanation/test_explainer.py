"""The explainer on black boxes whose importance is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr

from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.explanation.perturbations import Blend, Presence
from ros_xai.explanation.sobol import ConstantOutputWarning, sobol_indices
from ros_xai.explanation.targets import RegionLogit

GRID, SHAPE = (3, 4), (24, 40)
WEIGHTS = np.zeros(GRID)
WEIGHTS[0, 1], WEIGHTS[1, 2], WEIGHTS[2, 0] = 1.0, 2.0, 3.0
IMAGE = np.ones((3, *SHAPE), dtype=np.float32)
NEAREST = Blend(interpolation="nearest")


def cell_means(images: np.ndarray) -> np.ndarray:
    """[n, 3, 24, 40] to the means of the 3 x 4 cells [n, 3, 4]."""
    return images.astype(np.float64).mean(1).reshape(-1, 3, 8, 4, 10).mean((2, 4))


def linear(images: np.ndarray) -> np.ndarray:
    return (cell_means(images) * WEIGHTS).sum((1, 2))


def explainer(predict=linear, **changes) -> SobolExplainer:
    settings = {
        "grid": GRID,
        "designs": 64,
        "perturbation": NEAREST,
        "batch_size": 50,
        "masks": "uniform",
    }
    return SobolExplainer(predict, **(settings | changes))


def test_linear_box_has_indices_of_its_squared_weights() -> None:
    attribution = explainer(designs=512, first_order=True).explain(IMAGE)
    np.testing.assert_allclose(attribution.values, WEIGHTS**2 / 14, atol=0.06)
    np.testing.assert_allclose(attribution.first, WEIGHTS**2 / 14, atol=0.12)
    np.testing.assert_allclose(attribution.values[WEIGHTS == 0], 0, atol=1e-12)
    assert attribution.top(3) == [(2, 0), (1, 2), (0, 1)]
    assert attribution.forwards == 512 * (12 + 2)


def test_equals_the_indices_of_the_function_of_masks() -> None:
    """The stream of rows and batches changes nothing but the order of the forwards."""

    def of_masks(masks: np.ndarray) -> np.ndarray:
        masks = masks.astype(np.float32).reshape(-1, *GRID)
        return (masks[:, 0, 0] + 2 * masks[:, 1, 2] * masks[:, 2, 1]).astype(np.float64)

    def of_images(images: np.ndarray) -> np.ndarray:
        return of_masks(images[:, 0, 4::8, 5::10])

    direct = sobol_indices(of_masks, 12, 64, seed=0, order=("total", "first"))
    attribution = explainer(of_images, first_order=True, batch_size=17).explain(IMAGE)
    np.testing.assert_allclose(attribution.values.ravel(), direct.total, atol=1e-12)
    np.testing.assert_allclose(attribution.first.ravel(), direct.first, atol=1e-12)
    np.testing.assert_allclose(attribution.standard_error.ravel(), direct.standard_error, atol=1e-9)


def test_batches_are_bounded_and_full() -> None:
    sizes = []

    def predict(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return linear(images)

    attribution = explainer(predict, designs=16).explain(IMAGE)
    assert attribution.forwards == sum(sizes) == 16 * 13
    assert sizes == [50, 50, 50, 50, 8]


def test_several_targets_cost_one_pass() -> None:
    calls = []

    def predict(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return cell_means(images).reshape(len(images), 12)

    both = explainer(predict).explain(IMAGE, lambda y: torch.stack([y[:, 1], y[:, 6] + y[:, 8]], 1))
    assert sum(calls) == both.forwards == 64 * 13
    assert both.values.shape == (2, *GRID)
    for number, target in enumerate((lambda y: y[:, 1], lambda y: y[:, 6] + y[:, 8])):
        alone = explainer(predict).explain(IMAGE, target)
        np.testing.assert_allclose(both[number].values, alone.values, atol=1e-12)
    assert both[0].top(1) == [(0, 1)]
    assert both[0].heatmap().shape == SHAPE


def test_cells_beyond_the_receptive_field_have_no_importance() -> None:
    """Two 3 x 3 convolutions see two pixels beyond the region they are asked about."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3, padding=1)
    )
    region = np.zeros(SHAPE, dtype=bool)
    region[2:6, 12:18] = True  # two pixels inside the cell (0, 1)
    predict = lambda images: network(torch.from_numpy(images))  # noqa: E731
    image = np.random.default_rng(0).random((3, *SHAPE), dtype=np.float32)
    attribution = explainer(predict).explain(image, RegionLogit(1, region))
    assert attribution.values[0, 1] == pytest.approx(1, abs=0.25)
    assert np.abs(np.delete(attribution.values, 1)).max() < 1e-6


def test_constant_box_gives_zeros_and_a_warning() -> None:
    with pytest.warns(ConstantOutputWarning):
        attribution = explainer(lambda images: np.full(len(images), 7.0)).explain(IMAGE)
    assert attribution.constant
    assert not attribution.values.any()
    assert not attribution.heatmap().any()


def test_redundant_cells_are_found_where_occlusion_sees_nothing() -> None:
    """Either of two signs suffices: hiding one changes nothing, yet both matter."""

    def either(images: np.ndarray) -> np.ndarray:
        cells = cell_means(images)
        return np.maximum(cells[:, 0, 0] > 0.2, cells[:, 2, 3] > 0.2).astype(float)

    attribution = explainer(either, designs=256).explain(IMAGE)
    assert set(attribution.top(2)) == {(0, 0), (2, 3)}
    interactions = explainer(either, designs=1024).interactions(
        IMAGE, [((0, 0), (2, 3)), ((0, 0), (1, 1))]
    )
    # P = 1 - p^2 with p = 0.2: S_ij = (1 - p)^2 / (1 - p^2) of the variance.
    np.testing.assert_allclose(interactions.interaction, [0.64 / 0.96, 0], atol=0.1)


def test_neighbours_of_a_forecast() -> None:
    """A 'forecast' that reacts to the third of four agents only."""
    agents = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    box = SobolExplainer(lambda x: x[:, 2].sum(1), grid=(4, 1), perturbation=Presence())
    np.testing.assert_allclose(box.explain(agents).values.ravel(), [0, 0, 1, 0], atol=0.3)


def test_binary_masks_give_the_indices_of_coin_tosses() -> None:
    """y = sum(w m) with m in {0, 1}: still w^2 / sum(w^2), and the slopes are the weights."""
    attribution = explainer(designs=512, masks="binary").explain(IMAGE)
    np.testing.assert_allclose(attribution.values, WEIGHTS**2 / 14, atol=0.04)
    np.testing.assert_allclose(attribution.slope, WEIGHTS, atol=1e-6)
    product = explainer(
        lambda images: cell_means(images)[:, 0, 0] * cell_means(images)[:, 1, 1],
        designs=2048,
        masks="binary",
    ).explain(IMAGE)
    # A product of two tosses: V = 3 / 16, E[Var(y | other)] = 1 / 8.
    np.testing.assert_allclose(product.values[[0, 1], [0, 1]], 2 / 3, atol=0.05)


def test_signs_tell_evidence_for_from_evidence_against() -> None:
    def against(images: np.ndarray) -> np.ndarray:
        return cell_means(images)[:, 0, 1] - 2 * cell_means(images)[:, 2, 2]

    for masks in ("uniform", "binary"):
        attribution = explainer(against, masks=masks).explain(IMAGE)
        assert attribution.slope[0, 1] == pytest.approx(1, abs=1e-5)
        assert attribution.slope[2, 2] == pytest.approx(-2, abs=1e-5)
        effects = attribution.signed().values
        np.testing.assert_allclose(effects**2, attribution.values, atol=1e-6)
        assert attribution.signed().top(1) == [(0, 1)]
        assert attribution.top(1) == [(2, 2)]


def test_a_cell_that_speaks_now_for_and_now_against_has_no_sure_sign() -> None:
    """y = m (n - 1/2) + l in coin tosses: m's index is 1/6, its slope 0."""

    def torn(images: np.ndarray) -> np.ndarray:
        cells = cell_means(images)
        return cells[:, 0, 0] * (cells[:, 0, 1] - 0.5) + cells[:, 2, 2]

    attribution = explainer(torn, designs=512, masks="binary").explain(IMAGE)
    effects = attribution.signed().values
    assert attribution.values[0, 0] == pytest.approx(1 / 6, abs=0.03)
    assert abs(effects[0, 0]) < 0.7 * np.sqrt(attribution.values[0, 0])
    assert effects[2, 2] == pytest.approx(np.sqrt(attribution.values[2, 2]))
    few = explainer(torn, designs=7, sampler="monte_carlo", masks="binary").explain(IMAGE)
    mean_sign = 2 * norm.cdf(few.slope[0, 0] / few.slope_error[0, 0]) - 1
    assert 0.1 < abs(mean_sign) < 0.99
    assert few.signed().values[0, 0] == pytest.approx(mean_sign * np.sqrt(few.values[0, 0]))


def test_binary_masks_have_no_first_order() -> None:
    with pytest.raises(ValueError, match="A and B independent"):
        explainer(masks="binary", first_order=True)


def test_refinement_improves_and_its_errors_shrink() -> None:
    plan = Refinement(every=100, max_forwards=2600, min_designs=10_000)
    steps = list(explainer(seed=5).refine(IMAGE, refinement=plan))
    assert [step.forwards for step in steps][:2] == [100, 200]
    assert steps[-1].forwards == 2600
    truth = WEIGHTS**2 / 14
    error = [np.abs(step.values - truth).max() for step in steps]
    assert error[-1] < 0.05 < error[0]
    largest = [step.standard_error.max() for step in steps[2:]]
    assert largest[-1] < largest[0] / 2


def test_settled_cells_are_run_no_more_and_the_refinement_ends() -> None:
    plan = Refinement(every=64, max_forwards=100_000, top=3, tolerance=0.2)
    *_, last = explainer().refine(IMAGE, refinement=plan)
    full = explainer(designs=1024).explain(IMAGE)
    assert last.forwards < full.forwards / 8
    assert set(last.top(3)) == set(full.top(3))
    assert spearmanr(last.values.ravel(), full.values.ravel()).statistic > 0.9


def test_cells_on_their_side_of_the_boundary_are_settled_however_vague() -> None:
    """One cell outdoes all others: who is on top is known long before their indices are."""

    def one(images: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).random(GRID)
        return (cell_means(images) * (0.2 * noise + 3 * (WEIGHTS == 3))).sum((1, 2))

    plan = Refinement(every=64, max_forwards=20_000, top=1, tolerance=0.0)
    *_, last = explainer(one).refine(IMAGE, refinement=plan)
    assert last.forwards < 2000
    assert last.top(1) == [(2, 0)]


def test_two_designs_have_no_error_to_tell() -> None:
    attribution = explainer(designs=2).explain(IMAGE)
    assert np.isinf(attribution.standard_error).all()


def test_cells_that_settle_with_the_last_of_the_designs_end_the_refinement() -> None:
    lenient = Refinement(every=1000, min_designs=8, tolerance=10.0)
    *_, last = explainer(designs=8, batch_size=8).refine(IMAGE, refinement=lenient)
    assert last.forwards == 13 * 8
    whole = explainer(designs=8).explain(IMAGE)
    np.testing.assert_allclose(last.values, whole.values, atol=1e-12)


def test_unscrambled_designs_are_not_spent_twice() -> None:
    plan = Refinement(max_forwards=10_000, min_designs=10_000)
    *_, last = explainer(sampler="sobol_unscrambled", designs=16).refine(IMAGE, refinement=plan)
    assert last.forwards == 16 * 13


def test_too_few_forwards() -> None:
    with pytest.raises(ValueError, match="two designs of 12 cells need 26 forwards; got 20"):
        list(explainer().refine(IMAGE, refinement=Refinement(max_forwards=20)))


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda x: x, "set a target"),
        (lambda x: x[:, 0, 0, 0] * np.nan, "not finite"),
    ],
)
def test_outputs_that_are_no_scores(predict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explainer(predict).explain(IMAGE)

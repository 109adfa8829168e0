"""Palettes: counting, the mixture, what a user may ask, and distances with known values."""

import numpy as np
import pytest

from ros_xai.generation.palette import (
    PaletteError,
    PaletteModel,
    filled,
    fit_palette,
    frechet_distance,
    kl_divergence,
    parse_palette,
    proportions_of,
)


def two_kinds(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet([60, 30, 10], count), rng.dirichlet([10, 30, 60], count)
    return np.concatenate([first, second])


def test_pixels_of_no_class_do_not_count():
    label = np.array([[0, 0, 1, 255]], np.uint8)
    assert proportions_of(label[None], 3).tolist() == [[2 / 3, 1 / 3, 0]]


def test_gaps_take_the_nearest_class():
    label = np.array([[3, 255, 255, 255, 255, 5]], np.uint8)
    assert filled(label, 11).tolist() == [[3, 3, 3, 5, 5, 5]]
    with pytest.raises(PaletteError, match=r"expected some of 0\.\.10"):
        filled(np.full((2, 2), 255, np.uint8), 11)


def test_aic_finds_two_kinds_and_samples_have_their_mean():
    pytest.importorskip("sklearn")
    data = two_kinds(400)
    model = fit_palette(data, most=6)
    assert len(model.weights) >= 2
    centres = model.means[:, 0]
    assert centres.min() < 0.2
    assert centres.max() > 0.5
    drawn = model.sample(4000, np.random.default_rng(1))
    assert np.allclose(drawn.sum(1), 1)
    assert (drawn >= 0).all()
    assert np.allclose(drawn.mean(0), data.mean(0), atol=0.02)


def test_samples_come_as_often_as_their_weights_and_are_clipped_at_zero():
    means = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    model = PaletteModel(np.array([0.9, 0.1]), means, np.zeros((2, 3, 3)))
    drawn = model.sample(2000, np.random.default_rng(0))
    assert drawn[:, 0].mean() == pytest.approx(0.9, abs=0.02)
    wide = PaletteModel(np.ones(1), np.array([[0.8, 0.2, 0.0]]), np.diag([0, 0, 1e-4])[None])
    shares = wide.sample(2000, np.random.default_rng(0))[:, 2]
    assert (shares == 0).mean() == pytest.approx(0.5, abs=0.05)


def certain(mean: list[float]) -> PaletteModel:
    return PaletteModel(np.ones(1), np.array([mean]), np.zeros((1, 3, 3)))


def test_asked_shares_are_kept_and_the_rest_follows_the_model():
    model, names = certain([0.5, 0.4, 0.1]), ("road", "sky", "car")
    palette = model.completed({"road": 0.25}, names, np.random.default_rng(0))
    assert palette == pytest.approx([0.25, 0.6, 0.15])
    whole = model.completed({"road": 0.3, "car": 0.7}, names, np.random.default_rng(0))
    assert whole == pytest.approx([0.3, 0.0, 0.7])


def test_the_rest_goes_to_what_was_not_asked_for_even_where_the_nearest_palette_lacks_it():
    means = np.array([[0.6, 0.4, 0.0], [0.3, 0.3, 0.4]])
    model = PaletteModel(np.full(2, 0.5), means, np.zeros((2, 3, 3)))
    names, rng = ("road", "sky", "car"), np.random.default_rng(0)
    palette = model.completed({"road": 0.55, "sky": 0.35}, names, rng)
    assert palette == pytest.approx([0.55, 0.35, 0.1])
    with pytest.raises(PaletteError, match="ask for car, too"):
        certain([0.6, 0.4, 0.0]).completed({"road": 0.5, "sky": 0.3}, names, rng)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rod": 0.2}, "unknown class 'rod'"),
        ({"road": 1.2}, r"in \[0, 1\]"),
        ({"road": 0.7, "sky": 0.7}, "sum to 1.4"),
        ({"road": 0.2, "sky": 0.2, "car": 0.2}, "all classes sum to 0.6"),
    ],
)
def test_palettes_that_cannot_be(asked, message):
    with pytest.raises(PaletteError, match=message):
        certain([0.5, 0.4, 0.1]).completed(asked, ("road", "sky", "car"), np.random.default_rng(0))


def test_palettes_as_text():
    assert parse_palette("road=0.4, car=.1,") == {"road": 0.4, "car": 0.1}
    for wrong in ("", "road", "road=much", "road=0.1,road=0.3"):
        with pytest.raises(PaletteError):
            parse_palette(wrong)


def test_frechet_distance_against_the_value_of_the_authors_definition():
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet([3] * 5, 400), rng.dirichlet([6, 3, 3, 1, 2], 400)
    # computed with scipy.linalg.sqrtm on the same samples, numpy.cov with ddof 1
    assert frechet_distance(first, second) == pytest.approx(0.07155982962445182, rel=1e-9)
    assert frechet_distance(100 * first, 100 * second) == pytest.approx(715.5982962, rel=1e-8)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    padded = [np.pad(x, ((0, 0), (0, 1))) for x in (first, second)]
    assert frechet_distance(*padded) == pytest.approx(0.07155982962445182, rel=1e-9)


def test_divergence_of_palettes():
    value = kl_divergence([0.5, 0.5, 0.0], [0.25, 0.75, 0.0])
    assert value == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-5)
    assert kl_divergence([[0.2, 0.8]], [[0.2, 0.8]]) == pytest.approx([0], abs=1e-5)

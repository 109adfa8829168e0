"""Closed-form gradient variances against automatic differentiation of every sample."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from ros_xai.generalization.fishr import (
    VarianceAverage,
    fishr_penalty,
    gradient_variance,
)


def problem(count: int = 40, width: int = 6, classes: int = 4, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(count, width, generator=g)
    weight, bias = torch.randn(classes, width, generator=g), torch.randn(classes, generator=g)
    return features, weight, bias, torch.randint(0, classes, (count,), generator=g)


def test_variances_are_those_of_gradients_differentiated_sample_by_sample():
    features, weight, bias, labels = problem()

    def loss(weight, bias, x, y):
        return F.cross_entropy((weight @ x + bias)[None], y[None], reduction="sum")

    g_weight, g_bias = vmap(grad(loss, (0, 1)), (None, None, 0, 0))(weight, bias, features, labels)
    variance = gradient_variance(features, features @ weight.T + bias, labels)
    torch.testing.assert_close(variance["weight"], g_weight.var(0, correction=0), atol=1e-6, rtol=0)
    torch.testing.assert_close(variance["bias"], g_bias.var(0, correction=0), atol=1e-6, rtol=0)


def test_variances_do_not_grow_with_the_number_of_samples():
    features, weight, bias, labels = problem()
    logits = features @ weight.T + bias
    once = gradient_variance(features, logits, labels)
    twice = gradient_variance(*(torch.cat([t, t]) for t in (features, logits, labels)))
    for name in once:
        torch.testing.assert_close(once[name], twice[name])


def test_penalty_of_one_domain_seen_twice_is_zero():
    features, weight, bias, labels = problem()
    variance = gradient_variance(features, features @ weight.T + bias, labels)
    assert fishr_penalty([variance, variance]).item() == 0


def test_penalty_by_hand():
    variances = [
        {"weight": torch.tensor([[1.0, 3.0]]), "bias": torch.tensor([0.0])},
        {"weight": torch.tensor([[1.0, 1.0]]), "bias": torch.tensor([4.0])},
    ]
    # Half the differences are 0, 1 and 2: squared, averaged over three entries.
    assert fishr_penalty(variances).item() == pytest.approx((0 + 1 + 4) / 3)


def test_penalty_reaches_the_featuriser_and_descending_it_aligns_the_domains():
    torch.manual_seed(0)
    inputs, _, _, labels = problem(64, 6)
    domains = [inputs, 3 * inputs]
    phi = torch.nn.Linear(6, 6)
    classifier = torch.nn.Linear(6, 4)
    optimizer = torch.optim.Adam([*phi.parameters()], lr=1e-2)
    values = []
    for _ in range(60):
        features = [phi(x) for x in domains]
        penalty = fishr_penalty([gradient_variance(f, classifier(f), labels) for f in features])
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        values.append(penalty.item())
    assert values[-1] < 0.2 * values[0]


def test_half_precision_inputs_do_not_underflow():
    features, weight, bias, labels = problem()
    variance = gradient_variance(
        (1e-3 * features).half(), (features @ weight.T + bias).half(), labels
    )
    assert variance["weight"].dtype == torch.float32
    assert (variance["weight"] > 0).all()


def variance(value: float, requires_grad: bool = False) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.full((2, 3), value, requires_grad=requires_grad),
        "bias": torch.full((2,), value),
    }


def test_average_follows_the_corrected_formula_and_keeps_a_unit_gradient():
    average = VarianceAverage(domains=2, classes=2, width=3, gamma=0.9)
    first, second = variance(2.0, True), variance(5.0, True)
    corrected = average([first, variance(1.0)])
    assert corrected[0]["weight"][0, 0].item() == pytest.approx(2.0 / 0.1)
    corrected[0]["weight"].sum().backward()  # in the first step too, without a past
    torch.testing.assert_close(first["weight"].grad, torch.ones(2, 3))
    first["weight"].grad = None
    corrected = average([second, variance(1.0)])
    assert corrected[0]["bias"][1].item() == pytest.approx((0.9 * 2 + 0.1 * 5) / 0.1)
    assert corrected[1]["weight"][1, 2].item() == pytest.approx(1.0 / 0.1)
    corrected[0]["weight"].sum().backward()
    torch.testing.assert_close(second["weight"].grad, torch.ones(2, 3))
    assert first["weight"].grad is None


def test_a_resumed_average_goes_on_where_it_was():
    average = VarianceAverage(1, 2, 3, gamma=0.5)
    average([variance(1.0)])
    resumed = VarianceAverage(1, 2, 3, gamma=0.5)
    resumed.load_state_dict(average.state_dict())
    expected = average([variance(3.0)])[0]["weight"]
    torch.testing.assert_close(resumed([variance(3.0)])[0]["weight"], expected)
    assert expected[0, 0].item() == pytest.approx((0.5 * 1 + 0.5 * 3) / 0.5)

"""Against worked examples, fine integration and differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ros_xai.forecasting.dynamics import propagate, rollout


def _controls(seed: int, steps: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([0.3, 2.0], dtype=torch.float64)
    return torch.randn(steps, 2, generator=generator, dtype=torch.float64) * scale


def test_one_step_is_the_closed_form() -> None:
    initial = torch.tensor([0, 0, 0.3, 8.0], dtype=torch.float64)
    state = rollout(initial, torch.tensor([[0.2, 1.0]], dtype=torch.float64), dt=0.5)
    assert state[0].tolist() == pytest.approx([3.8725839, 1.4158207, 0.4, 8.5], abs=1e-7)


@pytest.mark.parametrize("yaw_rate", [0.0, 0.005, -0.7])
def test_straight_lines_are_no_special_case(yaw_rate: float) -> None:
    def velocity(t: float, _: np.ndarray) -> list[float]:
        speed, heading = 8 + t, 0.3 + yaw_rate * t
        return [speed * np.cos(heading), speed * np.sin(heading)]

    fine = solve_ivp(velocity, (0, 0.5), [0, 0], rtol=1e-12, atol=1e-12).y[:, -1]
    initial = torch.tensor([0, 0, 0.3, 8.0], dtype=torch.float64)
    state = rollout(initial, torch.tensor([[yaw_rate, 1.0]], dtype=torch.float64), dt=0.5)
    assert state[0, :2].tolist() == pytest.approx(fine, abs=1e-6)


def test_constant_speed_and_yaw_rate_end_on_the_circle() -> None:
    # nuScenes' physics model walks this arc with Euler's method and ends at (56.89, 16.05).
    initial = torch.tensor([0, 0, 0, 10.0], dtype=torch.float64)
    states = rollout(initial, torch.tensor([[0.1, 0.0]] * 12, dtype=torch.float64), dt=0.5)
    end = [100 * np.sin(0.6), 100 * (1 - np.cos(0.6))]
    assert states[-1].tolist() == pytest.approx([*end, 0.6, 10], abs=1e-6)


def test_means_are_those_of_the_rollout() -> None:
    initial, controls = torch.tensor([1, 2, 0.3, 8.0], dtype=torch.float64), _controls(0)
    mean, _ = propagate(initial, controls, torch.eye(2, dtype=torch.float64).expand(12, 2, 2), 0.5)
    assert torch.allclose(mean, rollout(initial, controls, 0.5)[:, :2])


def test_the_covariance_is_that_of_the_linearised_rollout() -> None:
    initial, controls = torch.tensor([1, 2, 0.3, 8.0], dtype=torch.float64), _controls(1)
    half = torch.randn(12, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    C = half @ half.mT
    J = torch.autograd.functional.jacobian(lambda u: rollout(initial, u, 0.5)[:, :2], controls)
    expected = torch.einsum("tisk,skl,tjsl->tij", J, C, J)
    _, covariance = propagate(initial, controls, C, 0.5)
    assert torch.allclose(covariance, expected, rtol=1e-6)


def test_small_noise_spreads_as_the_covariance_says() -> None:
    initial, controls = torch.tensor([0, 0, 0.3, 8.0], dtype=torch.float64), _controls(3)
    C = torch.diag(torch.tensor([0.01, 0.1], dtype=torch.float64) ** 2).expand(12, 2, 2)
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(20000, 12, 2, generator=generator, dtype=torch.float64) @ C[0].sqrt()
    samples = rollout(initial.expand(20000, 4), controls + noise, 0.5)[:, -1, :2]
    _, covariance = propagate(initial, controls, C, 0.5)
    assert torch.allclose(samples.T.cov(), covariance[-1], rtol=0.1, atol=2e-3)


def test_there_is_a_gradient_to_turn_on_the_straight_line() -> None:
    controls = torch.zeros(4, 2, requires_grad=True)
    rollout(torch.tensor([0, 0, 0, 10.0]), controls, 0.5)[-1, 1].backward()
    assert (controls.grad[:, 0] > 1).all()

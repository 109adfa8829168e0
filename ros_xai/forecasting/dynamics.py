"""The unicycle: positions and their covariance from yaw rates and accelerations.

State (x, y, heading, speed) in m, m, rad, m/s; control (yaw rate, acceleration) in rad/s, m/s^2,
constant over a step. All steps are integrated at once: headings and speeds are cumulative sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Nodes on [0, 1] and weights of the integral over a step: three-point Gauss-Legendre. The
# displacement of a step has a closed form that divides by the yaw rate; this integral does not, is
# as exact (below 1e-6 m for turns under 1 rad/s), and has a gradient on the straight line too.
GAUSS = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))

Quadrature = Sequence[tuple[float, float]]


def rollout(initial: Tensor, controls: Tensor, dt: float, quadrature: Quadrature = GAUSS) -> Tensor:
    """States [...,T,4] after each of the controls [...,T,2], from the state `initial` [...,4].

    `quadrature` holds (node, weight) pairs; ((0, 1),) is Euler's method.
    """
    heading, speed = _before_each_step(initial, controls, dt)
    yaw_rate, acceleration = controls.unbind(dim=-1)
    displacement = torch.zeros_like(controls)
    for node, weight in quadrature:
        s = node * dt
        direction = _direction(heading + yaw_rate * s)
        displacement = (
            displacement + weight * dt * (speed + acceleration * s)[..., None] * direction
        )
    position = initial[..., None, :2] + displacement.cumsum(dim=-2)
    after = torch.stack([heading, speed], dim=-1) + controls * dt
    return torch.cat([position, after], dim=-1)


def propagate(
    initial: Tensor, controls: Tensor, control_covariance: Tensor, dt: float
) -> tuple[Tensor, Tensor]:
    """Mean positions [...,T,2] and their covariances [...,T,2,2] from independent Gaussian controls
    with means [...,T,2] and covariances [...,T,2,2]; the state `initial` [...,4] is exact.

    First-order propagation S <- F S F^T + G C G^T of Trajectron++ (Salzmann et al., ECCV 2020),
    in blocks: with p the position, q = (heading, speed), A = dp/dq and B = dp/du of one step,
    and dq/du = dt I, the recurrences of the blocks are plain sums over the steps.
    """
    heading, speed = _before_each_step(initial, controls, dt)
    A, B, displacement = _jacobians(heading, speed, controls, dt)
    C = control_covariance
    BC = _matmul(B, C)
    S_qq = _sum_before(dt * dt * C)
    S_pq = _sum_before(_matmul(A, S_qq) + dt * BC)
    APq = _matmul(A, S_pq.mT)
    S_pp = (APq + APq.mT + _matmul(_matmul(A, S_qq), A.mT) + _matmul(BC, B.mT)).cumsum(dim=-3)
    return initial[..., None, :2] + displacement.cumsum(dim=-2), S_pp


def _before_each_step(initial: Tensor, controls: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    change = controls.cumsum(dim=-2) - controls
    heading, speed = (initial[..., None, 2:] + change * dt).unbind(dim=-1)
    return heading, speed


def _jacobians(
    heading: Tensor, speed: Tensor, controls: Tensor, dt: float
) -> tuple[Tensor, Tensor, Tensor]:
    """dp/d(heading, speed) and dp/d(yaw rate, acceleration) [...,T,2,2] of each step's displacement
    [...,T,2], which comes third."""
    yaw_rate, acceleration = controls.unbind(dim=-1)
    d_speed, d_acceleration, displacement, weighted_by_s = [torch.zeros_like(controls)] * 4
    for node, weight in GAUSS:
        s = node * dt
        direction = weight * dt * _direction(heading + yaw_rate * s)
        moved = (speed + acceleration * s)[..., None] * direction
        d_speed = d_speed + direction
        d_acceleration = d_acceleration + s * direction
        displacement = displacement + moved
        weighted_by_s = weighted_by_s + s * moved
    A = torch.stack([_left_normal(displacement), d_speed], dim=-1)
    B = torch.stack([_left_normal(weighted_by_s), d_acceleration], dim=-1)
    return A, B, displacement


def _direction(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def _left_normal(vector: Tensor) -> Tensor:
    x, y = vector.unbind(dim=-1)
    return torch.stack([-y, x], dim=-1)


def _sum_before(steps: Tensor) -> Tensor:
    return steps.cumsum(dim=-3) - steps


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """Products of 2x2 matrices by broadcasting: thousands of them are slow through BLAS."""
    return a[..., :, :1] * b[..., :1, :] + a[..., :, 1:] * b[..., 1:, :]

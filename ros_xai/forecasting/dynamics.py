"""The unicycle: positions and their covariance from yaw rates and accelerations.

State (x, y, heading, speed) in m, m, rad, m/s; control (yaw rate, acceleration) in rad/s, m/s^2,
constant over a step. All steps are integrated at once: headings and speeds are cumulative sums.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class _Step(NamedTuple):
    """A step seen from its mean heading, whose unit vector is `direction` [2,...].

    It goes `along` metres per m/s of the mean speed along that heading and `left` metres per m/s^2
    of acceleration to the left of it; `along_by_u` and `left_by_u` are the derivatives by half the
    turn u.
    """

    along: Tensor
    left: Tensor
    along_by_u: Tensor
    left_by_u: Tensor
    mean_speed: Tensor
    direction: Tensor


def rollout(initial: Tensor, controls: Tensor, dt: float) -> Tensor:
    """States [...,T,4] after each of the controls [...,T,2], from the state `initial` [...,4]."""
    position, q, u = _components_first(initial, controls)
    before = q + dt * _sum_before(u)
    displacement = _displacement(_step(before, u, dt), u)
    states = torch.cat([position + displacement.cumsum(dim=-1), before + dt * u])
    return states.movedim(0, -1)


def propagate(
    initial: Tensor, controls: Tensor, control_covariance: Tensor, dt: float
) -> tuple[Tensor, Tensor]:
    """Mean positions [...,T,2] and their covariances [...,T,2,2] from independent Gaussian controls
    with means [...,T,2] and covariances [...,T,2,2]; the state `initial` [...,4] is exact.

    First-order propagation S <- F S F^T + G C G^T of Trajectron++ (Salzmann et al., ECCV 2020),
    in blocks: with p the position, q = (heading, speed), A = dp/dq and B = dp/du of one step,
    and dq/du = dt I, the recurrences of the blocks are plain sums over the steps.
    """
    position, q, u = _components_first(initial, controls)
    step = _step(q + dt * _sum_before(u), u, dt)
    displacement = _displacement(step, u)
    A, B = _jacobians(step, displacement, u, dt)
    C = control_covariance.movedim((-2, -1), (0, 1)).contiguous()
    BC = _matmul(B, C)
    S_qq = _sum_before(dt * dt * C)
    AS_qq = _matmul(A, S_qq)
    S_pq = _sum_before(AS_qq + dt * BC)
    cross = _matmul(A, _transposed(S_pq))
    step_pp = _matmul(AS_qq, _transposed(A)) + _matmul(BC, _transposed(B))
    S_pp = (cross + _transposed(cross) + step_pp).cumsum(dim=-1)
    mean = position + displacement.cumsum(dim=-1)
    return mean.movedim(0, -1), S_pp.movedim((0, 1), (-2, -1))


def _components_first(initial: Tensor, controls: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Position [2,...,1], (heading, speed) [2,...,1] and controls [2,...,T].

    Vectors and matrices have their components in front here, so that every operation runs over
    long contiguous rows; with 2x2 matrices behind, this file would be half of the training time.
    """
    state = initial.movedim(-1, 0)[..., None]
    return state[:2], state[2:], controls.movedim(-1, 0).contiguous()


def _step(q: Tensor, controls: Tensor, dt: float) -> _Step:
    """With u = yaw rate * dt / 2 and r from -1 to 1 over the step, the path is the integral of
    (mean speed + a r dt / 2) at the angle u r to the mean heading: dt sin(u)/u along it per mean
    speed and dt^2 (sin(u) - u cos(u)) / (2 u^2) to its left per acceleration.

    Both as power series, which need no case for the straight line and give it a gradient; they end
    where the next term is below 1e-7 for turns under 1 rad in a step.
    """
    (heading, speed), (yaw_rate, acceleration) = q, controls
    u = yaw_rate * (dt / 2)
    w = u * u
    angle = heading + u
    left_per_u = 1 - w / 10 * (1 - w / 28)
    return _Step(
        along=dt * (1 - w / 6 * (1 - w / 20 * (1 - w / 42))),
        left=dt * dt / 6 * u * left_per_u,
        along_by_u=-dt / 3 * u * left_per_u,
        left_by_u=dt * dt / 6 * (1 - 3 * w / 10 * (1 - 5 * w / 84)),
        mean_speed=speed + acceleration * (dt / 2),
        direction=torch.stack([angle.cos(), angle.sin()]),
    )


def _displacement(step: _Step, controls: Tensor) -> Tensor:
    along, left = step.along * step.mean_speed, step.left * controls[1]
    return along * step.direction + left * _left_normal(step.direction)


def _jacobians(
    step: _Step, displacement: Tensor, controls: Tensor, dt: float
) -> tuple[Tensor, Tensor]:
    """Derivatives [2,2,...,T] by (heading, speed) and by (yaw rate, acceleration)."""
    normal = _left_normal(step.direction)
    by_heading = _left_normal(displacement)
    by_speed = step.along * step.direction
    stretch = step.mean_speed * step.along_by_u * step.direction
    by_u = by_heading + stretch + controls[1] * step.left_by_u * normal
    by_acceleration = dt / 2 * by_speed + step.left * normal
    A = torch.stack([by_heading, by_speed], dim=1)
    return A, torch.stack([dt / 2 * by_u, by_acceleration], dim=1)


def _left_normal(vector: Tensor) -> Tensor:
    x, y = vector
    return torch.stack([-y, x])


def _sum_before(steps: Tensor) -> Tensor:
    return steps.cumsum(dim=-1) - steps


def _transposed(matrix: Tensor) -> Tensor:
    return matrix.transpose(0, 1)


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """Products of 2x2 matrices [2,2,...]."""
    return a[:, :1] * b[:1] + a[:, 1:] * b[1:]

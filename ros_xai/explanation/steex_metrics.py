"""How good a counterfactual is: distance to real images, and what it left alone."""

from __future__ import annotations

from torch import Tensor


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Unbiased squared MMD of features [N, D] and [M, D] under (x.y / D + 1)^3 (KID, Binkowski et
    al., ICLR 2018, eq. 4); may be slightly negative for equal distributions."""
    first, second = first.double(), second.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal_mean(k: Tensor) -> Tensor:
        return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))

    within = off_diagonal_mean(kernel(first, first)) + off_diagonal_mean(kernel(second, second))
    return float(within - 2 * kernel(first, second).mean())


def outside(change: Tensor, layout: Tensor, regions: tuple[int, ...]) -> float:
    """Share of the total change [1, 1, H, W] that lies outside the regions of a one-hot layout."""
    inside = layout[:, list(regions)].sum(dim=1, keepdim=True)
    return float((change * (1 - inside)).sum() / change.sum().clamp(min=1e-9))

"""How much of a forecast comes from the agent's state, the map and the neighbours."""

from __future__ import annotations

from itertools import product
from math import factorial

import torch
from torch import Tensor

from ros_xai.forecasting.network import BLOCKS, Batch, Network, masked

# All coalitions [2^n, n] of the blocks, a row of 0 and 1 each.
COALITIONS = torch.tensor(list(product((0.0, 1.0), repeat=len(BLOCKS))))


def shapley_values(values: Tensor) -> Tensor:
    """Shapley values [...,n] of a game whose `values` [...,2^n] are those of `COALITIONS`.

    phi_i = sum over coalitions S without i of |S|! (n - |S| - 1)! / n! * (v(S + i) - v(S)).
    """
    players = COALITIONS.shape[1]
    cube = values.unflatten(-1, (2,) * players)
    size = COALITIONS.sum(dim=-1).long().unflatten(0, (2,) * players)
    weight = torch.tensor(
        [factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)],
        dtype=values.dtype,
    )
    phi = []
    for player in range(players):
        without, with_player = cube.unbind(dim=player - players)
        share = weight[size.unbind(dim=player)[0]]
        phi.append(((with_player - without) * share).flatten(-players + 1).sum(dim=-1))
    return torch.stack(phi, dim=-1)


def attribution(network: Network, code: Tensor, batch: Batch) -> Tensor:
    """Exact Shapley values [B,3] in metres of `BLOCKS` for the distance from the first to the last
    position of the likeliest mode, as CAB measures it (section 4.4); absent blocks are zero.

    They sum to the distance with all blocks less the distance with none. The current position,
    heading and speed, from which the decoder integrates, are no player.
    """
    count = len(COALITIONS)
    codes = masked(code[:, None], COALITIONS[None]).flatten(0, 1)  # [B*8,3,block]
    likeliest = network.prior_logits(codes).argmax(dim=-1, keepdim=True)
    repeated = Batch(*(column.repeat_interleave(count, dim=0) for column in batch))
    path = network.paths(codes, repeated, likeliest)[:, 0]
    distance = (path[:, -1] - path[:, 0]).norm(dim=-1)
    return shapley_values(distance.unflatten(0, (-1, count)))

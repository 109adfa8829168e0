"""The forecasting network of CAB: a conditional variational autoencoder with a discrete latent.

After Trajectron++ (Salzmann et al., ECCV 2020) as CAB uses it (Ben-Younes et al., arXiv 2109.08048,
section 3.1), at a size for onboard CPUs. All K values of the latent are decoded, so a forecast is a
mixture of K trajectories. The code x of an agent consists of three blocks, of its state, of the map
and of its neighbours; a block that is masked out is zero. Without the last two the network is
blind to the context, with the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ros_xai.data.forecasting import HORIZON, STEP
from ros_xai.forecasting.dynamics import propagate, rollout
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.kinematics import WALKING_PACE

BLOCKS = ("state", "map", "neighbours")
ALL = (1.0, 1.0, 1.0)
BLIND = (1.0, 0.0, 0.0)

# m, m/s, m/s^2, rad, rad/s to about one; positions by the attention radius.
STATE_SCALE = (30.0, 30.0, 15.0, 15.0, 4.0, 4.0, torch.pi, 1.0)


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes. CAB has 25 modes, a decoder of 128 and blocks of 32."""

    modes: int = 6
    block: int = 32
    decoder: int = 48
    map_channels: tuple[int, int, int] = (16, 32, 32)
    max_yaw_rate: float = 1.0  # rad/s
    max_acceleration: float = 8.0  # m/s^2
    context: ContextConfig = field(default_factory=ContextConfig)


class Batch(NamedTuple):
    """Features of B agents as tensors; see `features.Features`."""

    history: Tensor  # [B,H,8]
    neighbours: Tensor  # [B,M,H,8]
    neighbour_kind: Tensor  # [B,M]
    map: Tensor  # uint8 [B,3,rows,columns]


class Modes(NamedTuple):
    """Trajectories in the agent's frame: mean [B,K,T,2] m, covariance [B,K,T,2,2] m^2."""

    mean: Tensor
    covariance: Tensor


class Network(nn.Module):
    """Encoders of the three blocks, prior and posterior of the latent, and the decoder."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        size, K = config.block, config.modes
        self.register_buffer("scale", torch.tensor(STATE_SCALE), persistent=False)
        self.history = nn.LSTM(8, size, batch_first=True)
        self.neighbour = nn.Linear(8, size)
        self.edge = nn.LSTM(8 + size, size, batch_first=True)
        self.attention = AdditiveAttention(size)
        self.map = MapEncoder(config)
        self.prior = nn.Sequential(nn.Linear(3 * size, size), nn.ReLU(), nn.Linear(size, K))
        self.future = nn.Sequential(nn.Linear(2 * HORIZON, 2 * size), nn.ReLU())
        self.posterior = nn.Sequential(nn.Linear(5 * size, size), nn.ReLU(), nn.Linear(size, K))
        self.decoder = Decoder(config)

    def encode(self, batch: Batch) -> Tensor:
        """Code [B,3,block] of the agents: one row for each of `BLOCKS`."""
        states = batch.history / self.scale
        history = self.history(states)[0][:, -1]
        neighbours = self._encode_neighbours(batch, states, history)
        return torch.stack([history, self.map(batch.map), neighbours], dim=1)

    def _encode_neighbours(self, batch: Batch, states: Tensor, history: Tensor) -> Tensor:
        """Per kind an LSTM over the sum of the neighbours' embeddings beside the agent's own state,
        then attention of the agent's history over the kinds; zero without neighbours."""
        embedded = self.neighbour(batch.neighbours / self.scale).relu()  # [B,M,H,size]
        member = torch.stack([batch.neighbour_kind == kind for kind in (1, 2)], dim=1)  # [B,2,M]
        summed = torch.einsum("bkm,bmhs->bkhs", member.to(embedded.dtype), embedded)
        beside = torch.cat([states[:, None].expand(-1, 2, -1, -1), summed], dim=-1)
        edges = self.edge(beside.flatten(0, 1))[0][:, -1].unflatten(0, (-1, 2))
        return self.attention(history, edges, member.any(dim=-1))

    def prior_logits(self, code: Tensor) -> Tensor:
        """Logits [B,K] of p(z|x), centred."""
        return _centred(self.prior(code.flatten(1)))

    def posterior_logits(self, code: Tensor, future: Tensor) -> Tensor:
        """Logits [B,K] of q(z|x,y) for futures y [B,T,2] in the agent's frame, centred."""
        seen = self.future(future.flatten(1) / self.scale[0])
        return _centred(self.posterior(torch.cat([code.flatten(1), seen], dim=-1)))

    def decode(self, code: Tensor, batch: Batch, modes: Tensor | None = None) -> Modes:
        """The K trajectories of the codes [B,3,block], or of each only its modes [B,k]."""
        return self.decoder(code.flatten(1), batch.history[:, -1], modes)

    def paths(self, code: Tensor, batch: Batch, modes: Tensor | None = None) -> Tensor:
        """The means [B,K,T,2] or [B,k,T,2] of `decode`, without their covariances."""
        return self.decoder.paths(code.flatten(1), batch.history[:, -1], modes)


def masked(code: Tensor, blocks: tuple[float, float, float] | Tensor) -> Tensor:
    """The code [B,3,block] with only the blocks whose weight [3] or [B,3] is 1."""
    weights = torch.as_tensor(blocks, dtype=code.dtype, device=code.device)
    return code * weights[..., None]


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=-1, keepdim=True)


class AdditiveAttention(nn.Module):
    """Bahdanau attention of a query [B,S] over keys [B,N,S], of which `valid` [B,N] take part."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor, valid: Tensor) -> Tensor:
        score = self.score((self.query(query)[:, None] + self.key(keys)).tanh())[..., 0]
        weight = score.masked_fill(~valid, -1e9).softmax(dim=-1) * valid
        return torch.einsum("bn,bns->bs", weight, keys)


class MapEncoder(nn.Module):
    """Crops uint8 [B,3,rows,columns] to [B,block]; zero where there is no map at all."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        a, b, c = config.map_channels
        rows, columns = config.context.crop.shape
        # Patches instead of a dense first layer: half the time of the whole network otherwise.
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, a, 4, stride=4),
            nn.LeakyReLU(0.2),
            nn.Conv2d(a, b, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(b, c, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(c * (rows // 16) * (columns // 16), config.block),
        )

    def forward(self, crop: Tensor) -> Tensor:
        present = crop.amax(dim=(1, 2, 3)) > 0
        # In place: the batch of crops is large, and bytes divided by a number are slow.
        dtype = next(self.parameters()).dtype
        centred = crop.to(dtype, copy=True).div_(127.5).sub_(1)
        return self.convolutions(centred) * present[:, None]


class Decoder(nn.Module):
    """A GRU that unrolls the controls of each mode, integrated by the unicycle.

    The mean control of a step is a function of the hidden state; feeding it back, as with sampled
    controls, would tell the GRU nothing new, so its input is the same (x, z) at all steps.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        size = config.decoder
        code = 3 * config.block
        self.start = nn.Linear(code, 4 * size)  # hidden state and the three gates' input
        self.mode = nn.Parameter(torch.randn(config.modes, 4 * size) * 0.3)
        self.recurrent = nn.Linear(size, 3 * size)
        self.control = nn.Linear(size, 5)
        self.heading = nn.Linear(code, 1)
        nn.init.zeros_(self.heading.weight)
        nn.init.zeros_(self.heading.bias)

    def forward(self, code: Tensor, present: Tensor, modes: Tensor | None) -> Modes:
        mean, covariance = self._controls(self._unrolled(code, modes))
        initial = self._initial(code, present)[:, None].expand(-1, mean.shape[1], -1)
        return Modes(*propagate(initial, mean, covariance, STEP))

    def paths(self, code: Tensor, present: Tensor, modes: Tensor | None) -> Tensor:
        """The means [B,k,T,2] alone."""
        mean = self._mean(self.control(self._unrolled(code, modes)))
        initial = self._initial(code, present)[:, None].expand(-1, mean.shape[1], -1)
        return rollout(initial, mean, STEP)[..., :2]

    def _unrolled(self, code: Tensor, modes: Tensor | None) -> Tensor:
        """Hidden states [B,k,T,size]."""
        mode = self.mode if modes is None else self.mode[modes]
        start = self.start(code)[:, None] + mode  # [B,K,4*size]
        size = self.config.decoder
        hidden, gates = start[..., :size].tanh(), start[..., size:]
        steps = []
        for _ in range(HORIZON):
            hidden = self._gru(gates, hidden)
            steps.append(hidden)
        return torch.stack(steps, dim=2)

    def _gru(self, gates: Tensor, hidden: Tensor) -> Tensor:
        size = self.config.decoder
        recurrent = self.recurrent(hidden)
        reset, update = (gates + recurrent)[..., : 2 * size].sigmoid().chunk(2, dim=-1)
        new = (gates[..., 2 * size :] + reset * recurrent[..., 2 * size :]).tanh()
        return torch.lerp(new, hidden, update)

    def _controls(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Means [...,2] and covariances [...,2,2] of (yaw rate, acceleration)."""
        raw = self.control(hidden)
        mean, limit = self._mean(raw), self._limit(raw)
        sigma = limit * F.softplus(raw[..., 2:4] - 2) + 1e-3
        correlation = 0.95 * raw[..., 4].tanh()
        cross = correlation * sigma[..., 0] * sigma[..., 1]
        rate, acceleration = (sigma**2).unbind(dim=-1)
        covariance = torch.stack([rate, cross, cross, acceleration], dim=-1)
        return mean, covariance.unflatten(-1, (2, 2))

    def _mean(self, raw: Tensor) -> Tensor:
        limit = self._limit(raw)
        return (raw[..., :2] / limit).tanh() * limit

    def _limit(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.config.max_yaw_rate, self.config.max_acceleration])

    def _initial(self, code: Tensor, present: Tensor) -> Tensor:
        """Unicycle states [B,4] at the present [B,8]: heading of the motion with a learned
        correction, speed as observed."""
        velocity = present[:, 2:4]
        speed = velocity.norm(dim=-1)
        moving = torch.atan2(velocity[:, 1], velocity[:, 0])
        heading = torch.where(speed < WALKING_PACE, present[:, 6], moving)
        heading = heading + self.heading(code)[:, 0].tanh()
        return torch.cat([present[:, :2], heading[:, None], speed[:, None]], dim=-1)

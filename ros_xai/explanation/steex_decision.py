"""The decision that is explained, "the ego may move on", as a small network of one image."""

from __future__ import annotations

import itertools
import json
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ros_xai.core.config import ConfigError, from_mapping

SHIPPED = Path(__file__).parents[1] / "weights" / "may_move.safetensors"


REASONS = ("red", "brake")  # what forbids to move on, in the order of the evidence


@dataclass(frozen=True)
class DecisionConfig:
    """widths: channels of the stem and of stages at strides 2 and 4; kernel: side of the stem's
    filters; strongest: how many places of the map of evidence count."""

    widths: tuple[int, ...] = (16, 24, 40)
    kernel: int = 3
    strongest: int = 2


# Another network for the same question: other filters, widths and pooling.
ORACLE = DecisionConfig(widths=(12, 28, 36), kernel=5, strongest=4)


class DecisionNetwork(nn.Module):
    """Image [B, 3, H, W] in [-1, 1] -> logit [B] of "may move on".

    A map of evidence for each reason to stop; its strongest places count, as one lamp is enough.
    """

    def __init__(self, config: DecisionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DecisionConfig()
        widths = config.widths
        self.stem = _conv(3, widths[0], config.kernel, 1)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_conv(a, b, 3, 2), _conv(b, b, 3, 1), _conv(b, b, 3, 1))
                for a, b in itertools.pairwise(widths)
            )
        )
        self.map = nn.Conv2d(widths[-1], len(REASONS), 1)

    def evidence(self, image: Tensor) -> Tensor:
        """Logits [B, 2] of REASONS: a red light is seen, a brake lamp is seen."""
        return self.strongest(self.places(image))

    def places(self, image: Tensor) -> Tensor:
        """Evidence [B, 2, H / 4, W / 4] for REASONS at every place."""
        return self.map(self.stages(self.stem(image)))

    def strongest(self, places: Tensor) -> Tensor:
        """[B, 2]: mean of the strongest places of a map of evidence."""
        flat = places.flatten(2)
        return flat.topk(min(self.config.strongest, flat.shape[2]), dim=2).values.mean(dim=2)

    def features(self, image: Tensor) -> Tensor:
        """[B, F]: mean and spread of the last map, to compare sets of images."""
        x = self.stages(self.stem(image))
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """No reason holds: -log(e^red + e^brake)."""
        return -self.evidence(image).logsumexp(dim=1)


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    )


def load_decisions(weights: str | Path | None = None) -> tuple[DecisionNetwork, DecisionNetwork]:
    """The decision network and its oracle, shipped or of a .safetensors file with its card.

    Raises FileNotFoundError when a file is missing, ConfigError for files of something else.
    """
    path = SHIPPED if weights is None else Path(weights)
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: not there; `ros_xai generate train decisions` makes one"
            )
    try:
        card, tensors = json.loads(path.with_suffix(".json").read_text()), load_file(path)
        decision, oracle = (
            _network(name, card["network"][name], tensors) for name in ("decision", "oracle")
        )
    except (LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        got = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise ConfigError(
            f"{path}: expected weights of a decision and its oracle with their card; got {got}"
        ) from error
    return decision, oracle


def _network(name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> DecisionNetwork:
    network = DecisionNetwork(from_mapping(DecisionConfig, config))
    prefix = f"{name}."
    network.load_state_dict(
        {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    )
    return network.eval().requires_grad_(False)


def decision_tensors(decision: DecisionNetwork, oracle: DecisionNetwork) -> dict[str, Tensor]:
    """Everything `load_decisions` reads from the .safetensors file."""
    return {
        f"{name}.{key}": value
        for name, network in (("decision", decision), ("oracle", oracle))
        for key, value in network.state_dict().items()
    }


def decision_card(decision: DecisionNetwork, oracle: DecisionNetwork) -> dict[str, Any]:
    """What `load_decisions` reads from the card."""
    networks = {"decision": asdict(decision.config), "oracle": asdict(oracle.config)}
    return {"network": networks}

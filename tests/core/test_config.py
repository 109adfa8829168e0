from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from ros_xai.core.config import ConfigError, from_mapping


@dataclass(frozen=True)
class Loss:
    weight: float = 1.0


@dataclass(frozen=True)
class Config:
    steps: int = 10
    rings: tuple[int, ...] = (8, 24)
    engine: Literal["torch", "openvino"] = "torch"
    weights: str | None = None
    loss: Loss = field(default_factory=Loss)


def test_values_nested_and_converted():
    config = from_mapping(Config, {"steps": 3, "rings": [1, 2], "loss": {"weight": 2}})
    assert config == Config(steps=3, rings=(1, 2), loss=Loss(2.0))
    assert isinstance(config.loss.weight, float)


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"step": 3}, "unknown key step for Config; did you mean steps"),
        ({"loss": {"wieght": 3}}, "unknown key loss.wieght for Loss; did you mean weight"),
        ({"steps": "3"}, "steps: expected int; got '3'"),
        ({"steps": True}, "steps: expected int; got True"),
        ({"rings": [1, "a"]}, r"rings\[1\]: expected int; got 'a'"),
        ({"engine": "cuda"}, r"engine: expected one of \['torch', 'openvino'\]; got 'cuda'"),
        ({"loss": 3}, "loss: expected a mapping; got 3"),
        ({"weights": 3}, "weights: expected str; got 3"),
        (None, "Config: expected a mapping; got None"),
        ("x", "Config: expected a mapping; got 'x'"),
    ],
)
def test_errors_name_the_key_and_what_was_expected(mapping, text):
    with pytest.raises(ConfigError, match=text):
        from_mapping(Config, mapping)


def test_none_where_optional():
    assert from_mapping(Config, {"weights": None}).weights is None

"""The protocol that every inference engine fulfils."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class EngineError(RuntimeError):
    """An engine that is not installed, or inputs that do not fit its network."""


class Engine(Protocol):
    """A compiled network. Calls are not re-entrant: one engine serves one thread."""

    @property
    def name(self) -> str:
        """Engine and version, for diagnostics and reports."""

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Outputs by name. Raises EngineError when an input is missing or has a wrong shape."""


def check_names(given: Mapping[str, NDArray[Any]], expected: tuple[str, ...]) -> None:
    """Raises EngineError unless ``given`` has exactly the ``expected`` inputs."""
    if set(given) != set(expected):
        raise EngineError(f"expected inputs {sorted(expected)}; got {sorted(given)}")

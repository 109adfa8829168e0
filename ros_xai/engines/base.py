"""The protocol that every inference engine fulfils."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class EngineError(RuntimeError):
    """An engine that is not installed, or inputs that do not fit its network."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. shape: sizes of the axes, None for any; None as a whole: unknown."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def accepts(self, array: NDArray[Any]) -> bool:
        """Whether an array has this type and a shape that fits."""
        if str(array.dtype) != self.dtype:
            return False
        return self.shape is None or (
            len(self.shape) == array.ndim
            and all(want in (None, got) for want, got in zip(self.shape, array.shape))
        )


class Engine(Protocol):
    """A compiled network. Calls are not re-entrant: one engine serves one thread.

    The first axis is the batch where the network has one; `warm_up` and `measure` work on any.
    """

    @property
    def name(self) -> str:
        """Engine and version, for diagnostics and reports."""

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """Names, types and shapes of the inputs."""

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Names, types and shapes of the outputs."""

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name.

        Raises EngineError when an input is missing or has a wrong type or shape.
        """


def check_names(given: Mapping[str, NDArray[Any]], expected: tuple[str, ...]) -> None:
    """Raises EngineError unless ``given`` has exactly the ``expected`` inputs."""
    if set(given) != set(expected):
        raise EngineError(f"expected inputs {sorted(expected)}; got {sorted(given)}")


def check_inputs(given: Mapping[str, NDArray[Any]], specs: tuple[TensorSpec, ...]) -> None:
    """Raises EngineError unless names, types and shapes fit."""
    check_names(given, tuple(spec.name for spec in specs))
    for spec in specs:
        array = given[spec.name]
        if not spec.accepts(array):
            sizes = ["any" if size is None else size for size in spec.shape or ()]
            raise EngineError(
                f"{spec.name}: expected {spec.dtype} {sizes}; got {array.dtype} {list(array.shape)}"
            )


@contextmanager
def named_errors(inputs: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """What a library raises for shapes that do not fit its network is an EngineError with them."""
    try:
        yield
    except Exception as error:  # every library has its own, and torch those of the module's code
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        raise EngineError(f"the network cannot run on {shapes}: {error}") from error


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call, over ``rounds`` calls; ``calls`` are all of them, in order."""

    median_ms: float
    p90_ms: float
    rounds: int
    calls: tuple[float, ...] = ()

    def times_as_fast(self, other: Timing) -> float:
        """How many times as fast as the other: the median over calls made one after the other."""
        return statistics.median(b / a for a, b in zip(self.calls, other.calls))


def warm_up(engine: Engine, inputs: Mapping[str, NDArray[Any]], calls: int = 3) -> None:
    """First calls compile, allocate and fill caches: they are made here, not on the road."""
    for _ in range(calls):
        engine(inputs)


def measure(
    engines: Mapping[str, Engine], inputs: Mapping[str, NDArray[Any]], rounds: int = 20
) -> dict[str, Timing]:
    """Times of engines that take turns, so that other load slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            begun = time.perf_counter()
            engine(inputs)
            times[name].append((time.perf_counter() - begun) * 1e3)
    return {
        name: Timing(statistics.median(mine), float(np.percentile(mine, 90)), rounds, tuple(mine))
        for name, mine in times.items()
    }


def random_inputs(
    specs: tuple[TensorSpec, ...], shapes: Mapping[str, tuple[int, ...]], seed: int = 0
) -> Arrays:
    """Arrays in [0, 1) of the given shapes, for trials."""
    rng = np.random.default_rng(seed)
    return {spec.name: rng.random(shapes[spec.name]).astype(spec.dtype) for spec in specs}

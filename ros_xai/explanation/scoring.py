"""From perturbed inputs to scores, never more than a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ros_xai.explanation.targets import Target

Predict = Callable[[NDArray[np.float32]], Any]
"""A batch of inputs [n, ...] to the network's outputs: an array, a tensor, or a tuple of them."""


@dataclass(frozen=True)
class Scorer:
    """Scores of a batch of inputs [n, ...]: float [T, n], T = 1 for a target of one scalar."""

    predict: Predict
    target: Target | None = None

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raises ValueError for scores that are not [n] or [n, T], or not finite."""
        with torch.no_grad():
            outputs = _tensors(self.predict(inputs))
            scores = outputs if self.target is None else self.target(outputs)
        array: NDArray[np.float64] = torch.as_tensor(scores).cpu().numpy()
        if array.ndim not in (1, 2) or len(array) != len(inputs):
            wanted = f"[{len(inputs)}] or [{len(inputs)}, targets]"
            raise ValueError(f"expected scores {wanted}; got {list(array.shape)}: set a target")
        if not np.isfinite(array).all():
            raise ValueError("the scores are not finite: check the network on a masked input")
        return array.reshape(len(inputs), -1).T

    def single(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores [n] where only one target makes sense."""
        scores = self(inputs)
        if len(scores) != 1:
            raise ValueError(
                f"expected a target of one scalar; got {len(scores)}: score each alone"
            )
        return scores[0]


def batches(count: int, batch_size: int) -> Iterator[slice]:
    """Slices that cut `count` items into full batches and a rest."""
    if batch_size < 1:
        raise ValueError(f"expected a batch of at least 1; got {batch_size}")
    for start in range(0, count, batch_size):
        yield slice(start, min(start + batch_size, count))


def fixed_batch(predict: Predict, size: int) -> Predict:
    """`predict` that always sees `size` inputs, the last one repeated, for compiled engines.

    Their shapes are static: a smaller last batch would compile the network once more.
    """

    def padded(inputs: NDArray[np.float32]) -> Any:
        count = len(inputs)
        missing = size - count
        if missing < 0:
            raise ValueError(f"expected at most {size} inputs; got {count}")
        full = np.concatenate([inputs, np.repeat(inputs[-1:], missing, 0)]) if missing else inputs
        outputs = predict(full)
        if isinstance(outputs, tuple):
            return tuple(part[:count] for part in outputs)
        return outputs[:count]

    return padded


def _tensors(outputs: Any) -> Tensor | tuple[Tensor, ...]:
    if isinstance(outputs, tuple):
        return tuple(torch.as_tensor(part) for part in outputs)
    return torch.as_tensor(outputs)

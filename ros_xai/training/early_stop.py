"""Keep the best weights by a score, and stop when it no longer improves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from ros_xai.training.checkpoint import save_weights, write_atomic
from ros_xai.training.distributed import Process

BEST, SCORES = "best.safetensors", "scores.json"


class EarlyStop:
    """Hook for ``loop.fit``: every ``every`` steps, and after the ``last``, calls ``evaluate`` for
    a score to minimise.

    Scores and the best weights live in ``folder``, so a resumed run goes on with them. Stops
    after ``patience`` evaluations without a new best. The untrained module is scored first: a
    training that only makes things worse ends with the weights it started from. Of several
    processes the first writes the files.

    Raises FloatingPointError at a score that is not finite.
    """

    def __init__(
        self,
        module: nn.Module,
        evaluate: Callable[[], float],
        folder: Path,
        every: int,
        last: int,
        patience: int,
        process: Process = Process(),
    ) -> None:
        self.module, self.evaluate, self.folder = module, evaluate, folder
        self.every, self.last, self.patience = every, last, patience
        self.process = process
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / SCORES
        self.scores: dict[int, float] = (
            {int(k): v for k, v in json.loads(file.read_text()).items()} if file.is_file() else {}
        )
        if not self.scores:
            self._score(0)

    def __call__(self, step: int) -> bool:
        if (step % self.every == 0 or step == self.last) and step not in self.scores:
            self._score(step)
        best = min(self.scores, key=lambda s: (self.scores[s], s))
        stale = sum(best < s <= step for s in self.scores)
        return stale >= self.patience

    def restore_best(self) -> float:
        """Loads the best weights into the module and returns their score."""
        self.process.wait()  # for the first one's last file
        self.module.load_state_dict(load_file(self.folder / BEST))
        return min(self.scores.values())

    def _score(self, step: int) -> None:
        score = self.evaluate()
        if not math.isfinite(score):  # it would be neither better nor worse than any other
            raise FloatingPointError(f"the score after {step} steps is {score}: nothing judges")
        if self.process.is_first and score < min(self.scores.values(), default=float("inf")):
            save_weights(self.folder / BEST, self.module)
        self.scores[step] = score
        if self.process.is_first:
            write_atomic(self.folder / SCORES, json.dumps(self.scores).encode())

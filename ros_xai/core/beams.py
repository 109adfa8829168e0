"""Which beams of a scanner have fallen silent."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

PATIENCE = 5  # clouds: a beam that grazes the sky or a puddle may miss a few
MOST = 2**16  # drivers number beams by 16 bits at most; a count up to any number takes gigabytes


class SilentBeams:
    """Counts, cloud by cloud, how long each beam has given no point.

    Beams are those that are asked for, or all that were ever seen.
    """

    def __init__(self, patience: int = PATIENCE) -> None:
        self.patience = patience
        self._clouds_without: dict[int, int] = {}

    def see(self, ring: NDArray[np.integer], asked: Collection[int] = ()) -> None:
        """One cloud's ring numbers [N]; those below 0 or from MOST on are no beam's."""
        beams = ring[(ring >= 0) & (ring < MOST)]
        found = set(np.flatnonzero(np.bincount(beams)).tolist())
        expected = set(asked) or found | set(self._clouds_without)
        self._clouds_without = {
            beam: 0 if beam in found else self._clouds_without.get(beam, 0) + 1 for beam in expected
        }

    def silent(self) -> list[int]:
        """Beams without a point in the last `patience` clouds, from the top."""
        return sorted(b for b, clouds in self._clouds_without.items() if clouds >= self.patience)

    def expected(self) -> int:
        """How many beams there should be."""
        return len(self._clouds_without)

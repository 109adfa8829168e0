"""A question and the picture its answer is shown on. Needs no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.explanation import attribution
from ros_xai.explanation.attribution import Attribution
from ros_xai.nodes.explained import Question

_DOT = 8  # px, radius of a thing in a heatmap


@dataclass(frozen=True)
class View:
    """picture: uint8 [H, W, 3] rgb. places: (u, v) in it of the cells of a grid (K, 1), where they
    are things and not parts of the picture; those beyond have no place. figures: what else is
    known of the answer that is explained."""

    question: Question
    picture: NDArray[np.uint8]
    places: list[tuple[int, int]] | None = None
    figures: dict[str, str] = field(default_factory=dict)

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """The cells: rows x columns, or one of each thing."""
        if self.places is None:
            return rows, columns
        return self.question.box.inputs.shape[1], 1

    def heatmap(self, cells: Attribution) -> NDArray[np.float32]:
        """Importance of the picture's pixels [H, W]; a thing's is at its place."""
        shape = (self.picture.shape[0], self.picture.shape[1])
        if self.places is None:
            return replace(cells, shape=shape).heatmap()
        heat = np.zeros(shape, np.float32)
        # The larger last, so that none hides behind a smaller.
        for value, place in sorted(zip(cells.values[:, 0], self.places)):
            cv2.circle(heat, place, _DOT, float(value), -1)
        return heat

    def overlay(self, cells: Attribution) -> NDArray[np.uint8]:
        """The picture with importance over it: a ring around each thing, else colour."""
        if self.places is None:
            return attribution.overlay(self.picture, self.heatmap(cells))
        return _rings(self.picture, self.places, cells.values[:, 0])


def _rings(
    picture: NDArray[np.uint8], places: list[tuple[int, int]], values: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The picture with a ring at every place (u, v), its area in proportion to the value."""
    picture = picture.copy()
    largest = max(float(values.max()), 1e-12)
    for place, value in zip(places, values):
        cv2.circle(picture, place, 3, (255, 255, 255), -1, cv2.LINE_AA)
        radius = round(16 * max(float(value) / largest, 0.0) ** 0.5)
        cv2.circle(picture, place, radius, (255, 160, 0), 2, cv2.LINE_AA)
    return picture

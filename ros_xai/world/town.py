"""What stands along the streets: houses, gardens, trees, lamps, signs, traffic lights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world import furniture, plants
from ros_xai.world.mesh import Mesh
from ros_xai.world.plots import back_house, plot
from ros_xai.world.road_map import Lane, RoadMap, along, arc_length, offset, strip
from ros_xai.world.streets import KERB

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

LAMPS_PER_SIGNAL = 3  # red, amber, green
_CELL = 0.5  # metres of the map of taken ground


def street_lamp_index(road_map: RoadMap) -> int:
    """Number of the lamp that all street lamps are; those of the signals come before it."""
    return LAMPS_PER_SIGNAL * len(road_map.signals)


class Sight:
    """The ground within about ``reach`` metres of a path [T, 2]: only that is built."""

    def __init__(self, path: NDArray[np.floating], reach: float = 170.0) -> None:
        self._cell = 5.0
        self._origin = path.min(0) - reach - 2 * self._cell
        size = np.ceil((np.ptp(path, axis=0) + 2 * reach) / self._cell).astype(int) + 5
        self._seen = np.zeros((size[1], size[0]), np.uint8)
        for x, y in np.unique(np.round((path - self._origin) / self._cell).astype(int), axis=0):
            cv2.circle(self._seen, (int(x), int(y)), round(reach / self._cell), 1, -1)

    def sees(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points [N, 2] are within reach."""
        cells = np.round((points - self._origin) / self._cell).astype(int)
        inside = ((cells >= 0) & (cells < self._seen.shape[::-1])).all(axis=1)
        column, row = np.where(inside[:, None], cells, 0).T
        return np.asarray(inside & (self._seen[row, column] > 0))


class Town:
    """Places things along the outer side of every sidewalk, on ground not taken yet.

    Each thing has a generator of its own, so that what is out of sight can be left out.
    """

    def __init__(self, rng: Generator, road_map: RoadMap, sight: Sight) -> None:
        self.rng = rng
        self.road_map = road_map
        self.sight = sight
        self.parts: list[Mesh] = []
        self.street_lamps: list[NDArray[np.float64]] = []
        points = np.vstack([lane.shape for lane in road_map.lanes.values()])
        self._origin = points.min(0) - 80
        size = np.ceil((points.max(0) + 80 - self._origin) / _CELL).astype(int)
        self._taken = np.zeros((size[1], size[0]), np.uint8)
        for lane in road_map.lanes.values():
            outline = lane.shape if lane.kind == "corner" else strip(lane.shape, lane.width / 2)
            self._fill(self._taken, outline)
        for outline in (*road_map.junctions, *road_map.pavements):
            self._fill(self._taken, outline)
        self._trees = [
            *(plants.broadleaf(rng, float(rng.uniform(6, 11))) for _ in range(5)),
            *(plants.bare(rng, float(rng.uniform(6, 10))) for _ in range(3)),
            plants.conifer(rng, float(rng.uniform(7, 12))),
        ]
        self._backdrop = [plants.broadleaf(rng, float(rng.uniform(7, 13)), 16) for _ in range(5)]

    def _fill(self, canvas: NDArray[np.uint8], outline: NDArray[np.float64]) -> None:
        cells = np.round((outline - self._origin) / _CELL).astype(np.int32)
        cv2.fillPoly(canvas, [cells], 1)

    def _claim(self, outline: NDArray[np.float64]) -> bool:
        """Take a polygon of ground unless any of it is taken."""
        wanted = np.zeros_like(self._taken)
        self._fill(wanted, outline)
        if not wanted.any() or (wanted & self._taken).any():
            return False
        self._taken |= wanted
        return True

    def _free(self, point: NDArray[np.float64]) -> bool:
        column, row = np.round((point - self._origin) / _CELL).astype(int)
        inside = 0 <= row < self._taken.shape[0] and 0 <= column < self._taken.shape[1]
        return bool(inside and not self._taken[row, column])

    def _put(
        self,
        make: Callable[[Generator], Mesh],
        xy: NDArray[np.float64],
        angle: float,
        z: float = KERB,
    ) -> None:
        """Make a thing and put it somewhere."""
        own = self.rng.integers(2**62)
        if self.sight.sees(xy[None])[0]:
            mesh = make(np.random.default_rng(own))
            self.parts.append(mesh.moved(pose(rotation_z(angle), (*xy, z))))

    def _tree(self, rng: Generator) -> Mesh:
        return self._trees[rng.integers(len(self._trees))]

    def _street_tree(self, rng: Generator) -> Mesh:
        """A tree that lets people and cars pass below its crown: no conifer."""
        return self._trees[rng.integers(len(self._trees) - 1)]

    def line_streets(self) -> None:
        sidewalks = [x for x in self.road_map.of_kind("sidewalk") if arc_length(x.shape)[-1] > 12]
        kinds = ["terrace", "house", "park", "block"]
        for lane in sidewalks:
            kind = str(self.rng.choice(kinds, p=[0.45, 0.27, 0.13, 0.15]))
            self._kerb_side(lane, treed=kind != "terrace" and self.rng.random() < 0.6)
            if kind == "park":
                self._park(lane)
            else:
                self._lots(lane, kind)
        self._signals()
        self._infill()

    def _infill(self) -> None:
        """Houses and trees on what is left of the blocks and around the town."""
        rng = self.rng
        high = self._origin + np.array(self._taken.shape[::-1]) * _CELL
        for x in np.arange(self._origin[0] + 8, high[0] - 8, 13.0):
            for y in np.arange(self._origin[1] + 8, high[1] - 8, 13.0):
                angle, at = float(rng.uniform(0, 6.28)), np.array([x, y])
                size = rng.uniform(7, 11, 2)
                if rng.random() < 0.45:
                    local = np.array([(0, 0), (size[0], 0), size, (0, size[1])])
                    if self._claim(at + local @ rotation_z(angle)[:2, :2].T):
                        self._put(partial(back_house, *size), at, angle, -0.05)
                elif self._free(at):
                    self._put(lambda own: self._backdrop[own.integers(5)], at, angle, -0.03)

    def _kerb_side(self, lane: Lane, treed: bool) -> None:
        """Lamp posts, trees, signs and small things in the strip beside the kerb."""
        rng, length = self.rng, arc_length(lane.shape)[-1]
        line = offset(lane.shape, lane.width / 2 - 0.45)
        height, arm = float(rng.uniform(5.5, 7.5)), 1.6
        post = furniture.lamp_post(rng, height, arm, street_lamp_index(self.road_map))
        for s in np.arange(rng.uniform(6, 14), length - 5, rng.uniform(24, 32)):
            (xy,), (angle,) = along(line, np.array([s]))
            self._put(lambda _, post=post: post, xy, angle)
            left = np.array([-np.sin(angle), np.cos(angle)])
            self.street_lamps.append(np.array([*(xy + arm * left), height + KERB]))
        for s in np.arange(rng.uniform(4, 10), length - 4, 9.0):
            (xy,), (angle,) = along(line, np.array([s]))
            roll = rng.random()
            if treed and roll < 0.75:
                self._put(self._street_tree, xy, float(rng.uniform(0, 6.28)))
            elif roll < 0.16:
                self._put(furniture.sign, xy, angle)
            elif roll < 0.22:
                self._put(furniture.billboard, xy, angle)
            elif roll < 0.32:
                self._put(furniture.bollard, xy, angle)
            elif roll < 0.37:
                self._put(furniture.bin_, xy, angle)

    def _lots(self, lane: Lane, kind: str) -> None:
        """Buildings, wall to wall (terrace), detached behind gardens (house), or large (block)."""
        rng, length = self.rng, arc_length(lane.shape)[-1]
        front = offset(lane.shape, -lane.width / 2 - 0.1)
        garden = float(rng.uniform(3.5, 6.5)) if kind == "house" else 0.0
        s = float(rng.uniform(0, 3))
        storeys = int(rng.integers(2, 5))
        while s < length - 5:
            width = float(
                rng.uniform(*{"terrace": (6, 14), "house": (8, 12), "block": (18, 34)}[kind])
            )
            width = min(width, length - s - 0.5)
            ends, _ = along(front, np.array([s, s + width]))
            s += width + (float(rng.uniform(2, 6)) if kind == "house" else 0.0)
            depth = float(rng.uniform(8, 12))
            floors = max(1, storeys + int(rng.integers(-1, 2))) + (kind == "block")
            self._lot(kind, ends, garden, depth, min(floors, 2) if kind == "house" else floors)

    def _lot(
        self, kind: str, ends: NDArray[np.float64], garden: float, depth: float, storeys: int
    ) -> None:
        """One plot behind the chord ``ends`` [2, 2] of the sidewalk's outer border.

        The building's frame has x against the driving direction, so that y points outwards.
        """
        chord = ends[0] - ends[1]
        width = float(np.linalg.norm(chord))
        angle = float(np.arctan2(chord[1], chord[0]))
        x, y = chord / width, np.array([-chord[1], chord[0]]) / width
        inner = ends[1] + y * 0.6
        corners = [inner, inner + x * width, inner + x * width + y * (garden + depth)]
        if width < 4 or not self._claim(np.array([*corners, inner + y * (garden + depth)])):
            return
        make = partial(
            plot,
            kind=kind,
            width=width,
            garden=garden,
            depth=depth,
            storeys=storeys,
            trees=self._trees,
        )
        self._put(make, ends[1], angle)

    def _park(self, lane: Lane) -> None:
        """Railing or hedge, and trees on grass behind it."""
        rng, length = self.rng, arc_length(lane.shape)[-1]
        border = offset(lane.shape, -lane.width / 2 - 0.25)
        fenced = rng.random()
        for s in np.arange(1.0, length - 5.0, 4.2):
            ends, (angle, _) = along(border, np.array([s, s + 4.2]))
            run = float(np.linalg.norm(ends[1] - ends[0]))
            if fenced < 0.5:
                self._put(lambda _, run=run: furniture.railing(run), ends[0], angle)
            elif fenced < 0.8:
                make = partial(plants.hedge, length=run, height=1.2, depth=0.7)
                self._put(make, ends[0], angle)
        for s in np.arange(3.0, length - 3.0, 5.0):
            (xy,), (angle,) = along(border, np.array([s]))
            away = np.array([np.sin(angle), -np.cos(angle)])
            for distance in rng.uniform(2.5, 32.0, 2):
                at = xy + away * distance
                if self._free(at):
                    self._put(self._tree, at, float(rng.uniform(0, 6.28)), -0.03)

    def _signals(self) -> None:
        """One post with heads per approach, at the stop line beside the kerb."""
        done: set[str] = set()
        for k, signal in enumerate(self.road_map.signals):
            lane = self.road_map.lanes[signal.lane]
            if lane.edge in done or lane.kind != "drive":
                continue
            done.add(lane.edge)
            walk = self.road_map.lanes.get(f"{lane.edge}_0", lane)
            line = offset(walk.shape, walk.width / 2 - 0.35)
            (xy,), (angle,) = along(line, np.array([arc_length(line)[-1] - 0.6]))
            gap = float(np.linalg.norm(lane.shape[-1] - xy))
            reach = gap if gap > 4.0 else 0.0
            light = furniture.traffic_light(LAMPS_PER_SIGNAL * k, reach=reach)
            self._put(lambda _, light=light: light, xy, angle)

"""What stands along the streets: houses, gardens, trees, lamps, signs, traffic lights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world import furniture, plants
from ros_xai.world.buildings import building, style
from ros_xai.world.mesh import PAVEMENT, TREE, Material, Mesh
from ros_xai.world.road_map import Lane, RoadMap, along, arc_length, offset, strip
from ros_xai.world.shapes import panel
from ros_xai.world.streets import KERB

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

LAMPS_PER_SIGNAL = 3  # red, amber, green
_CELL = 0.5  # metres of the map of taken ground


def street_lamp_index(road_map: RoadMap) -> int:
    """Number of the lamp that all street lamps are; those of the signals come before it."""
    return LAMPS_PER_SIGNAL * len(road_map.signals)


class Town:
    """Places things along the outer side of every sidewalk, on ground not taken yet."""

    def __init__(self, rng: Generator, road_map: RoadMap) -> None:
        self.rng = rng
        self.road_map = road_map
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

    def _put(self, mesh: Mesh, xy: NDArray[np.float64], angle: float, z: float = KERB) -> None:
        self.parts.append(mesh.moved(pose(rotation_z(angle), (*xy, z))))

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
                if rng.random() < 0.45:
                    size = rng.uniform(7, 11, 2)
                    local = np.array([(0, 0), (size[0], 0), size, (0, size[1])])
                    if self._claim(at + local @ rotation_z(angle)[:2, :2].T):
                        look = style(rng, "house" if rng.random() < 0.5 else "terrace")
                        house = building(
                            rng, replace(look, ground=0.0), *size, int(rng.integers(2, 6))
                        )
                        self._put(house, at, angle, -0.05)
                elif self._free(at):
                    tree = self._backdrop[rng.integers(len(self._backdrop))]
                    self._put(tree, at, angle, -0.03)

    def _kerb_side(self, lane: Lane, treed: bool) -> None:
        """Lamp posts, trees, signs and small things in the strip beside the kerb."""
        rng, length = self.rng, arc_length(lane.shape)[-1]
        line = offset(lane.shape, lane.width / 2 - 0.45)
        street_lamp = street_lamp_index(self.road_map)
        for s in np.arange(rng.uniform(6, 14), length - 5, rng.uniform(24, 32)):
            (xy,), (angle,) = along(line, np.array([s]))
            height, arm = float(rng.uniform(5.5, 7.5)), 1.6
            self._put(furniture.lamp_post(rng, height, arm, street_lamp), xy, angle)
            left = np.array([-np.sin(angle), np.cos(angle)])
            self.street_lamps.append(np.array([*(xy + arm * left), height + KERB]))
        for s in np.arange(rng.uniform(4, 10), length - 4, 9.0):
            (xy,), (angle,) = along(line, np.array([s]))
            roll = rng.random()
            if treed and roll < 0.75:
                tree = self._trees[rng.integers(len(self._trees))]
                self._put(tree, xy, float(rng.uniform(0, 6.28)))
            elif roll < 0.16:
                self._put(furniture.sign(rng), xy, angle)
            elif roll < 0.22:
                self._put(furniture.billboard(rng), xy, angle)
            elif roll < 0.32:
                self._put(furniture.bollard(), xy, angle)
            elif roll < 0.37:
                self._put(furniture.bin_(rng), xy, angle)

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
        rng = self.rng
        chord = ends[0] - ends[1]
        width = float(np.linalg.norm(chord))
        angle = float(np.arctan2(chord[1], chord[0]))
        x, y = chord / width, np.array([-chord[1], chord[0]]) / width
        inner = ends[1] + y * 0.6
        corners = [inner, inner + x * width, inner + x * width + y * (garden + depth)]
        if width < 4 or not self._claim(np.array([*corners, inner + y * (garden + depth)])):
            return
        T = pose(rotation_z(angle), (*ends[1], KERB))
        look = style(rng, kind)
        house = building(rng, look, width - 0.02, depth, storeys)
        self.parts.append(house.moved(T @ pose(np.eye(3), (0.01, garden + 0.35, 0))))
        material, label = (Material.GRASS, TREE) if garden else (Material.PAVERS, PAVEMENT)
        colour = (0.10, 0.13, 0.035) if garden else (0.25, 0.25, 0.24)
        apron = panel(
            (0, -0.3, -0.01), (width, 0, 0), (0, garden + 1.0, 0), material, colour, label
        )
        self.parts.append(apron.moved(T))
        if garden:
            self._garden(T, width, garden)

    def _garden(self, T: NDArray[np.float64], width: float, garden: float) -> None:
        rng = self.rng
        border = rng.integers(5)
        gate = float(rng.uniform(2.0, 3.2))
        run = max(width - gate, 1.0)
        if border == 0:
            piece = plants.hedge(rng, run, float(rng.uniform(1.0, 1.8)), 0.6)
        elif border == 1:
            piece = furniture.wooden_fence(rng, run, float(rng.uniform(1.0, 1.7)))
        elif border == 2:
            piece = furniture.railing(run)
        else:
            piece = furniture.low_wall(
                run, float(rng.uniform(0.6, 1.1)), np.array([0.3, 0.15, 0.1])
            )
        self.parts.append(piece.moved(T @ pose(np.eye(3), (0, 0.3, 0))))
        if rng.random() < 0.6:
            tree = self._trees[rng.integers(len(self._trees))].moved(np.diag([0.6, 0.6, 0.6, 1]))
            at = (rng.uniform(1, width - 1), garden * 0.55, 0)
            self.parts.append(tree.moved(T @ pose(np.eye(3), at)))

    def _park(self, lane: Lane) -> None:
        """Railing or hedge, and trees on grass behind it."""
        rng, length = self.rng, arc_length(lane.shape)[-1]
        border = offset(lane.shape, -lane.width / 2 - 0.25)
        fenced = rng.random()
        for s in np.arange(1.0, length - 5.0, 4.2):
            ends, (angle, _) = along(border, np.array([s, s + 4.2]))
            run = float(np.linalg.norm(ends[1] - ends[0]))
            if fenced < 0.5:
                self._put(furniture.railing(run), ends[0], angle)
            elif fenced < 0.8:
                self._put(plants.hedge(rng, run, 1.2, 0.7), ends[0], angle)
        for s in np.arange(3.0, length - 3.0, 5.0):
            (xy,), (angle,) = along(border, np.array([s]))
            away = np.array([np.sin(angle), -np.cos(angle)])
            for distance in rng.uniform(2.5, 32.0, 2):
                at = xy + away * distance
                if self._free(at):
                    self._put(
                        self._trees[rng.integers(len(self._trees))],
                        at,
                        float(rng.uniform(0, 6.28)),
                        -0.03,
                    )

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
            mesh = furniture.traffic_light(LAMPS_PER_SIGNAL * k, reach=reach)
            self._put(mesh, xy, angle)

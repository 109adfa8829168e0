"""The town around the traffic: what stands along the streets, and what moves in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zlib import crc32

import cv2
import numpy as np

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world.bodywork import LAMPS
from ros_xai.world.mesh import Mesh, concat
from ros_xai.world.people import Figure, figure
from ros_xai.world.rays import Surface
from ros_xai.world.road_map import RoadMap
from ros_xai.world.streets import KERB, ground
from ros_xai.world.town import Sight, Town, street_lamp_index
from ros_xai.world.traffic import BRAKE, LEFT, LIGHT_STATES, RIGHT, Traffic
from ros_xai.world.vehicles import vehicle

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scene:
    """Static surface, street lamp heads [K, 3], and the models of the traffic's agents.

    Lamps are numbered: three per signal, one for all street lamps, then four per agent.
    """

    static: Surface
    street_lamps: NDArray[np.float32]
    models: tuple[Mesh | Figure, ...]
    traffic: Traffic
    gone: NDArray[np.float64]  # [T, A] metres each agent has moved
    height: NDArray[np.float64]  # [T, A] of the ground below each agent, m

    @property
    def street_lamp_index(self) -> int:
        return street_lamp_index(self.traffic.road_map)

    def movers(self, step: int, around: NDArray[np.floating], reach: float = 130.0) -> Mesh:
        """All agents but the ego within ``reach`` metres, at a step; instance = agent index."""
        traffic = self.traffic
        near = np.linalg.norm(traffic.xy[step] - around, axis=1) < reach  # False where NaN
        near[0] = False
        moving = np.flatnonzero(near & ~traffic.parked)
        return concat(self.agent(step, a) for a in moving.tolist())

    def agent(self, step: int, agent: int) -> Mesh:
        """One agent where it is at a step, people in the phase of their gait."""
        traffic, model = self.traffic, self.models[agent]
        if isinstance(model, Figure):
            walking = bool(traffic.speed[step, agent] > 0.2)
            model = model.posed(float(self.gone[step, agent]), walking)
        x, y = traffic.xy[step, agent]
        T = pose(rotation_z(float(traffic.yaw[step, agent])), (x, y, self.height[step, agent]))
        first = self.street_lamp_index + 1
        return model.moved(T).with_instance(agent, first + len(LAMPS) * agent)

    def lamp_powers(self, step: int, dark: float) -> NDArray[np.float32]:
        """Power of every lamp, 0 = off; ``dark`` 0 by day to 1 by night."""
        traffic = self.traffic
        signals = len(traffic.road_map.signals)
        power = np.zeros(self.street_lamp_index + 1 + len(LAMPS) * len(traffic.size), np.float32)
        for k in range(signals):
            letter = LIGHT_STATES[traffic.lights[step, k]]
            red, amber = letter in "ru", letter in "uyY"
            power[3 * k : 3 * k + 3] = red, amber, letter in "gG"
        power[self.street_lamp_index] = dark
        agents = power[self.street_lamp_index + 1 :].reshape(-1, len(LAMPS))
        driven = ~traffic.parked
        bits = traffic.signals[step]
        blink = float(traffic.time[step] * 1.5 % 1.0 < 0.5)
        agents[:, 0] = np.where(driven, 0.12 + 0.88 * dark, 0)
        agents[:, 1] = np.where((bits & BRAKE) > 0, 1.0, 0.25 * dark * driven)
        agents[:, 2] = ((bits & LEFT) > 0) * blink
        agents[:, 3] = ((bits & RIGHT) > 0) * blink
        return power


def build(seed: int, traffic: Traffic) -> Scene:
    """The seeded town of a traffic: same seed, same town."""
    rng = np.random.default_rng([seed, 3])
    road_map = traffic.road_map
    sight = Sight(traffic.xy[:, 0])
    town = Town(rng, road_map, sight)
    town.line_streets()
    models: list[Mesh | Figure] = []
    for k, category in enumerate(traffic.category):
        own = np.random.default_rng([seed, 4, crc32(traffic.names[k].encode())])
        if category in ("pedestrian", "bicycle"):
            models.append(figure(own, float(traffic.size[k, 2]), category == "bicycle"))
        else:
            models.append(vehicle(own, category, traffic.size[k]))
    step = np.nan_to_num(np.linalg.norm(np.diff(traffic.xy, axis=0), axis=2))
    gone = np.vstack([np.zeros(step.shape[1]), np.cumsum(step, axis=0)])
    lamps = np.array(town.street_lamps, np.float32).reshape(-1, 3)
    scene = Scene(
        Surface(concat([])), lamps, tuple(models), traffic, gone, _ground_heights(traffic)
    )
    # what is parked stays: it is part of the static world, under its own instance
    seen = sight.sees(np.nan_to_num(traffic.xy[0]))
    parked = [scene.agent(0, a) for a in np.flatnonzero(traffic.parked & seen).tolist()]
    static = concat([ground(rng, road_map), *town.parts, *parked])
    return replace(scene, static=Surface(static))


def _ground_heights(traffic: Traffic, cell: float = 0.2) -> NDArray[np.float64]:
    """Heights [T, A] of the ground: the kerb's where a walker is off the road, else 0."""
    heights = np.zeros(traffic.xy.shape[:2])
    walkers = np.flatnonzero(np.array(traffic.category) == "pedestrian")
    if len(walkers) == 0:
        return heights
    road = _road_raster(traffic.road_map, cell)
    place = np.nan_to_num(traffic.xy[:, walkers].astype(np.float64))
    column, row = np.round((place - road[1]) / cell).astype(int).transpose(2, 0, 1)
    inside = (row >= 0) & (column >= 0) & (row < road[0].shape[0]) & (column < road[0].shape[1])
    on_road = np.zeros(row.shape, bool)
    on_road[inside] = road[0][row[inside], column[inside]] > 0
    raised = np.pad(np.where(on_road, 0.0, KERB), ((2, 2), (0, 0)), mode="edge")
    # a step up or down takes half a second
    heights[:, walkers] = np.lib.stride_tricks.sliding_window_view(raised, 5, axis=0).mean(-1)
    return heights


def _road_raster(road_map: RoadMap, cell: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Where the ground is road, uint8 [H, W], and the position of its first cell."""
    outlines = [*road_map.drivable(), *road_map.crossings()]
    origin = np.vstack(outlines).min(0) - 1.0
    size = np.ceil((np.vstack(outlines).max(0) + 1.0 - origin) / cell).astype(int)
    canvas = np.zeros((size[1], size[0]), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [np.round((outline - origin) / cell).astype(np.int32)], 1)
    return canvas, origin

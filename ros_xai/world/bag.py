"""A drive as an MCAP bag: camera, LiDAR, TF, odometry, tracks, map, and all ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world.bag_writer import BagWriter, Marker
from ros_xai.world.camera import Camera
from ros_xai.world.domains import domain
from ros_xai.world.drive import Drive, cached_drive
from ros_xai.world.lidar import Lidar, Sweep
from ros_xai.world.raster import rasterise
from ros_xai.world.traffic import BRAKE, LEFT, LIGHT_STATES, RIGHT, STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPOCH_NS = 1_700_000_000_000_000_000  # any fixed date: stamps must not depend on the clock
_MAP_CELL = 0.25
_FUTURE = 12  # half-second steps
_RED, _AMBER, _GREEN = (1.0, 0.1, 0.1, 1.0), (1.0, 0.7, 0.0, 1.0), (0.1, 0.9, 0.4, 1.0)
_OFF = ("off", (0.3, 0.3, 0.3, 1.0))
_SIGNALS = {  # SUMO's letter -> state, colour
    "r": ("red", _RED),
    "u": ("red-yellow", _AMBER),
    **dict.fromkeys("yY", ("yellow", _AMBER)),
    **dict.fromkeys("gG", ("green", _GREEN)),
    **dict.fromkeys("oO", _OFF),
}
_LAMPS = (("brake", BRAKE, _RED), ("left", LEFT, _AMBER), ("right", RIGHT, _AMBER))


@dataclass(frozen=True)
class BagConfig:
    """What a bag holds; ``lidar`` and ``camera`` as their classes say.

    Raises:
        ValueError: a number that no bag can have.
    """

    seed: int = 4
    seconds: float = 10.0
    network: str = "town"
    domain: str = "clear"
    camera: Camera = field(default_factory=Camera)
    lidar: Lidar = field(default_factory=Lidar)

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("seconds", self.seconds, STEP, 1e5),
            ("image width", self.camera.width, 16, 2**14),
            ("image height", self.camera.height, 16, 2**14),
            ("LiDAR beams", len(self.lidar.elevations), 1, 256),  # a ring is a byte
            ("LiDAR noise", self.lidar.noise, 0.0, 10.0),
            ("LiDAR drop-out", self.lidar.drop_out, 0.0, 1.0),
        ):
            if not low <= value <= high:  # NaN is in no range
                raise ValueError(f"{name}: expected {low:g} to {high:g}; got {value:g}")
        if any(self.camera.distortion):
            self.camera.rays()  # refuses what is no lens before the drive is simulated

    @property
    def frames(self) -> int:
        return round(self.seconds / STEP)

    def drive(self) -> Drive:
        """The drive, longer than the bag so that all futures are known."""
        return cached_drive(self.seed, self.seconds + _FUTURE / 2, self.network)


@dataclass(frozen=True)
class _Sensed:
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    label: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    sweep: Sweep


def write_bag(
    config: BagConfig,
    path: Path,
    jobs: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the bag (.mcap) and return its path; the same config gives the same bytes.

    Raises:
        ValueError: unknown network or domain, or a duration that is not positive.
    """
    domain(config.domain)
    run = config.drive()
    with BagWriter(path) as bag:
        _statics(bag, config, run)
        odometry = _Odometry(config.seed, run)
        for step, sensed in enumerate(_sense(config, run, jobs)):
            _write_step(bag, config, run, step, sensed)
            odometry.write(bag, step)
            if progress:
                progress(step + 1, config.frames)
    return path


def _sense(config: BagConfig, run: Drive, jobs: int) -> Iterator[_Sensed]:
    exposures = run.exposures(config.camera, domain(config.domain), config.frames - 1)
    if jobs <= 1:
        yield from (_sense_step(config, exposures[k], k) for k in range(config.frames))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        count = config.frames
        yield from pool.map(_sense_step, [config] * count, exposures[:count], range(count))


def _sense_step(config: BagConfig, exposure: float, step: int) -> _Sensed:
    cv2.setNumThreads(1)
    run, look = config.drive(), domain(config.domain)
    surfaces = run.surfaces(step)
    frame = run.frame(step, config.camera, look, surfaces)
    image = run.image(frame, step, look, exposure)
    sweep = run.sweep(step, config.lidar, surfaces)
    return _Sensed(image, frame.depth, frame.label, frame.instance, sweep)


def _stamp(step: int) -> int:
    return _EPOCH_NS + step * round(STEP * 1e9)


def _statics(bag: BagWriter, config: BagConfig, run: Drive) -> None:
    sensors = [
        ("base_link", "lidar", config.lidar.T_base_lidar),
        ("base_link", "camera_optical", config.camera.T_base_camera),
    ]
    bag.transforms("/tf_static", _stamp(0), sensors)
    road_map = run.scene.traffic.road_map
    points = np.vstack([lane.shape for lane in road_map.lanes.values()])
    low, high = points.min(0) - 10, points.max(0) + 10
    width, height = (int(n) for n in np.ceil((high - low) / _MAP_CELL))
    for name, layer in rasterise(road_map, low, height, width, _MAP_CELL).items():
        grid = (layer * 100).astype(np.int8)
        bag.grid(f"/map/{name}", _stamp(0), "map", grid, _MAP_CELL, low)


def _write_step(bag: BagWriter, config: BagConfig, run: Drive, step: int, s: _Sensed) -> None:
    stamp, camera = _stamp(step), config.camera
    height, width = s.depth.shape
    bag.camera_info(
        "/camera/camera_info",
        stamp,
        "camera_optical",
        camera.intrinsics,
        width,
        height,
        distortion=camera.distortion,
    )
    bag.image("/camera/image", stamp, "camera_optical", s.image, "rgb8")
    bag.points(
        "/lidar/points",
        stamp,
        "lidar",
        s.sweep.xyz,
        intensity=s.sweep.intensity,
        ring=s.sweep.ring.astype(np.uint16),
        time=s.sweep.time,
    )
    depth = np.where(s.depth > 0, s.depth, np.nan).astype(np.float32)
    bag.image("/gt/depth", stamp, "camera_optical", depth, "32FC1")
    bag.image("/gt/labels", stamp, "camera_optical", s.label, "mono8")
    bag.image("/gt/instances", stamp, "camera_optical", s.instance, "mono16")
    bag.transforms("/tf", stamp, [("map", "base_link", run.T_world_base[step])])
    linear, angular = body_motion(run, step)
    bag.odometry("/gt/odometry", stamp, "map", "base_link", run.T_world_base[step], linear, angular)
    bag.markers("/tracks", stamp, "map", markers(run, step))
    bag.points("/gt/future", stamp, "map", **future(run, step))
    bag.markers("/gt/lights", stamp, "map", lights(run, step))


def body_motion(run: Drive, step: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Linear m/s and angular rad/s velocity of the ego in its own frame."""
    R = run.T_world_base[step, :3, :3]
    linear = R.T @ np.array([*run.velocity(step), 0.0])
    return tuple(float(v) for v in linear), (0.0, 0.0, run.yaw_rate(step))


def markers(run: Drive, step: int) -> list[Marker]:
    """All agents but the ego within 80 m, as boxes; id = instance."""
    traffic = run.scene.traffic
    near = np.linalg.norm(traffic.xy[step] - traffic.xy[step, 0], axis=1) < 80.0
    near[0] = False
    boxes = []
    for a in np.flatnonzero(near):
        x, y = (float(v) for v in traffic.xy[step, a])
        length, width, height = (float(v) for v in traffic.size[a])
        z = float(run.scene.height[step, a]) + height / 2
        T = pose(rotation_z(float(traffic.yaw[step, a])), (x, y, z))
        boxes.append(Marker(int(a), traffic.category[a], T, (length, width, height)))
    return boxes


def lights(run: Drive, step: int) -> list[Marker]:
    """What shines within 80 m, as small boxes above its place, coloured; `text` is the state.

    ns signal: a traffic light's head over its stop line, id as in the map's signals, text red,
    red-yellow, yellow, green or off. ns brake, left, right: a lamp of the agent of that id.
    """
    traffic = run.scene.traffic
    ego, size = traffic.xy[step, 0].astype(np.float64), (0.3, 0.3, 0.3)
    found = []
    for k, signal in enumerate(traffic.road_map.signals):
        x, y = (float(v) for v in traffic.road_map.lanes[signal.lane].shape[-1])
        if np.hypot(x - ego[0], y - ego[1]) < 80.0:
            text, color = _SIGNALS[LIGHT_STATES[traffic.lights[step, k]]]
            found.append(Marker(k, "signal", pose(np.eye(3), (x, y, 4.0)), size, text, color))
    for box in markers(run, step):
        T = box.T @ pose(np.eye(3), (-box.size[0] / 2, 0.0, box.size[2] / 2 + 0.3))
        bits = traffic.signals[step, box.id]
        for name, bit, color in _LAMPS:
            if bits & bit:
                found.append(Marker(box.id, name, T, size, "on", color))
    return found


def future(run: Drive, step: int) -> dict[str, NDArray[np.generic]]:
    """Later positions, 0.5 s apart up to 6 s, of the agents within 80 m: xyz, t, track_id."""
    traffic = run.scene.traffic
    near = np.linalg.norm(traffic.xy[step] - traffic.xy[step, 0], axis=1) < 80.0
    agents = np.flatnonzero(near)
    later = np.arange(1, _FUTURE + 1) * 5
    later = later[step + later < run.steps]
    xy = traffic.xy[step + later][:, agents]  # [F, A, 2]
    t, track = np.meshgrid(later * np.float32(STEP), agents, indexing="ij")
    known = ~np.isnan(xy[..., 0])
    xyz = np.concatenate([xy[known], np.zeros((known.sum(), 1), np.float32)], axis=1)
    return {
        "xyz": xyz.astype(np.float32),
        "t": t[known].astype(np.float32),
        "track_id": track[known].astype(np.int32),
    }


class _Odometry:
    """GPS/IMU-like odometry: noisy speed and yaw rate, integrated, pulled to a noisy GPS fix."""

    def __init__(self, seed: int, run: Drive) -> None:
        self._rng = np.random.default_rng([seed, 9])
        self._run = run
        self._T = run.T_world_base[0].copy()

    def write(self, bag: BagWriter, step: int) -> None:
        linear, angular = body_motion(self._run, step)
        speed = linear[0] * (1 + self._rng.normal(0, 0.01))
        rate = angular[2] + self._rng.normal(0, 0.003)
        if step > 0:
            move = pose(rotation_z(rate * STEP), (speed * STEP, linear[1] * STEP, 0.0))
            self._T = self._T @ move
            fix = self._run.T_world_base[step, :3, 3] + self._rng.normal(0, 0.5, 3) * [1, 1, 0]
            self._T[:3, 3] += 0.02 * (fix - self._T[:3, 3])
        bag.odometry(
            "/odometry",
            _stamp(step),
            "map",
            "base_link",
            self._T,
            (speed, linear[1], 0.0),
            (0.0, 0.0, rate),
        )

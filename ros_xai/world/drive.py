"""One drive through one town: traffic, scene and the ego's sensors, all from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.core.geometry import pose, rotation_z, yaw
from ros_xai.world import scene as scenes
from ros_xai.world.camera import Camera, Frame, develop, lighting, meter, moving_surface, render
from ros_xai.world.demand import TrafficConfig
from ros_xai.world.domains import Domain
from ros_xai.world.lidar import Lidar, Sweep, sweep
from ros_xai.world.network import NetworkConfig
from ros_xai.world.rays import Surface
from ros_xai.world.scene import Scene
from ros_xai.world.traffic import STEP, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_METERED = 10  # steps between two measurements of the exposure


@dataclass(frozen=True)
class Drive:
    """A scene and the ego's poses ``T_world_base`` [T, 4, 4] through it, 10 Hz."""

    seed: int
    scene: Scene
    T_world_base: NDArray[np.float64]

    @property
    def steps(self) -> int:
        return len(self.T_world_base)

    def surfaces(self, step: int) -> list[Surface]:
        return [self.scene.static, moving_surface(self.scene, step)]

    def frame(
        self, step: int, camera: Camera, domain: Domain, surfaces: list[Surface] | None = None
    ) -> Frame:
        """Radiance and ground truth of one step."""
        T = self.T_world_base[step] @ camera.T_base_camera
        light = lighting(self.scene, step, domain, T)
        return render(surfaces or self.surfaces(step), camera, T, light)

    def exposures(self, camera: Camera, domain: Domain, last: int | None = None) -> list[float]:
        """Exposure per step: metered once a second on a small image and interpolated."""
        last = self.steps - 1 if last is None else last
        scale = max(1, camera.width // 80)
        small = Camera(
            **{
                **vars(camera),
                "width": camera.width // scale,
                "height": max(camera.height // scale, 1),
            }
        )
        metered = sorted({*range(0, last, _METERED), last})
        values = []
        for step in metered:
            T = self.T_world_base[step] @ camera.T_base_camera
            light = lighting(self.scene, step, domain, T)
            image = render([self.scene.static], small, T, light, smooth=False).radiance
            values.append(np.log(meter(image, domain.response)))
        logs = np.interp(np.arange(last + 1), metered, _settled(np.array(values)))
        return [float(v) for v in np.exp(logs)]

    def image(self, frame: Frame, step: int, domain: Domain, exposure: float) -> NDArray[np.uint8]:
        """The developed image [H, W, 3] of a frame; its noise is seeded by drive and step."""
        rng = np.random.default_rng([self.seed, 5, step])
        return develop(frame.radiance, domain.response, exposure, rng, domain.rain)

    def sweep(self, step: int, lidar: Lidar, surfaces: list[Surface] | None = None) -> Sweep:
        rng = np.random.default_rng([self.seed, 6, step])
        T = self.T_world_base[step] @ lidar.T_base_lidar
        velocity = np.array([*self.velocity(step), 0.0])
        rate = self.yaw_rate(step)
        return sweep(surfaces or self.surfaces(step), lidar, T, rng, velocity, STEP, rate)

    def velocity(self, step: int) -> NDArray[np.float64]:
        """Ego velocity [2] in the map frame, m/s, from centred differences."""
        before, after = max(step - 1, 0), min(step + 1, self.steps - 1)
        moved = self.T_world_base[after, :2, 3] - self.T_world_base[before, :2, 3]
        return np.asarray(moved / (STEP * max(after - before, 1)), np.float64)

    def yaw_rate(self, step: int) -> float:
        """Ego yaw rate, rad/s, from centred differences."""
        before, after = max(step - 1, 0), min(step + 1, self.steps - 1)
        turned = yaw(self.T_world_base[after]) - yaw(self.T_world_base[before])
        return float(np.angle(np.exp(1j * turned))) / (STEP * max(after - before, 1))


def _settled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exposure follows the scene slowly: exponential average with a constant of two seconds."""
    settled = values.copy()
    for k in range(1, len(values)):
        settled[k] = settled[k - 1] + 0.4 * (values[k] - settled[k - 1])
    return settled


def drive(
    seed: int,
    seconds: float,
    network: str | NetworkConfig = "town",
    traffic: TrafficConfig | None = None,
) -> Drive:
    """A seeded drive of ``seconds`` (10 Hz, first and last step included).

    Raises:
        ValueError: unknown network or a duration that is not positive.
    """
    run = simulate(seed, seconds, network, traffic)
    return Drive(seed, scenes.build(seed, run), _ego_poses(seed, run.xy, run.yaw, run.speed))


cached_drive = lru_cache(maxsize=1)(drive)


def _ego_poses(
    seed: int,
    xy: NDArray[np.float32],
    yaw: NDArray[np.float32],
    speed: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Poses of the ego's body: SUMO's track, with the suspension's nod under braking."""
    rng = np.random.default_rng([seed, 7])
    steps = len(xy)
    pace = speed[:, 0].astype(np.float64)
    acceleration = np.gradient(pace, STEP) if steps > 1 else np.zeros(1)
    kernel = np.ones(7) / 7
    nod = np.convolve(np.pad(acceleration, 3, mode="edge"), kernel, mode="valid")
    bumps = np.convolve(rng.normal(0, 1, steps + 6), kernel, mode="valid") * np.minimum(pace / 8, 1)
    pitch = np.deg2rad(-0.30 * np.clip(nod, -4, 4) + 0.25 * bumps)
    poses = []
    for k in range(steps):
        c, s = np.cos(pitch[k]), np.sin(pitch[k])
        tilt = np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])
        x, y = xy[k, 0].astype(np.float64)
        poses.append(pose(rotation_z(float(yaw[k, 0])) @ tilt, (x, y, 0.008 * bumps[k])))
    return np.stack(poses)

"""A spinning LiDAR on the same ray caster as the camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.core.geometry import pose
from ros_xai.world.light import gather
from ros_xai.world.mesh import Material
from ros_xai.world.rays import Surface, cast

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def hdl64(beams: int = 64) -> tuple[float, ...]:
    """Elevations in degrees of an HDL-64-like fan, +2 to -24.8, top beam first."""
    return tuple(float(e) for e in np.linspace(2.0, -24.8, beams))


@dataclass(frozen=True)
class Lidar:
    """Angles in degrees, lengths in metres. The ring of a point is the index of its elevation."""

    elevations: tuple[float, ...] = hdl64()
    azimuth_step: float = 0.25
    field_of_view: float = 360.0  # centred on the x axis
    noise: float = 0.02
    drop_out: float = 0.03
    max_range: float = 110.0
    mount_z: float = 1.73
    motion_distortion: bool = False

    @property
    def T_base_lidar(self) -> NDArray[np.float64]:
        return pose(np.eye(3), (0.0, 0.0, self.mount_z))

    def directions(self) -> Floats:
        """Unit directions [azimuths, beams, 3] in the order of firing."""
        half = self.field_of_view / 2
        azimuth = np.deg2rad(np.arange(half, -half, -self.azimuth_step))[:, None]
        elevation = np.deg2rad(np.array(self.elevations))[None]
        flat = np.cos(elevation)
        vectors = [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) + 0 * azimuth]
        return np.stack(vectors, axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Sweep:
    """Points [M, 3] in the LiDAR frame, their ring, intensity in [0, 1], time in the sweep in s."""

    xyz: Floats
    ring: NDArray[np.uint8]
    intensity: Floats
    time: Floats


def sweep(
    surfaces: list[Surface],
    lidar: Lidar,
    T_world_lidar: NDArray[np.float64],
    rng: Generator,
    velocity: NDArray[np.floating] | None = None,
    duration: float = 0.1,
    yaw_rate: float = 0.0,
) -> Sweep:
    """One revolution.

    With ``motion_distortion`` and the sensor's ``velocity`` [3] (m/s, map frame), each azimuth is
    fired from where the sensor is by then and as it is turned (``yaw_rate``, rad/s about the map's
    z axis; the sweep ends at ``T_world_lidar``), and its points are given in the frame of the
    firing, as a raw sensor does.
    """
    local = lidar.directions()
    azimuths, beams = local.shape[:2]
    R = T_world_lidar[:3, :3].astype(np.float32)
    directions = np.ascontiguousarray(local.reshape(-1, 3) @ R.T)
    late = np.repeat((np.arange(azimuths) + 1 - azimuths) / azimuths * duration, beams)
    origins = np.repeat(T_world_lidar[None, :3, 3], azimuths * beams, axis=0)
    if lidar.motion_distortion and velocity is not None:
        origins = origins + late[:, None] * np.asarray(velocity, np.float64)
        x, y, z = directions.T
        c, s = np.cos(late * yaw_rate), np.sin(late * yaw_rate)
        directions = np.stack([c * x - s * y, s * x + c * y, z], axis=1).astype(np.float32)
    hits = cast(surfaces, np.ascontiguousarray(origins, np.float32), directions)
    hit = np.flatnonzero((hits.face >= 0) & (hits.distance < lidar.max_range))
    face = hits.face[hit]
    cosine = np.abs(np.einsum("nk,nk->n", hits.normal[hit], directions[hit]))
    colour = np.asarray(gather(surfaces, face, "colour"), np.float32)
    reflectance = np.clip(colour.mean(axis=1) * (0.3 + 0.7 * cosine) * 1.6, 0.0, 1.0)
    # beams pass through glass or are mirrored away by it
    lost = np.where(gather(surfaces, face, "material") == Material.GLASS, 0.85, lidar.drop_out)
    kept = rng.random(len(hit)) >= lost
    hit, reflectance = hit[kept], reflectance[kept]
    distance = hits.distance[hit] + rng.normal(0, lidar.noise, len(hit)).astype(np.float32)
    return Sweep(
        local.reshape(-1, 3)[hit] * distance[:, None],
        (hit % beams).astype(np.uint8),
        reflectance.astype(np.float32),
        (late[hit] + duration).astype(np.float32),
    )

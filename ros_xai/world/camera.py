"""The camera: image and exact ground truth of one moment of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.core.camera import pixel_rays
from ros_xai.core.geometry import pose
from ros_xai.world.domains import Domain, Response
from ros_xai.world.light import Lighting, Rays, contact, gather, radiance
from ros_xai.world.rays import Hits, Surface, cast
from ros_xai.world.scene import Scene
from ros_xai.world.traffic import footprints

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# optical axes (right, down, forward) in a body frame of x forward, y left, z up
R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
_ORIGIN = np.zeros(3)
_CONVERGED = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-6)  # pixels
_SUBPIXELS = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))


@dataclass(frozen=True)
class Camera:
    """Pinhole camera. Mounting in metres and degrees; ``focal`` over the image width.

    distortion: OpenCV's k1, k2, p1, p2; the image and its ground truth are then both distorted.
    `rays` raises ValueError for numbers that fold the image, which no lens does.
    """

    width: int = 640
    height: int = 192
    focal: float = 0.58
    mount_x: float = 0.27
    mount_z: float = 1.65
    pitch: float = 0.0  # downwards
    horizon: float = 0.48  # row of the principal point over the height
    distortion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        f = self.focal * self.width
        u, v = (self.width - 1) / 2, self.horizon * self.height - 0.5
        return np.array([[f, 0, u], [0, f, v], [0, 0, 1.0]])

    @property
    def T_base_camera(self) -> NDArray[np.float64]:
        down = np.deg2rad(self.pitch)
        c, s = np.cos(down), np.sin(down)
        tilt = np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])
        return pose(tilt @ R_BODY_OPTICAL, (self.mount_x, 0.0, self.mount_z))

    def rays(self, shift: tuple[float, float] = (0.0, 0.0)) -> Floats:
        """Directions [H, W, 3] with z = 1 through pixels moved by a subpixel shift."""
        K = self.intrinsics.copy()
        K[:2, 2] -= shift
        if not any(self.distortion):
            return pixel_rays(K, self.height, self.width).astype(np.float32)
        return self._through_lens(K).astype(np.float32)

    def _through_lens(self, K: NDArray[np.float64]) -> NDArray[np.float64]:
        """Directions [H, W, 3] with z = 1 that the lens brings to the pixels."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2).astype(np.float64)
        lens = np.array(self.distortion)
        # cv2.undistortPoints stops after five iterations, pixels away from the answer
        plane = cv2.undistortPointsIter(pixels, K, lens, None, None, _CONVERGED)
        rays = np.dstack([plane.reshape(self.height, self.width, 2), np.ones(u.shape)])
        again, _ = cv2.projectPoints(rays.reshape(-1, 1, 3), _ORIGIN, _ORIGIN, K, lens)
        ordered = all((np.diff(rays[..., k], axis=1 - k) > 0).all() for k in (0, 1))
        if not (ordered and np.abs(again - pixels).max() < 1e-3):  # NaN is refused, too
            raise ValueError(
                f"distortion {self.distortion}: expected a lens under which every pixel of the "
                "image has one ray; take smaller numbers or a longer focal length"
            )
        return rays


CAMERAS: dict[str, Camera] = {
    "a": Camera(),
    "b": Camera(focal=0.82, mount_z=1.30, pitch=2.0, horizon=0.5),
}


@dataclass(frozen=True)
class Frame:
    """radiance [H, W, 3] linear; depth [H, W] m along the axis, 0 = sky; label, instance."""

    radiance: Floats
    depth: Floats
    label: NDArray[np.uint8]
    instance: NDArray[np.uint16]


def moving_surface(scene: Scene, step: int) -> Surface:
    """All moving agents of a step, ready for rays; agents beyond 130 m are left out."""
    return Surface(scene.movers(step, scene.traffic.xy[step, 0]))


def lighting(
    scene: Scene, step: int, domain: Domain, T_world_camera: NDArray[np.float64]
) -> Lighting:
    here = T_world_camera[:2, 3]
    far = np.linalg.norm(scene.street_lamps[:, :2] - here, axis=1)
    nearest = np.argsort(far, kind="stable")[:16]
    return Lighting(
        domain,
        scene.lamp_powers(step, domain.dark),
        scene.street_lamps[nearest],
        contact(_outlines(scene, step), here),
        T_world_camera.astype(np.float32),
    )


def _outlines(scene: Scene, step: int) -> NDArray[np.float64]:
    """Footprints [A, 4, 2] of the agents present at a step, without the ego."""
    present = np.flatnonzero(~np.isnan(scene.traffic.xy[step, :, 0]))
    return footprints(scene.traffic, step, present[present != 0])


def render(
    surfaces: list[Surface],
    camera: Camera,
    T_world_camera: NDArray[np.float64],
    light: Lighting,
    smooth: bool = True,
) -> Frame:
    """One frame. Ground truth is that of the pixels' centre rays; the image has smooth edges."""
    height, width = camera.height, camera.width
    rays = _world_rays(camera, T_world_camera)
    hits = cast(surfaces, rays.origins, rays.directions)
    image = radiance(surfaces, rays, hits, light)
    hit = hits.face >= 0
    depth = np.where(hit, hits.distance, 0).astype(np.float32)
    label, instance = np.zeros(len(hit), np.uint8), np.zeros(len(hit), np.uint16)
    label[hit] = gather(surfaces, hits.face[hit], "label")
    instance[hit] = gather(surfaces, hits.face[hit], "instance")
    if smooth:
        edges = np.flatnonzero(_edges(surfaces, hits, height, width) | _steps(image, height, width))
        parts = [_world_rays(camera, T_world_camera, shift, edges) for shift in _SUBPIXELS]
        sub = Rays(
            np.concatenate([p.origins for p in parts]),
            np.concatenate([p.directions for p in parts]),
            rays.per_pixel,
        )
        finer = radiance(surfaces, sub, cast(surfaces, sub.origins, sub.directions), light)
        total = image[edges]
        for part in finer.reshape(len(parts), len(edges), 3):
            total = total + part
        image[edges] = total / (len(parts) + 1)
    shape = (height, width)
    return Frame(
        image.reshape(*shape, 3),
        depth.reshape(shape),
        label.reshape(shape),
        instance.reshape(shape),
    )


def _world_rays(
    camera: Camera,
    T_world_camera: NDArray[np.float64],
    shift: tuple[float, float] = (0.0, 0.0),
    chosen: NDArray[np.intp] | None = None,
) -> Rays:
    R = T_world_camera[:3, :3].astype(np.float32)
    directions = camera.rays(shift).reshape(-1, 3)
    if chosen is not None:
        directions = directions[chosen]
    directions = np.ascontiguousarray(directions @ R.T)
    start = T_world_camera[:3, 3].astype(np.float32)
    origins = np.ascontiguousarray(np.broadcast_to(start, directions.shape))
    per_pixel = (R[:, :2] / np.float32(camera.focal * camera.width)).T
    return Rays(origins, directions, np.ascontiguousarray(per_pixel))


def _edges(surfaces: list[Surface], hits: Hits, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour shows another surface: they need more rays."""
    hit = hits.face >= 0
    key = np.full(len(hit), -1, np.int64)
    face = hits.face[hit]
    key[hit] = gather(surfaces, face, "material").astype(np.int64) * 2**33
    key[hit] += gather(surfaces, face, "instance").astype(np.int64) * 2**9
    key[hit] += gather(surfaces, face, "label")
    key = key.reshape(height, width)
    inverse = np.where(hit, 1 / np.maximum(hits.distance, 1e-6), 0).reshape(height, width)
    normal = hits.normal.reshape(height, width, 3)
    edge = np.zeros((height, width), bool)
    for axis in (0, 1):
        a = [slice(None)] * 2
        b = [slice(None)] * 2
        a[axis], b[axis] = slice(None, -1), slice(1, None)
        first, second = tuple(a), tuple(b)
        bend = np.einsum("hwk,hwk->hw", normal[first], normal[second]) < 0.9
        # between neighbours on one plane the inverse depth changes by a bounded share
        step = np.abs(inverse[first] - inverse[second]) > 0.15 * np.maximum(
            inverse[first], inverse[second]
        )
        differs = (key[first] != key[second]) | (bend & (key[first] >= 0)) | step
        edge[first] |= differs
        edge[second] |= differs
    return edge.reshape(-1)


def _steps(image: Floats, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels beside a jump of the luminance by more than 1.5 times: borders of shadows."""
    log = np.log(image.sum(axis=1) + 1e-3).reshape(height, width)
    edge = np.zeros((height, width), bool)
    across, down = np.abs(np.diff(log, axis=1)) > 0.4, np.abs(np.diff(log, axis=0)) > 0.4
    edge[:, :-1] |= across
    edge[:, 1:] |= across
    edge[:-1] |= down
    edge[1:] |= down
    return edge.reshape(-1)


def meter(image: Floats, response: Response) -> float:
    """Exposure that brings the logarithmic mean of the luminance to the response's key."""
    luminance = image @ np.float32([0.2126, 0.7152, 0.0722])
    return float(response.key / np.exp(np.log(np.maximum(luminance, 1e-4)).mean()))


def develop(
    image: Floats, response: Response, exposure: float, rng: Generator, rain: float = 0.0
) -> NDArray[np.uint8]:
    """Linear radiance [H, W, 3] to uint8 rgb through optics, sensor and tone curve."""
    height, width = image.shape[:2]
    x = image * np.float32(exposure) * np.float32(response.white_balance)
    if rain > 0:
        x += _streaks(rng, height, width, rain)[..., None] * np.float32(0.25)
    if response.bloom > 0:
        halo = cv2.GaussianBlur(np.clip(x - 1, 0, 6), (0, 0), width / 90)
        x += np.float32(response.bloom * 8) * halo
    if response.blur > 0:
        x = cv2.GaussianBlur(x, (0, 0), response.blur * width / 640 + 0.05)
    v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    x *= (1 - response.vignetting * (u**2 + 0.4 * v**2) / 1.4)[..., None].astype(np.float32)
    grey = x @ np.float32([0.2126, 0.7152, 0.0722])
    x = grey[..., None] + (x - grey[..., None]) * np.float32(response.saturation)
    x = np.maximum(x, 0)
    x += (
        rng.normal(0, 1, x.shape).astype(np.float32)
        * np.sqrt(0.02 + x)
        * np.float32(response.noise)
    )
    x = np.clip(_filmic(np.maximum(x, 0)), 0, 1) ** np.float32(1 / response.gamma)
    return np.asarray(np.round(x * 255), np.uint8)


def _filmic(x: Floats) -> Floats:
    """Narkowicz's fit of the ACES tone curve: a toe in the shadows, a shoulder in the lights."""
    result: Floats = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return result


def _streaks(rng: Generator, height: int, width: int, share: float) -> Floats:
    """Falling drops as short, slightly slanted lines."""
    canvas = np.zeros((height, width), np.float32)
    length = height / 12
    count = round(share * height * width / length)
    start = rng.uniform((0, 0), (width, height), (count, 2))
    fall = rng.uniform(0.4, 1.3, (count, 1)) * length * np.array([[-0.12, 1.0]])
    ends = np.round(np.stack([start, start + fall], axis=1) * 8).astype(np.int32)
    for (a, b), strength in zip(ends, rng.uniform(0.2, 0.7, count), strict=True):
        cv2.line(canvas, a.tolist(), b.tolist(), float(strength), 1, cv2.LINE_AA, 3)
    return canvas

"""A contact sheet: one moment in every domain, with its ground truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.core.geometry import invert, rotation_z, transform, yaw
from ros_xai.core.pointcloud import sparse_depth
from ros_xai.world.camera import Camera, meter
from ros_xai.world.domains import DOMAINS
from ros_xai.world.drive import Drive
from ros_xai.world.lidar import Lidar
from ros_xai.world.mesh import CLASSES
from ros_xai.world.raster import rasterise
from ros_xai.world.rays import Surface
from ros_xai.world.traffic import footprints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

# rgb of the classes, in the hues that CamVid's users know
PALETTE = np.array(
    [
        [128, 128, 128],
        [128, 0, 0],
        [192, 192, 128],
        [128, 64, 128],
        [60, 40, 222],
        [128, 128, 0],
        [192, 128, 128],
        [64, 64, 128],
        [64, 0, 128],
        [64, 64, 0],
        [0, 128, 192],
    ],
    np.uint8,
)
assert len(PALETTE) == len(CLASSES)


def contact_sheet(run: Drive, step: int, camera: Camera, columns: int = 3) -> Image:
    """Panels rgb of a step: every domain without sensor noise, then the ground truths."""
    surfaces = run.surfaces(step)
    panels, frame = {}, None
    for name, look in DOMAINS.items():
        quiet = replace(look, response=replace(look.response, noise=0.0))
        frame = run.frame(step, camera, look, surfaces)
        panels[name] = run.image(frame, step, quiet, meter(frame.radiance, look.response))
    assert frame is not None
    hues = np.random.default_rng(1).integers(60, 255, (len(run.scene.models), 3)).astype(np.uint8)
    hues[0] = 20
    panels |= {
        "depth": near_is_warm(frame.depth),
        "LiDAR": _sweep(run, step, camera, surfaces),
        "classes": PALETTE[frame.label],
        "instances": hues[frame.instance],
        "map and tracks": _map(run, step, camera),
    }
    titled = [_titled(image, name) for name, image in panels.items()]
    blank = np.zeros_like(titled[0])
    titled += [blank] * (-len(titled) % columns)
    rows = [np.hstack(titled[k : k + columns]) for k in range(0, len(titled), columns)]
    return np.vstack(rows)


def near_is_warm(depth: NDArray[np.floating]) -> Image:
    """Colours [..., 3] of depths in metres by their inverse; 0 is black."""
    inverse = np.clip(4.0 / np.maximum(depth, 1e-3), 0, 1)
    codes = (inverse * 255).astype(np.uint8).reshape(-1, 1)
    colours = cv2.applyColorMap(codes, cv2.COLORMAP_TURBO)[:, 0, ::-1]
    shape = (*depth.shape, 3)
    return np.ascontiguousarray(colours.reshape(shape) * (depth > 0)[..., None])


def _sweep(run: Drive, step: int, camera: Camera, surfaces: list[Surface]) -> Image:
    """The LiDAR's returns in the camera."""
    lidar = Lidar()
    xyz = run.sweep(step, lidar, surfaces).xyz.astype(np.float64)
    points = transform(invert(camera.T_base_camera) @ lidar.T_base_lidar, xyz)
    depth = sparse_depth(points, camera.intrinsics, camera.height, camera.width)
    return near_is_warm(depth)


def _map(run: Drive, step: int, camera: Camera, reach: float = 35.0) -> Image:
    """The vector map from above, the ego in the middle heading right, agents as boxes."""
    cell = 2 * reach / camera.height
    T = run.T_world_base[step].copy()
    T[:3, :3] = rotation_z(yaw(T))
    half = np.array([camera.width, camera.height]) * cell / 2
    T[:2, 3] -= T[:2, :2] @ half
    layers = rasterise(run.scene.traffic.road_map, T, camera.height, camera.width, cell)
    image = np.full((camera.height, camera.width, 3), 235, np.uint8)
    for name, colour in (("drivable", 150), ("crossings", 200), ("lane_dividers", 250)):
        image[layers[name] > 0] = colour
    traffic = run.scene.traffic
    agents = np.flatnonzero(~np.isnan(traffic.xy[step, :, 0]))
    local = (footprints(traffic, step, agents) - T[:2, 3]) @ T[:2, :2] / cell
    for agent, outline in zip(agents, np.round(local).astype(np.int32)):
        colour = (220, 60, 20) if agent == 0 else (30, 90, 200)
        cv2.fillPoly(image, [outline], colour)
    return np.ascontiguousarray(image[::-1])  # left is up


def _titled(image: Image, title: str) -> Image:
    image = np.ascontiguousarray(image)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            image, title, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA
        )
    return image

"""Invariants of the world, measured on a drive: what its ground truth promises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.core.camera import back_project, project
from ros_xai.core.geometry import invert, transform
from ros_xai.world.bag import future, markers
from ros_xai.world.camera import Camera, Frame
from ros_xai.world.domains import Domain
from ros_xai.world.drive import Drive
from ros_xai.world.lidar import Lidar
from ros_xai.world.mesh import BICYCLIST, CAR, PEDESTRIAN, TREE
from ros_xai.world.rays import Surface, cast
from ros_xai.world.road_map import RoadMap, arc_length
from ros_xai.world.traffic import LIGHT_STATES, STEP, Traffic, footprints

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS = {"car": CAR, "truck": CAR, "bus": CAR, "bicycle": BICYCLIST, "pedestrian": PEDESTRIAN}


@dataclass(frozen=True)
class Invariant:
    """A measured value and the bound it must not exceed."""

    name: str
    value: float
    bound: float

    @property
    def holds(self) -> bool:
        return bool(self.value <= self.bound)


def check(run: Drive, camera: Camera, domain: Domain, pairs: int = 6) -> list[Invariant]:
    """All invariants of a drive; images are compared at ``pairs`` moments at which the ego moves.

    They are compared without rain streaks and the mirror of wet roads, which no surface carries.

    Raises:
        ValueError: the ego stands still all the time.
    """
    domain = replace(domain, rain=0.0, wet=0.0)
    gap = 3
    moved = np.linalg.norm(run.T_world_base[gap:, :2, 3] - run.T_world_base[:-gap, :2, 3], axis=1)
    moving = np.flatnonzero(moved > 0.5)
    if len(moving) == 0:
        raise ValueError("the ego stands still on this drive: take another seed or more seconds")
    steps = moving[np.linspace(0, len(moving) - 1, pairs).astype(int)].tolist()
    found = _track_invariants(run)
    exposures = run.exposures(camera, domain)
    rows = []
    for step in steps:
        frames = [run.frame(s, camera, domain) for s in (step, step + gap)]
        images = [run.image(f, s, domain, exposures[s]) for f, s in zip(frames, (step, step + gap))]
        warped, still = photometric_error(run, camera, step, step + gap, frames, images)
        range_error, far_share = lidar_error(run, camera, step, frames[0])
        rows.append(
            (
                warped,
                warped / max(still, 1e-6),
                range_error,
                far_share,
                label_disagreement(run, frames[0]),
                outside_boxes(run, camera, step, frames[0]),
            )
        )
    worst, mean = np.nanmax(rows, axis=0), np.nanmean(rows, axis=0)
    return [
        *found,
        Invariant("mean photometric error after reprojection, of 1", float(mean[0]), 0.035),
        Invariant("the same over the error without reprojection", float(mean[1]), 0.5),
        Invariant("median |LiDAR - depth image|, m", float(worst[2]), 0.03),
        Invariant("share of LiDAR returns off by more than 5 deviations", float(worst[3]), 0.02),
        Invariant("share of pixels whose label and instance disagree", float(worst[4]), 0.0),
        Invariant("share of instance pixels outside the track's box", float(worst[5]), 0.02),
    ]


def photometric_error(
    run: Drive,
    camera: Camera,
    target: int,
    source: int,
    frames: list[Frame],
    images: list[NDArray[np.uint8]],
) -> tuple[float, float]:
    """Mean absolute difference (of 1) between the target and the source warped into it.

    Static, textured-by-geometry pixels only: movers are left out, and so is what the source does
    not see (its depth there differs by more than 3 %). Second: the same pixels, not warped.
    """
    T_world = run.T_world_base @ camera.T_base_camera
    points = back_project(frames[0].depth, camera.intrinsics)
    moved = transform(invert(T_world[source]) @ T_world[target], points.reshape(-1, 3))
    uv = project(np.where(moved[:, 2:] > 0.1, moved, 1.0), camera.intrinsics).astype(np.float32)
    uv = uv.reshape(*frames[0].depth.shape, 2)
    z = moved[:, 2].reshape(frames[0].depth.shape)
    seen = cv2.remap(frames[1].depth, uv[..., 0], uv[..., 1], cv2.INTER_NEAREST)
    image = cv2.remap(images[1], uv[..., 0], uv[..., 1], cv2.INTER_LINEAR)
    static = (frames[0].instance == 0) & (frames[0].depth > 0)
    valid = static & (z > 0.1) & (np.abs(seen - z) < 0.03 * z)
    difference = np.abs(image.astype(float) - images[0])[valid].mean() / 255
    still = np.abs(images[1].astype(float) - images[0])[valid].mean() / 255
    return float(difference), float(still)


def lidar_error(run: Drive, camera: Camera, step: int, frame: Frame) -> tuple[float, float]:
    """Median |difference| in m of LiDAR returns and the depth image, and the share of outliers.

    Compared where the four pixels around a return lie on one surface that faces the camera. Left
    out are leaves, smaller than a pixel, and returns that something nearer hides from the camera.
    """
    lidar, surfaces = Lidar(), run.surfaces(step)
    T_camera_lidar = invert(camera.T_base_camera) @ lidar.T_base_lidar
    points = transform(T_camera_lidar, run.sweep(step, lidar, surfaces).xyz.astype(np.float64))
    uv = project(np.where(points[:, 2:] > 0.5, points, 1.0), camera.intrinsics)
    height, width = frame.depth.shape
    inside = (points[:, 2] > 0.5) & (uv >= 0).all(axis=1)
    inside &= (uv[:, 0] < width - 1) & (uv[:, 1] < height - 1)
    T_world_camera = run.T_world_base[step] @ camera.T_base_camera
    inside[inside] = _visible(surfaces, T_world_camera, points[inside])
    uv, z = uv[inside], points[inside, 2]
    u, v = np.floor(uv).astype(int).T
    corners = np.stack([frame.depth[v + j, u + i] for j in (0, 1) for i in (0, 1)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    smooth = (low > 0) & (high < 1.02 * low) & (z < 60) & (frame.label[v, u] != TREE)
    a, b = (uv - np.floor(uv))[smooth].T
    inverse = 1 / corners[:, smooth]  # inverse depth is linear over a plane
    top, bottom = inverse[0] * (1 - a) + inverse[1] * a, inverse[2] * (1 - a) + inverse[3] * a
    error = np.abs(z[smooth] - 1 / (top * (1 - b) + bottom * b))
    return float(np.median(error)), float((error > 5 * lidar.noise).mean())


def _visible(
    surfaces: list[Surface], T_world_camera: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which points [N, 3] of the camera frame nothing hides from the camera."""
    rays = np.ascontiguousarray(points @ T_world_camera[:3, :3].T, np.float32)
    origins = np.repeat(T_world_camera[None, :3, 3].astype(np.float32), len(rays), axis=0)
    # distances count in lengths of the ray, which reaches to the point
    return cast(surfaces, origins, rays).distance > 0.98


def label_disagreement(run: Drive, frame: Frame) -> float:
    """Share of pixels where a mover's class is not its instance's, or stands without one."""
    classes = np.array([0, *(_LABELS[c] for c in run.scene.traffic.category[1:])])
    mover = np.isin(frame.label, list(set(_LABELS.values())))
    expected = classes[frame.instance]
    wrong = np.where(frame.instance > 0, frame.label != expected, mover)
    return float(wrong.mean())


def outside_boxes(
    run: Drive, camera: Camera, step: int, frame: Frame, margin: float = 0.3
) -> float:
    """Share of the instances' pixels whose point lies outside the track's box (plus margin, m)."""
    T_world = run.T_world_base[step] @ camera.T_base_camera
    world = transform(T_world, back_project(frame.depth, camera.intrinsics))
    outside = total = 0
    for box in markers(run, step):
        points = world[frame.instance == box.id]
        local = np.abs(transform(invert(box.T), points))
        outside += int((local > np.array(box.size) / 2 + margin).any(axis=1).sum())
        total += len(points)
    return outside / max(total, 1)


def _track_invariants(run: Drive) -> list[Invariant]:
    traffic = run.scene.traffic
    return [
        Invariant("largest change of a vehicle's velocity in a step, m/s", jerk(traffic), 2.0),
        Invariant("largest step of a walker, m", longest_step(traffic, ["pedestrian"]), 0.35),
        Invariant("share of vehicles that overlap another", overlaps(traffic), 0.005),
        Invariant("largest share of a vehicle off the drivable area", off_road(traffic), 0.02),
        Invariant("vehicles that cross a red light", float(red_light_runs(traffic)), 0.0),
        Invariant("largest |future - later position|, m", future_error(run), 1e-4),
    ]


def jerk(traffic: Traffic) -> float:
    """Largest change of a vehicle's velocity from one step to the next, m/s: nobody teleports."""
    vehicle = np.isin(traffic.category, ["car", "truck", "bus", "bicycle"])
    velocity = np.diff(traffic.xy[:, vehicle].astype(np.float64), axis=0) / STEP
    return float(np.nanmax(np.linalg.norm(np.diff(velocity, axis=0), axis=2)))


def longest_step(traffic: Traffic, categories: list[str]) -> float:
    """Longest way in one step of agents of some categories, m."""
    xy = traffic.xy[:, np.isin(traffic.category, categories)].astype(np.float64)
    steps = np.linalg.norm(np.diff(xy, axis=0), axis=2)
    return float(np.nanmax(steps)) if steps.size else 0.0


def overlaps(traffic: Traffic, every: int = 10) -> float:
    """Share of vehicles (over times) whose footprint overlaps that of another."""
    import shapely

    vehicle = np.isin(traffic.category, ["car", "truck", "bus"])
    touched = total = 0
    for step in range(0, len(traffic.time), every):
        present = np.flatnonzero(vehicle & ~np.isnan(traffic.xy[step, :, 0]))
        bodies = shapely.polygons(footprints(traffic, step, present))
        first, second = shapely.STRtree(bodies).query(bodies, predicate="intersects")
        pairs = first != second
        shared = shapely.area(shapely.intersection(bodies[first[pairs]], bodies[second[pairs]]))
        touched += len(np.unique(first[pairs][shared > 0.05]))
        total += len(present)
    return touched / max(total, 1)


def off_road(traffic: Traffic, every: int = 5) -> float:
    """Largest share of a vehicle's footprint off the drivable area, over vehicles and times."""
    import shapely

    area = drivable_area(traffic.road_map)
    vehicle = np.isin(traffic.category, ["car", "truck", "bus"])
    worst = 0.0
    for step in range(0, len(traffic.time), every):
        present = vehicle & ~np.isnan(traffic.xy[step, :, 0])
        if step > 0:
            present &= ~traffic.parked
        bodies = shapely.polygons(footprints(traffic, step, np.flatnonzero(present)))
        outside = bodies[~shapely.covers(area, bodies)]
        if len(outside):
            share = shapely.area(shapely.difference(outside, area)) / shapely.area(outside)
            worst = max(worst, float(share.max()))
    return worst


def drivable_area(road_map: RoadMap):  # type: ignore[no-untyped-def]
    """The drivable polygons as one prepared shapely geometry."""
    import shapely

    area = shapely.union_all(
        [shapely.make_valid(shapely.Polygon(outline)) for outline in road_map.drivable()]
    ).buffer(0.05)
    shapely.prepare(area)
    return area


def red_light_runs(traffic: Traffic) -> int:
    """How many vehicles pass a stop line by 0.5 m while its light has been red for a second."""
    red = [LIGHT_STATES.index("r"), LIGHT_STATES.index("u")]
    moving = ~traffic.parked & np.isin(traffic.category, ["car", "truck", "bus"])
    yaw = traffic.yaw[:, moving]
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1) * traffic.size[moving, 0, None] / 2
    front = traffic.xy[:, moving] + ahead  # [T, A, 2]
    count = 0
    for k, signal in enumerate(traffic.road_map.signals):
        shape = traffic.road_map.lanes[signal.lane].shape
        width = traffic.road_map.lanes[signal.lane].width
        if arc_length(shape)[-1] < 5:
            continue
        tangent = (shape[-1] - shape[-2]) / np.linalg.norm(shape[-1] - shape[-2])
        local = front - shape[-1]
        s = local @ tangent
        t = local @ np.array([-tangent[1], tangent[0]])
        passed = (s[:-1] < 0.5) & (s[1:] >= 0.5) & (np.abs(t[1:]) < width / 2)
        heading = np.cos(yaw[1:] - np.arctan2(tangent[1], tangent[0])) > 0.7
        closed = np.isin(traffic.lights[:, k], red)
        long = np.convolve(closed, np.ones(10), mode="full")[: len(closed)] == 10
        count += int((passed & heading & (long[:-1] & closed[1:])[:, None]).sum())
    return count


def future_error(run: Drive) -> float:
    """Largest distance between the published futures and the tracks' boxes when the time comes."""
    worst = 0.0
    for step in range(0, run.steps - 1, 10):
        promised = future(run, step)
        for ahead in (10, 30, 60):
            if step + ahead >= run.steps:
                continue
            later = {box.id: box.T[:2, 3] for box in markers(run, step + ahead)}
            at = np.isclose(promised["t"], ahead * STEP)
            for track, xyz in zip(promised["track_id"][at], promised["xyz"][at]):
                if int(track) in later:
                    worst = max(worst, float(np.linalg.norm(later[int(track)] - xyz[:2])))
    return worst

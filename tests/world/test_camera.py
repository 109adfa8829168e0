"""The camera: exact depth, labels, distortion, domains that share geometry, development."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ros_xai.core.camera import project
from ros_xai.core.geometry import invert, pose, rotation_z, transform
from ros_xai.world.bag import BagConfig
from ros_xai.world.camera import CAMERAS, Camera, develop, meter, render
from ros_xai.world.domains import DOMAINS, Domain, Response
from ros_xai.world.drive import Drive
from ros_xai.world.light import Lighting, contact
from ros_xai.world.mesh import BUILDING, CAR, ROAD, Material, concat
from ros_xai.world.rays import Surface
from ros_xai.world.shapes import box, panel

GREY = (0.4, 0.4, 0.4)


def plain_light() -> Lighting:
    nothing = np.zeros((0, 4, 2))
    return Lighting(
        Domain(),
        np.zeros(1, np.float32),
        np.zeros((0, 3), np.float32),
        contact(nothing, np.zeros(2)),
        np.eye(4, dtype=np.float32),
    )


def scene() -> Surface:
    ground = panel((-50, -50, 0), (150, 0, 0), (0, 100, 0), Material.PLAIN, GREY, ROAD)
    wall = panel((40, -50, 0), (0, 100, 0), (0, 0, 2.5), Material.PLAIN, GREY, BUILDING)
    car = box((4, 2, 1.5), (14, 1, 0.75), Material.PLAIN, GREY, CAR).with_instance(7)
    return Surface(concat([ground, wall, car]))


def test_depth_is_the_distance_along_the_optical_axis() -> None:
    camera = Camera(width=160, height=96)
    frame = render([scene()], camera, camera.T_base_camera, plain_light())
    v, u = np.meshgrid(np.arange(96), np.arange(160), indexing="ij")
    K = camera.intrinsics
    wall = frame.label == BUILDING
    assert np.allclose(frame.depth[wall], 40.0 - camera.mount_x, rtol=1e-5)
    ground = frame.label == ROAD
    below = (v - K[1, 2]) / K[1, 1]
    assert np.allclose(frame.depth[ground], camera.mount_z / below[ground], rtol=1e-3)
    assert np.all((frame.depth == 0) == (frame.label == 0))
    car = frame.instance == 7
    assert car.any() and np.array_equal(car, frame.label == CAR)
    # the rear face is at x = 12; its outline is where pinhole geometry puts it
    near = car & (np.abs(frame.depth - (12.0 - camera.mount_x)) < 1e-3)
    corners = np.array([[12.0, 2.0, 1.5], [12.0, 0.0, 0.0]])
    uv = project(transform(invert(camera.T_base_camera), corners), K)
    assert u[near].min() == pytest.approx(uv[0, 0], abs=1)
    assert v[near].min() == pytest.approx(uv[0, 1], abs=1)
    assert u[near].max() == pytest.approx(uv[1, 0], abs=1)


def test_pitch_looks_down() -> None:
    level, down = Camera(), Camera(pitch=10.0)
    forward = down.T_base_camera[:3, 2]
    assert np.allclose(forward, [np.cos(np.deg2rad(10)), 0, -np.sin(np.deg2rad(10))])
    assert np.allclose(level.T_base_camera[:3, 2], [1, 0, 0])


@pytest.mark.parametrize("lens", [(-0.2, 0.05, 0.001, -0.002), (-0.35, 0.15, 0, 0)])
def test_distortion_is_that_of_opencv(lens: tuple[float, float, float, float]) -> None:
    camera = Camera(width=320, height=240, distortion=lens)
    rays = camera.rays().reshape(-1, 1, 3).astype(np.float64)
    pixels, _ = cv2.projectPoints(
        rays, np.zeros(3), np.zeros(3), camera.intrinsics, np.array(camera.distortion)
    )
    u, v = np.meshgrid(np.arange(320), np.arange(240))
    assert np.allclose(pixels.reshape(-1, 2), np.stack([u, v], -1).reshape(-1, 2), atol=1e-3)


@pytest.mark.parametrize("lens", [(-0.3, 0, 0, 0), (-2, 0, 0, 0), (float("nan"), 0, 0, 0)])
def test_a_lens_that_folds_the_image_is_refused(lens: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="one ray"):
        BagConfig(camera=Camera(distortion=lens))


def test_edges_are_smoothed_and_ground_truth_is_not() -> None:
    camera = Camera(width=96, height=64)
    T = pose(rotation_z(0.02), (0, 0, 0)) @ camera.T_base_camera
    frames = [render([scene()], camera, T, plain_light(), smooth=s) for s in (True, False)]
    assert np.array_equal(frames[0].depth, frames[1].depth)
    assert np.array_equal(frames[0].label, frames[1].label)
    changed = np.any(frames[0].radiance != frames[1].radiance, axis=-1)
    inside = np.ones_like(changed)
    label = frames[0].label.astype(int)
    for axis in (0, 1):
        for shift in (-1, 1):
            inside &= np.roll(label, shift, axis) == label
    assert changed.any() and changed.mean() < 0.35


def test_domains_share_geometry_and_labels_and_differ_in_looks(small_drive: Drive) -> None:
    camera = Camera(width=96, height=48)
    surfaces = small_drive.surfaces(20)
    frames = {n: small_drive.frame(20, camera, d, surfaces) for n, d in DOMAINS.items()}
    images = {
        n: small_drive.image(f, 20, DOMAINS[n], meter(f.radiance, DOMAINS[n].response))
        for n, f in frames.items()
    }
    clear = frames["clear"]
    for name, frame in frames.items():
        for truth in ("depth", "label", "instance"):
            assert np.array_equal(getattr(frame, truth), getattr(clear, truth)), name
        if name != "clear":
            difference = np.abs(images[name].astype(float) - images["clear"]).mean()
            assert difference > 4, name


def test_two_cameras_see_one_world(small_drive: Drive) -> None:
    a, b = CAMERAS["a"], CAMERAS["b"]
    assert a.focal != b.focal and a.mount_z != b.mount_z
    step, surfaces = 20, small_drive.surfaces(20)
    worlds = []
    for camera in (a, b):
        camera = replace(camera, width=160, height=80)
        frame = small_drive.frame(step, camera, Domain(), surfaces)
        T = small_drive.T_world_base[step] @ camera.T_base_camera
        points = transform(T, (camera.rays() * frame.depth[..., None]).astype(np.float64))
        worlds.append((points, frame))
    for points, frame in worlds:
        road = points[frame.label == ROAD]
        assert len(road) > 500 and np.abs(road[:, 2]).max() < 0.02


def test_exposure_brings_the_mean_to_the_key() -> None:
    response = Response()
    image = np.random.default_rng(0).uniform(0.1, 2.0, (20, 30, 3)).astype(np.float32)
    luminance = image @ np.float32([0.2126, 0.7152, 0.0722]) * meter(image, response)
    assert np.exp(np.log(luminance).mean()) == pytest.approx(response.key, rel=1e-4)


def test_development_is_monotonic_seeded_and_quiet_without_noise() -> None:
    ramp = np.tile(np.linspace(0, 4, 64, dtype=np.float32)[None, :, None], (8, 1, 3))
    quiet = Response(noise=0.0, vignetting=0.0, blur=0.0, bloom=0.0)
    image = develop(ramp, quiet, 1.0, np.random.default_rng(0))
    assert np.all(np.diff(image[0, :, 0].astype(int)) >= 0)
    assert image[0, 0, 0] == 0 and image[0, -1, 0] > 230
    noisy = Response()
    first, again, other = (
        develop(ramp, noisy, 1.0, np.random.default_rng(s)).tobytes() for s in (1, 1, 2)
    )
    assert first == again != other


def test_response_tints_darkens_corners_and_draws_rain() -> None:
    flat = np.full((60, 90, 3), 0.3, np.float32)
    plain = Response(noise=0.0, vignetting=0.0, blur=0.0, bloom=0.0)

    def shot(rain: float = 0.0, **change: object) -> np.ndarray:
        response = replace(plain, **change)  # type: ignore[arg-type]
        return develop(flat, response, 1.0, np.random.default_rng(0), rain).astype(float)

    warm = shot(white_balance=(1.2, 1.0, 0.8))[30, 45]
    assert warm[0] > warm[1] > warm[2]
    dark = shot(vignetting=0.4)
    assert dark[0, 0, 0] < 0.92 * dark[30, 45, 0]
    streaked = shot(rain=0.05) - shot()
    assert 0.01 < (streaked.max(axis=-1) > 2).mean() < 0.3 and streaked.min() >= 0

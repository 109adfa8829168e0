"""Cameras: OpenCV's lens formulas written out, KITTI's calibration, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from ros_xai.core.camera import project
from ros_xai.ros import camera_info
from ros_xai.ros.camera_info import Camera
from ros_xai.ros.errors import MessageError

K = (700.0, 0.0, 330.0, 0.0, 710.0, 230.0, 0.0, 0.0, 1.0)
PLUMB_BOB = (-0.3, 0.1, 0.001, -0.002, 0.01)
RATIONAL = (0.2, -0.05, 0.001, -0.002, 0.01, 0.3, -0.02, 0.005)
EQUIDISTANT = (0.05, -0.01, 0.004, -0.001)


def message(**fields: Any) -> CameraInfo:
    info = CameraInfo(width=640, height=480, k=list(K), distortion_model="plumb_bob")
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def reason_of(info: CameraInfo) -> str:
    with pytest.raises(MessageError) as caught:
        camera_info.from_message(info)
    assert caught.value.reason == "camera_info"
    return str(caught.value)


def test_fields_of_the_message() -> None:
    p = [650.0, 0, 320, -65, 0, 660, 240, 0, 0, 0, 1, 0]
    camera = camera_info.from_message(message(d=list(PLUMB_BOB), p=p))
    np.testing.assert_array_equal(camera.intrinsics, np.reshape(K, (3, 3)))
    np.testing.assert_array_equal(camera.projection, np.reshape(p, (3, 4)))
    assert (camera.width, camera.height) == (640, 480)
    assert (camera.model, camera.distortion) == ("plumb_bob", PLUMB_BOB)


def test_the_same_calibration_of_another_image_is_checked_once() -> None:
    first = camera_info.from_message(message(header=Header(frame_id="camera")))
    assert camera_info.from_message(message(header=Header(frame_id="other"))) is first
    moved = camera_info.from_message(message(k=[701.0, *K[1:]]))
    assert moved.intrinsics[0, 0] == 701.0 and moved != first


def test_without_projection_the_rectified_image_keeps_the_intrinsics() -> None:
    camera = camera_info.from_message(message(d=list(PLUMB_BOB)))
    np.testing.assert_array_equal(camera.rectified().intrinsics, camera.intrinsics)
    assert not camera.is_rectified
    assert camera.rectified().is_rectified


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"d": [0.0] * 5}, True),
        ({"d": [0.0] * 4 + [1e-3]}, False),
        ({"distortion_model": "", "d": []}, True),
        ({"r": [1.0, 0, 0, 0, 0.6, -0.8, 0, 0.8, 0.6]}, False),
        ({"r": [1.0, 0, 0, 0, 0.9998, -0.02, 0, 0.02, 0.9998]}, False),  # 14 pixels
    ],
)
def test_an_image_is_rectified_without_distortion_and_rotation(fields: Any, expected: bool) -> None:
    assert camera_info.from_message(message(**fields)).is_rectified is expected


@settings(deadline=None)
@given(
    st.sampled_from(
        [("plumb_bob", PLUMB_BOB), ("rational_polynomial", RATIONAL), ("equidistant", EQUIDISTANT)]
    ),
    st.floats(100, 2000),
    st.floats(0, 639),
    st.floats(-500, 500),
)
def test_message_round_trip(lens: Any, focal: float, cx: float, tx: float) -> None:
    camera = Camera(
        640,
        480,
        k=(focal, 0, cx, 0, focal, 200, 0, 0, 1),
        model=lens[0],
        distortion=lens[1],
        p=(focal, 0, cx, tx, 0, focal, 200, 0, 0, 0, 1, 0),
    )
    info = camera_info.to_message(camera, Header(frame_id="camera_optical"))
    assert info.header.frame_id == "camera_optical"
    assert camera_info.from_message(info) == camera
    assert hash(camera_info.from_message(info)) == hash(camera)


def test_undistorted_cameras_publish_zeros_of_plumb_bob() -> None:
    info = camera_info.to_message(Camera(640, 480, K))
    assert (info.distortion_model, list(info.d)) == ("plumb_bob", [0.0] * 5)
    assert list(info.p) == [700, 0, 330, 0, 0, 710, 230, 0, 0, 0, 1, 0]
    assert list(info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def distorted(x: Any, y: Any, model: str, d: tuple[float, ...]) -> tuple[Any, Any]:
    """Normalised image coordinates behind the lens, by the formulas of OpenCV's calib3d pages."""
    r = np.hypot(x, y)
    if model == "equidistant":
        theta = np.arctan(r)
        polynomial = 1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(d))
        scale = np.where(r > 1e-9, theta * polynomial / np.maximum(r, 1e-9), 1.0)
        return x * scale, y * scale
    k1, k2, p1, p2, k3 = d[:5]
    radial = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6
    if model == "rational_polynomial":
        radial /= 1 + d[5] * r**2 + d[6] * r**4 + d[7] * r**6
    return (
        x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
        y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
    )


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", PLUMB_BOB),
        ("plumb_bob", PLUMB_BOB[:4]),
        ("rational_polynomial", RATIONAL),
        ("equidistant", EQUIDISTANT),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 0.02])
def test_every_rectified_pixel_shows_what_the_lens_formula_says(
    model: str, d: tuple[float, ...], angle: float
) -> None:
    """An image whose values are its own coordinates tells from where each pixel was taken."""
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    P = [650.0, 0, 310, 0, 0, 640, 250, 0, 0, 0, 1, 0]
    info = message(distortion_model=model, d=list(d), r=R.ravel().tolist(), p=P)
    rectify = camera_info.rectifier(camera_info.from_message(info))
    v, u = np.mgrid[:480, :640].astype(np.float32)
    source = rectify(np.stack([u, v], axis=-1))

    rays = np.stack([(u - 310) / 650, (v - 250) / 640, np.ones_like(u)], axis=-1) @ R
    x, y = distorted(rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2], model, (*d, 0.0))
    expected = project(
        np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3), np.reshape(K, (3, 3))
    )
    expected = expected.reshape(480, 640, 2)
    inside = (expected > 1).all(-1) & (expected < [638, 478]).all(-1)
    assert inside.mean() > 0.5
    # OpenCV's fixed-point maps are exact to 1/64 pixel
    assert np.abs(source - expected)[inside].max() < 1 / 32
    for taken, axis in ((rectify.nearest(u), 0), (rectify.nearest(v), 1)):
        assert not (taken % 1).any()
        assert np.abs(taken - expected[..., axis])[inside].max() < 0.5 + 1 / 32
    assert rectify.seen[inside].all()
    assert not rectify.seen[(expected < -1).any(-1) | (expected > [640, 480]).any(-1)].any()
    np.testing.assert_array_equal(rectify.camera.intrinsics, np.reshape(P, (3, 4))[:, :3])


def test_maps_are_made_once_per_calibration() -> None:
    first = camera_info.rectifier(camera_info.from_message(message(d=list(PLUMB_BOB))))
    same = camera_info.rectifier(camera_info.from_message(message(d=list(PLUMB_BOB))))
    other = camera_info.rectifier(camera_info.from_message(message(d=[-0.2, 0, 0, 0, 0])))
    assert first is same
    assert first is not other


def test_images_of_another_size_are_refused() -> None:
    camera = camera_info.from_message(message(d=list(PLUMB_BOB)))
    camera.check_size(480, 640)
    for check in (
        lambda: camera.check_size(640, 480),
        lambda: camera_info.rectifier(camera)(np.zeros((48, 64))),
    ):
        with pytest.raises(MessageError, match="calibrated 640x480") as caught:
            check()
        assert caught.value.reason == "camera_info"


def test_binning_and_region_move_pixels_as_the_sensor_does() -> None:
    """The centre of the 2x3 full pixels (41..42, 60..62) is pixel (10, 10) of the binned region."""
    roi = RegionOfInterest(x_offset=21, y_offset=30, width=200, height=300)
    p = [650.0, 0, 310, -65, 0, 640, 250, 0, 0, 0, 1, 0]
    full = camera_info.from_message(message(p=p))
    part = camera_info.from_message(message(roi=roi, binning_x=2, binning_y=3, p=p))
    assert (part.width, part.height) == (100, 100)
    for full_matrix, part_matrix in [
        (full.intrinsics, part.intrinsics),
        (full.projection[:, :3], part.projection[:, :3]),
    ]:
        ray = np.linalg.inv(full_matrix) @ [41.5, 61.0, 1]
        np.testing.assert_allclose(part_matrix @ ray, [10, 10, 1], atol=1e-9)
    assert part.projection[0, 3] == pytest.approx(-65 / 2)


def test_an_offset_without_a_size_reaches_to_the_images_end() -> None:
    roi = RegionOfInterest(x_offset=40, y_offset=30)
    part = camera_info.from_message(message(roi=roi))
    assert (part.width, part.height) == (600, 450)
    assert part.intrinsics[:2, 2].tolist() == [290, 200]


def test_seen_is_what_has_no_border_in_it() -> None:
    barrel = camera_info.from_message(message(d=[-0.3, 0.1, 0.0, 0.0, 0.0]))
    seen = camera_info.rectifier(barrel).seen
    u, v = np.meshgrid(np.arange(640), np.arange(480))
    x, y = distorted((u - 330) / 700, (v - 230) / 710, "plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0))
    at_u, at_v = 700 * x + 330, 710 * y + 230
    margin = np.minimum.reduce([at_u, 639 - at_u, at_v, 479 - at_v])
    assert seen[margin > 0.1].all()  # maps are in 32nds of a pixel
    assert not seen[margin < -0.1].any()
    pincushion = camera_info.from_message(message(d=[0.3, 0.0, 0.0, 0.0, 0.0]))
    x, y = distorted((u - 330) / 700, (v - 230) / 710, "plumb_bob", (0.3, 0.0, 0.0, 0.0, 0.0))
    at_u, at_v = 700 * x + 330, 710 * y + 230
    margin = np.minimum.reduce([at_u, 639 - at_u, at_v, 479 - at_v])
    seen = camera_info.rectifier(pincushion).seen
    assert 0.02 < (~seen).mean() < 0.2
    assert seen[margin > 0.1].all() and not seen[margin < -0.1].any()


def test_kittis_calibration(data_dir: Path) -> None:
    calibration = json.loads((data_dir / "kitti/calibration.json").read_text())
    k = np.ravel(calibration["K"]).tolist()
    camera = camera_info.from_message(message(width=1242, height=375, k=k))
    assert camera.is_rectified
    np.testing.assert_array_equal(camera.intrinsics, calibration["K"])


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"width": 0}, "got 0x480"),
        ({"height": 2**31}, "got 640x2147483648"),
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"k": [NAN, *K[1:]]}, "finite numbers in k"),
        ({"k": [INF, *K[1:]]}, "finite"),
        ({"k": [-700.0, *K[1:]]}, "fx=-700"),
        ({"k": [0.7, *K[1:4], 0.71, *K[5:]]}, "fx=0.7"),
        ({"k": [7e5, *K[1:]]}, "fx=700000"),
        ({"k": [*K[:2], 5000.0, *K[3:]]}, "cx=5000"),
        ({"k": [*K[:5], -900.0, *K[6:]]}, "cy=-900"),
        ({"k": np.reshape(K, (3, 3)).T.ravel().tolist()}, "fx 0 cx"),
        ({"k": [*K[:8], 0.0]}, "fx 0 cx"),
        ({"p": [NAN, *[0.0] * 11]}, "finite numbers in p"),
        ({"p": [700.0, 0, 330, NAN, 0, 710, 230, 0, 0, 0, 1, 0]}, "finite numbers in p"),
        ({"p": [700.0, 0, 330, 1e300, 0, 710, 230, 0, 0, 0, 1, 0]}, "last column"),
        ({"r": [2.0, 0, 0, 0, 1, 0, 0, 0, 1]}, "rotation"),
        ({"r": [-1.0, 0, 0, 0, 1, 0, 0, 0, 1]}, "rotation"),
        ({"r": [NAN, 0, 0, 0, 1, 0, 0, 0, 1]}, "finite numbers in r"),
        ({"r": [1e200, 0, 0, 0, 1e200, 0, 0, 0, 1e200]}, "rotation"),
        ({"d": [0.1, 0, 0]}, "4 or 5 finite"),
        ({"d": [0.1, NAN, 0, 0, 0]}, "4 or 5 finite"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "4 finite"),
        ({"distortion_model": "kannala_brandt", "d": [0.1] * 4}, "got 'kannala_brandt'"),
        ({"roi": RegionOfInterest(x_offset=600, width=41, height=10)}, "roi within 640x480"),
        ({"roi": RegionOfInterest(x_offset=700)}, "roi within"),
        ({"binning_x": 1000}, "binning"),
    ],
)
def test_calibrations_of_no_real_camera_are_refused(fields: dict[str, Any], text: str) -> None:
    assert text in reason_of(message(**fields))

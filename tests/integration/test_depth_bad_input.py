"""Bad input: each a counted, named drop, never a crash, and the next good frame is answered."""

from __future__ import annotations

import array

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from ros_xai.ros import images, pointclouds
from tests.waiting import until


def changed(message, **changes):
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def cut(message):
    """The message's data without its last byte: fewer than its size says."""
    return changed(message, data=array.array("B", bytes(message.data)[:-1]))


def cut_cdr(message):
    data = serialize_message(message)
    return data[: len(data) // 2]


def depth_as_image(d):
    return images.to_message(np.ones((64, 96), np.uint16), "16UC1", d.image(200).header)


BAD_IMAGES = {
    "wrong encoding": ("image.encoding", depth_as_image),
    "unknown encoding": ("image.encoding", lambda d: changed(d.image(200), encoding="yuv9")),
    "zero-sized": (
        "image.empty_image",
        lambda d: changed(d.image(200), width=0, height=0, step=0, data=array.array("B")),
    ),
    "payload shorter than step x height": ("image.truncated_data", lambda d: cut(d.image(200))),
    "step shorter than a row": ("image.bad_step", lambda d: changed(d.image(200), step=3)),
    "cut-off bytes": ("image.truncated_cdr", lambda d: cut_cdr(d.image(200))),
    "no bytes": ("image.truncated_cdr", lambda d: b""),
    "another size than calibrated": ("image.camera_info", lambda d: d.image(200, 32, 48)),
    "duplicate stamp": ("image.duplicate", lambda d: d.image(100)),
    "out of order": ("image.out_of_order", lambda d: d.image(50)),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image(drive, kind):
    reason, make = BAD_IMAGES[kind]
    d = drive()
    d.frame(100)
    d.send("points", d.points(200))
    d.send("image", make(d))
    assert d.node.drops == {reason: 1}
    d.frame(300)
    assert d.answers() == [100, 300]
    text, values = d.status()
    assert f"dropped {reason} 1" in text
    assert values[f"drops.{reason}"] == "1"
    assert d.accounted()


BAD_CLOUDS = {
    "all NaN": ("points.not_finite", lambda d: nan_points(d, slice(None))),
    "no return": (
        "points.not_finite",
        lambda d: pointclouds.to_message(np.zeros((9, 3), np.float32), d.points(200).header),
    ),
    "empty": ("points.empty", lambda d: pointclouds.to_message(np.zeros((0, 3), np.float32))),
    "payload shorter than its size": ("points.truncated_data", lambda d: cut(d.points(200))),
    "no coordinates": ("points.bad_field", lambda d: changed(d.points(200), fields=[])),
    "cut-off bytes": ("points.truncated_cdr", lambda d: cut_cdr(d.points(200))),
    "duplicate stamp": ("points.duplicate", lambda d: d.points(100)),
}


def nan_points(d, rows):
    message = d.points(200)
    structured = pointclouds.to_structured(message).copy()
    structured["x"][rows] = np.nan
    return pointclouds.to_message(structured, message.header)


@pytest.mark.parametrize("kind", BAD_CLOUDS)
def test_a_bad_cloud_costs_its_image_the_lidar_but_not_the_answer(drive, kind):
    reason, make = BAD_CLOUDS[kind]
    d = drive()
    d.frame(100)
    d.send("points", make(d))
    d.send("image", d.image(200))
    assert d.node.drops == {reason: 1}
    assert d.node.pending() == 1  # it still hopes for its cloud
    d.frame(300)
    assert d.answers() == [100, 200, 300]
    assert f"dropped {reason} 1" in d.status()[0]
    assert d.accounted()


def test_single_nan_points_are_left_out_and_counted(drive):
    d = drive(publish_sparse=True)
    d.send("camera_info", d.camera_info(200))
    d.send("points", nan_points(d, slice(0, 100)))
    d.send("image", d.image(200))
    assert d.answers() == [200]
    assert not d.node.drops
    assert d.status()[1]["notes.points.not_finite"] == "100"
    until(lambda: d.sparse)
    assert np.isfinite(images.to_array(d.sparse[0])).any()


def test_a_cloud_from_the_future(drive):
    d = drive()
    d.frame(100)
    d.send("points", d.points(3_600_000))
    d.send("image", d.image(200))
    assert d.node.drops == {"points.from_future": 1}
    d.frame(300)
    assert d.answers() == [100, 200, 300]
    assert "camera only" not in d.status()[0]


def test_missing_camera_info(drive):
    d = drive()
    for stamp in range(0, 500, 100):
        d.send("points", d.points(stamp))
        d.send("image", d.image(stamp))
    assert d.node.answered == 0
    assert d.node.drops == {"image.no_camera_info": 2}
    assert "waiting for the first result" in d.status()[0]
    d.send("camera_info", d.camera_info(400))
    assert d.answers() == [400]  # the newest of the three that still waited
    d.frame(500)
    assert d.answers() == [400, 500]
    assert d.accounted()


ABSURD = {
    "negative focal length": {"focal": -60.0},
    "a telescope's": {"focal": 1e9},
    "NaN": {"focal": float("nan")},
    "zero": {"focal": 0.0},
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_intrinsics_are_refused_and_the_last_valid_ones_stay(drive, kind):
    d = drive()
    d.send("camera_info", d.camera_info(0, **ABSURD[kind]))
    assert d.node.drops == {"camera_info.camera_info": 1}
    d.frame(100)
    d.send("camera_info", d.camera_info(200, **ABSURD[kind]))
    d.send("points", d.points(200))
    d.send("image", d.image(200))
    assert d.answers() == [100, 200]
    assert d.node.drops == {"camera_info.camera_info": 2}


def test_a_cut_off_jpeg(drive):
    d = drive(image_transport="compressed")
    d.send("camera_info", d.camera_info(100))
    for stamp, whole in ((100, False), (200, True)):
        raw = d.image(stamp)
        jpeg = images.compress(images.to_rgb(raw), header=raw.header)
        d.send("points", d.points(stamp))
        d.send("image/compressed", jpeg if whole else cut(jpeg))
    assert d.node.drops == {"image.compressed_data": 1}
    assert d.answers() == [200]


def test_a_storm_of_everything_at_once_leaves_every_image_accounted_for(drive):
    d = drive()
    rng = np.random.default_rng(7)
    makers = [make for _, make in (*BAD_IMAGES.values(), *BAD_CLOUDS.values())]
    d.frame(100)
    for index in rng.permutation(np.repeat(np.arange(len(makers)), 3)):
        topic = "image" if index < len(BAD_IMAGES) else "points"
        d.send(topic, makers[index](d))
    d.frame(1000)
    assert d.answers()[-1] == 1000
    assert d.accounted()
    assert d.node.idle()

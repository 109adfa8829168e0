"""What the depth node answers, message by message, through real rclpy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import State
from rclpy.parameter import Parameter

from ros_xai.nodes import depth as depth_module
from ros_xai.nodes.depth import DepthNode
from ros_xai.ros import images, pointclouds
from ros_xai.ros.equivalents import tf2_ros
from tests.waiting import until


def rows_hit(drive):
    """Rows of the last depth/sparse that have a beam."""
    until(lambda: len(drive.sparse) == drive.node.answered)
    return sorted(set(np.nonzero(np.isfinite(images.to_array(drive.sparse[-1])))[0].tolist()))


def row_of_ring(drive, ring):
    """Where the conftest's wall shows a ring: straight ahead, elevation (3.5 - ring) * 2 deg.

    Points off the axis are farther away by 1/cos(azimuth) and higher by as much, so a ring is a
    curve: the image row straight ahead is its lowest |v - cy|.
    """
    return 31.5 - drive.FOCAL * np.tan(np.radians(2.0 * (3.5 - ring)))


def test_depth_has_the_images_stamp_frame_size_and_camera(drive):
    d = drive(publish_points=True)
    d.frame(1500)
    assert d.answers() == [1500]
    until(lambda: d.camera and d.cloud)
    message, camera = d.depth[0], d.camera[0]
    assert message.encoding == "32FC1"
    assert message.header == camera.header == d.cloud[0].header
    assert message.header.frame_id == "camera_optical"
    assert (message.height, message.width) == (camera.height, camera.width) == (64, 96)
    assert list(camera.k) == list(d.camera_info(0).k)
    values = images.to_array(message)
    assert np.isfinite(values).all()
    assert (values > 0).all()
    assert d.accounted()


def test_the_beams_are_projected_to_where_the_wall_is(drive):
    d = drive(publish_sparse=True)
    d.frame(100)
    until(lambda: d.sparse)
    sparse = images.to_array(d.sparse[0])
    hit = np.isfinite(sparse)
    np.testing.assert_allclose(sparse[hit], d.WALL, rtol=1e-6)
    column = np.nonzero(hit[:, 48])[0]
    expected = [row_of_ring(d, ring) for ring in range(8)]
    np.testing.assert_allclose(column, expected, atol=0.51)


@pytest.mark.parametrize("with_ring", [True, False])
def test_rings_are_chosen_by_field_or_elevation_and_may_change_live(drive, with_ring):
    d = drive(publish_sparse=True, rings=[2], beams=8)
    stamp = 0
    for rings in ([2], [0, 7], []):
        d.node.set_parameters([Parameter("rings", value=rings)])
        stamp += 100
        d.send("camera_info", d.camera_info(stamp))
        d.send("points", d.points(stamp, with_ring=with_ring))
        d.send("image", d.image(stamp))
        until(lambda: len(d.sparse) == d.node.answered)
        hit = np.isfinite(images.to_array(d.sparse[-1]))
        expected = [row_of_ring(d, ring) for ring in rings or range(8)]
        np.testing.assert_allclose(np.nonzero(hit[:, 48])[0], expected, atol=0.51)


def test_points_lie_on_the_published_depth_and_carry_the_images_colours(drive):
    d = drive(publish_points=True, points_stride=4)
    d.frame(100)
    until(lambda: d.cloud)
    structured = pointclouds.to_structured(d.cloud[0])
    xyz, valid = pointclouds.xyz(structured)
    depth = images.to_array(d.depth[0])[::4, ::4]
    assert valid.all()
    np.testing.assert_allclose(xyz[:, 2], depth.ravel(), rtol=1e-6)
    u = xyz[:, 0] / xyz[:, 2] * d.FOCAL + 47.5
    np.testing.assert_allclose(
        u.reshape(depth.shape), np.tile(np.arange(0, 96, 4), (16, 1)), atol=1e-3
    )
    packed = structured["rgb"].view(np.uint32)
    colours = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1)
    sent = images.to_rgb(d.image(100))[::4, ::4].reshape(-1, 3)
    np.testing.assert_array_equal(colours, sent)


def test_compressed_images_are_answered_too(drive):
    d = drive(image_transport="compressed")
    d.send("camera_info", d.camera_info(100))
    d.send("points", d.points(100))
    raw = d.image(100)
    d.send("image/compressed", images.compress(images.to_rgb(raw), "png", header=raw.header))
    assert d.answers() == [100]


def test_inputs_may_come_in_any_order(drive):
    d = drive(lidar_required=True)
    d.send("image", d.image(100))
    assert (d.node.answered, d.node.pending()) == (0, 1)
    d.send("points", d.points(100))
    assert (d.node.answered, d.node.pending()) == (0, 1)
    d.send("camera_info", d.camera_info(100))
    assert d.answers() == [100]
    for stamp, order in ((200, ("points", "image")), (300, ("image", "points"))):
        for topic in order:
            d.send(topic, {"points": d.points, "image": d.image}[topic](stamp))
    assert d.answers() == [100, 200, 300]
    assert not d.node.drops


def test_without_lidar_the_camera_answers_alone_and_says_so(drive):
    d = drive()
    d.send("camera_info", d.camera_info(0))
    for stamp in range(0, 1500, 100):
        d.send("image", d.image(stamp))
    # The LiDAR is given up on at 600; of the images that waited until then the newest is answered.
    assert d.answers() == [0, 100, 200, *range(600, 1500, 100)]
    assert d.node.drops == {"image.superseded": 3}
    assert "camera only: no points for the last 12 images" in d.status()[0]
    d.frame(1500)
    assert "camera only" not in d.status()[0]


@pytest.mark.parametrize("rings", [[], [2, 5]])
def test_beams_that_fall_silent_are_named_and_the_others_still_answer(drive, rings):
    d = drive(rings=rings)
    structured = pointclouds.to_structured(d.points(0))
    xyz, ring = pointclouds.xyz(structured)[0], structured["ring"]
    left = ring != 5
    for stamp in range(0, 1400, 200):
        if stamp < 200:
            d.frame(stamp)
            assert "silent" not in d.status()[0]
            continue
        header = d.points(stamp).header
        d.send("camera_info", d.camera_info(stamp))
        d.send("points", pointclouds.to_message(xyz[left], header, ring=ring[left]))
        d.send("image", d.image(stamp))
    assert d.answers() == list(range(0, 1400, 200))
    assert f"1 of {len(rings) or 8} beams silent: rings 5" in d.status()[0]
    d.frame(1400)
    assert "silent" not in d.status()[0]


def test_without_lidar_images_are_dropped_by_name_where_it_is_required(drive):
    d = drive(lidar_required=True)
    d.send("camera_info", d.camera_info(0))
    for stamp in range(0, 1500, 100):
        d.send("image", d.image(stamp))
    assert d.node.drops == {"image.no_points": 15}
    d.frame(1500)
    assert d.answers() == [1500]
    assert d.accounted()


def test_a_distorted_camera_is_rectified_and_what_it_does_not_see_is_unknown(drive):
    d = drive()
    info = d.camera_info(100)
    # Pincushion: the corners of the rectified image lie outside of what the lens has seen.
    info.distortion_model, info.d = "plumb_bob", [0.4, 0.0, 0.0, 0.0, 0.0]
    d.send("camera_info", info)
    d.send("points", d.points(100))
    d.send("image", d.image(100))
    until(lambda: d.depth and d.camera)
    K = np.reshape(info.k, (3, 3))
    ones = np.full((64, 96), 255, np.uint8)
    unseen = cv2.undistort(ones, K, np.array(info.d)) < 255
    unknown = np.isnan(images.to_array(d.depth[0]))
    assert unseen.any()
    # OpenCV's two remaps may differ by a rounding at the border.
    assert np.mean(unknown != unseen) < 0.02
    assert not unknown[20:44, 30:66].any()
    assert list(d.camera[0].d) == [0.0] * 5


def test_without_a_transform_the_image_is_dropped_with_what_to_do(drive, monkeypatch):
    monkeypatch.setattr(depth_module, "LIVE_TF", False)
    d = drive(T_camera_lidar=[])
    d.frame(100)
    assert d.node.drops == {"image.bad_transform": 1}
    assert "set the parameter T_camera_lidar" in d.status()[1]["last_error"]
    d.node.set_parameters([Parameter("T_camera_lidar", value=d.T_CAMERA_LIDAR)])
    d.frame(200)
    assert d.answers() == [200]


def test_a_broken_tf_does_not_keep_the_node_from_using_its_parameter(drive, monkeypatch):
    def broken(buffer, node):
        raise RuntimeError("/tf_static needs the package tf2_msgs")

    monkeypatch.setattr(depth_module, "LIVE_TF", True)
    monkeypatch.setattr(depth_module.tf2_ros, "TransformListener", broken)
    d = drive()
    d.frame(100)
    assert d.answers() == [100]


def test_transforms_of_tf_are_used_where_there_is_tf(drive, monkeypatch):
    buffer = tf2_ros.Buffer()
    monkeypatch.setattr(depth_module, "tf2_ros", tf2_ros)
    monkeypatch.setattr(tf2_ros, "Buffer", lambda: buffer)
    monkeypatch.setattr(tf2_ros, "TransformListener", lambda buffer, node: None)
    monkeypatch.setattr(depth_module, "LIVE_TF", True)
    d = drive(T_camera_lidar=[], publish_sparse=True)
    d.frame(100)
    assert d.node.drops == {"image.bad_transform": 1}
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = "lidar", "camera_optical"
    rotation = message.transform.rotation  # of the optical frame in the LiDAR's
    rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
    buffer.set_transform_static(message)
    d.frame(200)
    assert d.answers() == [200]
    until(lambda: d.sparse)
    sparse = images.to_array(d.sparse[-1])
    np.testing.assert_allclose(sparse[np.isfinite(sparse)], d.WALL, rtol=1e-5)


def test_beams_that_miss_the_image_are_reported(drive):
    behind = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    d = drive(T_camera_lidar=behind)
    d.frame(100)
    assert d.answers() == [100]
    assert "no point falls into the image: check rings and T_camera_lidar" in d.status()[0]


def test_a_bag_that_starts_again_is_answered_again(drive):
    d = drive()
    for stamp in (5000, 5100, 5200, 0, 100, 200):
        d.frame(stamp)
    assert d.answers() == [5000, 5100, 5200, 0, 100, 200]
    assert not d.node.drops


def test_missing_weights_leave_an_unconfigured_node_that_recovers(ros_context):
    node = DepthNode(
        context=ros_context, parameter_overrides=[Parameter("weights", value="none.safetensors")]
    )
    assert node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED
    assert node._failure.startswith("cannot configure: FileNotFoundError: no none.")
    node.set_parameters([Parameter("weights", value="")])
    node.trigger_configure()
    assert node._state_machine.current_state[0] == State.PRIMARY_STATE_INACTIVE
    assert node._identity["model"].startswith("depth.safetensors ")
    node.destroy_node()

"""Answers find the inputs and the truth of their own stamp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="the ROS message packages are not installed")

from ros_xai.core.geometry import pose
from ros_xai.replay.bag import Bag
from ros_xai.replay.frames import Frame, Roles, frames
from ros_xai.world.bag_writer import BagWriter

PERIOD_NS = 100_000_000
START_NS = 1_700_000_000 * 10**9
INTRINSICS = np.array([[40.0, 0, 31.5], [0, 40.0, 15.5], [0, 0, 1]])
T_CAMERA_LIDAR = pose([[0, -1, 0], [0, 0, -1], [1, 0, 0]], [0, -0.1, 0])
SIZE = (32, 64)


def roles(truth_depth: str | None = "/gt/depth", truth_points: str | None = None) -> Roles:
    return Roles(
        image="/camera/image",
        truth_depth=truth_depth,
        truth_points=truth_points,
        depth="/depth/image",
        sparse="/depth/sparse",
        camera_info="/depth/camera_info",
        lens="/camera/camera_info",
    )


def plane(value: float) -> np.ndarray:
    return np.full(SIZE, value, np.float32)


def answer(bag: BagWriter, index: int, late_ns: int = 0, with_sparse: bool = True) -> None:
    """Depth 100 + index of frame `index`, recorded `late_ns` after its stamp."""
    stamp = START_NS + index * PERIOD_NS
    log = stamp + late_ns
    if with_sparse:
        beams = np.full(SIZE, np.nan, np.float32)
        beams[index % 32, 3] = 7
        bag.image("/depth/sparse", stamp, "camera", beams, "32FC1", log_ns=log)
    bag.camera_info("/depth/camera_info", stamp, "camera", INTRINSICS, 64, 32, log_ns=log)
    bag.image("/depth/image", stamp, "camera", plane(100 + index), "32FC1", log_ns=log)


def paired(
    folder: Path, write: Callable[[BagWriter, BagWriter], None], of: Roles | None = None
) -> list[Frame]:
    with BagWriter(folder / "in.mcap") as inputs, BagWriter(folder / "out.mcap") as outputs:
        write(inputs, outputs)
    return list(
        frames(Bag(folder / "in.mcap"), Bag(folder / "out.mcap"), of or roles(), T_CAMERA_LIDAR)
    )


def inputs_of(bag: BagWriter, index: int) -> None:
    """Image of grey `index`, truth of 10 + index metres, with an unknown corner."""
    stamp = START_NS + index * PERIOD_NS
    truth = plane(10 + index)
    truth[0, 0] = np.nan
    bag.image("/camera/image", stamp, "camera", np.full((*SIZE, 3), index, np.uint8), "rgb8")
    bag.image("/gt/depth", stamp, "camera", truth, "32FC1", log_ns=stamp + 10**6)


@pytest.mark.parametrize("late_ns", [0, 3 * PERIOD_NS, 20 * PERIOD_NS])
def test_parts_of_one_stamp_come_together_however_late_the_answer(
    tmp_path: Path, late_ns: int
) -> None:
    def write(inputs: BagWriter, outputs: BagWriter) -> None:
        for index in range(60):
            inputs_of(inputs, index)
            answer(outputs, index, late_ns)

    found = paired(tmp_path, write)
    assert [f.stamp_ns for f in found] == [START_NS + i * PERIOD_NS for i in range(60)]
    for index, frame in enumerate(found):
        assert frame.depth[5, 5] == 100 + index
        assert frame.image is not None
        assert frame.truth is not None
        assert frame.image[5, 5, 0] == index
        assert frame.truth[5, 5] == 10 + index
        assert frame.truth[0, 0] == 0
        assert np.argwhere(frame.sparse).tolist() == [[index % 32, 3]]


def test_only_the_wanted_stamps_are_decoded(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "in.mcap") as inputs, BagWriter(tmp_path / "out.mcap") as outputs:
        for index in range(5):
            inputs_of(inputs, index)
            answer(outputs, index)
    wanted = {START_NS + 3 * PERIOD_NS}
    bags = (Bag(tmp_path / "in.mcap"), Bag(tmp_path / "out.mcap"))
    assert {f.stamp_ns for f in frames(*bags, roles(), None, only=wanted)} == wanted


def test_missing_or_broken_parts_are_left_out(tmp_path: Path) -> None:
    def write(inputs: BagWriter, outputs: BagWriter) -> None:
        inputs_of(inputs, 0)
        answer(outputs, 0)
        answer(outputs, 1, with_sparse=False)  # an answer without inputs
        header = b"\x00\x01\x00\x00" + np.int32(START_NS // 10**9).tobytes()
        cut_off = header + np.uint32(2 * PERIOD_NS).tobytes() + b"\x07"
        log = START_NS + 2 * PERIOD_NS
        inputs.cdr("/gt/depth", "sensor_msgs/msg/Image", cut_off, log)
        inputs.image("/camera/image", log, "camera", plane(1), "32FC1")
        answer(outputs, 2)
        outputs.cdr("/depth/image", "sensor_msgs/msg/Image", cut_off, log + 1)

    complete, bare, broken = paired(tmp_path, write)
    assert complete.image is not None
    assert bare.image is None
    assert bare.truth is None
    assert not bare.sparse.any()
    assert broken.image is None  # 32FC1 is no picture
    assert broken.truth is None


def test_truth_of_another_size_is_no_truth(tmp_path: Path) -> None:
    def write(inputs: BagWriter, outputs: BagWriter) -> None:
        small = np.ones((4, 4), np.float32)
        inputs.image("/gt/depth", START_NS, "camera", small, "32FC1")
        answer(outputs, 0)

    (frame,) = paired(tmp_path, write)
    assert frame.truth is None


LENS = (0.2, 0.05, 0.01, -0.02)  # k1 k2 p1 p2: corners of the rectified image lie outside


def seen_through(lens: tuple[float, ...], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Column and row [H,W,2] where a lens puts the pixels of the rectified image: plumb_bob."""
    k1, k2, p1, p2 = lens
    x, y = (u - 31.5) / 40, (v - 15.5) / 40
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([40 * xd + 31.5, 40 * yd + 15.5], axis=-1)


def test_truth_and_image_of_a_distorted_camera_are_rectified_as_its_answer_is(
    tmp_path: Path,
) -> None:
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    depth = (1 + u + 0.01 * v).astype(np.float32)  # tells the pixel it is of
    grey = np.repeat(2 * u[..., None], 3, axis=2).astype(np.uint8)

    def write(inputs: BagWriter, outputs: BagWriter) -> None:
        topic = "/camera/camera_info"
        inputs.camera_info(topic, START_NS, "camera", INTRINSICS, 64, 32, distortion=LENS)
        for index in (0, 10):
            stamp = START_NS + index * PERIOD_NS
            inputs.image("/camera/image", stamp, "camera", grey, "rgb8")
            inputs.image("/gt/depth", stamp, "camera", depth, "32FC1")
            answer(outputs, index)
            # One that cannot be read changes nothing: the node keeps the last one, too.
            inputs.cdr(topic, "sensor_msgs/msg/CameraInfo", b"\x00\x01", stamp + 5 * PERIOD_NS)

    first, frame = paired(tmp_path, write)
    assert first.truth is not None
    np.testing.assert_array_equal(first.truth, frame.truth)
    at = seen_through(LENS, u, v)
    inside = ((at > 0.1) & (at < [62.9, 30.9])).all(-1)
    outside = ((at < -0.1) | (at > [63.1, 31.1])).any(-1)
    assert inside.sum() > 1000 and outside.sum() > 100
    assert frame.truth is not None and frame.image is not None
    column, row = np.floor(frame.truth) - 1, 100 * (frame.truth % 1)
    taken = np.stack([column, row], axis=-1)
    assert np.abs(taken - at)[inside].max() < 0.55  # of the nearest pixel, and of no two
    assert not frame.truth[outside].any()
    assert np.abs(frame.image[..., 0] / 2 - at[..., 0])[inside].max() < 0.55


def test_the_full_sweep_is_truth_where_there_is_no_depth_image(tmp_path: Path) -> None:
    # Points on the rays of known pixels, one of them behind another, one out of reach in time.
    pixels, z = np.array([[10, 5], [40, 20], [40, 20]]), np.array([8.0, 12.0, 30.0])
    camera = np.stack([(pixels[:, 0] - 31.5) / 40 * z, (pixels[:, 1] - 15.5) / 40 * z, z], axis=1)
    homogeneous = np.hstack([camera, np.ones((3, 1))])
    xyz = (homogeneous @ np.linalg.inv(T_CAMERA_LIDAR).T)[:, :3].astype(np.float32)

    def write(inputs: BagWriter, outputs: BagWriter) -> None:
        inputs.points("/gt/points", START_NS + 20_000_000, "lidar", xyz)
        answer(outputs, 0)
        answer(outputs, 1)

    near, far = paired(tmp_path, write, roles(None, "/gt/points"))
    assert near.truth is not None
    assert {(u, v) for v, u in np.argwhere(near.truth)} == {(10, 5), (40, 20)}
    assert near.truth[5, 10] == pytest.approx(8)
    assert near.truth[20, 40] == pytest.approx(12)
    assert far.truth is None

"""Which topic feeds which input, for bags as people record them."""

from __future__ import annotations

import pytest

from ros_xai.replay.bag import Topic
from ros_xai.replay.topics import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINTS, TopicError, assign

DEPTH_INPUTS = ("image", "image/compressed", "camera_info", "points")


def topics(**types: str) -> dict[str, Topic]:
    names = {f"/{name.replace('__', '/')}": kind for name, kind in types.items()}
    return {name: Topic(name, kind) for name, kind in names.items()}


WORLD = topics(
    camera__image=IMAGE,
    camera__camera_info=CAMERA_INFO,
    lidar__points=POINTS,
    gt__depth=IMAGE,
    gt__labels=IMAGE,
    gt__points=POINTS,
)


def test_ground_truth_is_never_an_input() -> None:
    assert assign(WORLD, {}, DEPTH_INPUTS) == {
        "image": "/camera/image",
        "camera_info": "/camera/camera_info",
        "points": "/lidar/points",
    }


def test_an_image_beside_its_camera_info_is_preferred() -> None:
    bag = topics(front__image_rect=IMAGE, front__camera_info=CAMERA_INFO, dashboard__screen=IMAGE)
    assert assign(bag, {}, ("image", "camera_info"))["image"] == "/front/image_rect"


def test_a_compressed_image_is_taken_where_there_is_no_raw_one() -> None:
    compressed = topics(cam__image_raw__compressed=COMPRESSED_IMAGE, cam__camera_info=CAMERA_INFO)
    both = compressed | topics(cam__image_raw=IMAGE)
    assert assign(compressed, {}, DEPTH_INPUTS) == {
        "image/compressed": "/cam/image_raw/compressed",
        "camera_info": "/cam/camera_info",
    }
    assert assign(both, {}, DEPTH_INPUTS)["image"] == "/cam/image_raw"
    assert "image/compressed" not in assign(both, {}, DEPTH_INPUTS)


def test_camera_info_follows_the_image_that_was_given() -> None:
    bag = topics(
        left__image=IMAGE, left__camera_info=CAMERA_INFO,
        right__image=IMAGE, right__camera_info=CAMERA_INFO,
    )  # fmt: skip
    chosen = assign(bag, {"image": "/right/image"}, DEPTH_INPUTS)
    assert chosen == {"image": "/right/image", "camera_info": "/right/camera_info"}


def test_what_fits_twice_is_an_error_that_shows_the_option() -> None:
    bag = topics(lidar_left__points=POINTS, lidar_right__points=POINTS)
    with pytest.raises(TopicError, match="--remap points:=/lidar_left/points"):
        assign(bag, {}, ("points",))
    given = {"points": "/lidar_right/points"}
    assert assign(bag, given, ("points",)) == given


def test_a_given_topic_that_the_bag_lacks_is_an_error_that_lists_the_bag() -> None:
    with pytest.raises(TopicError, match=r"no /camera/picture; it has .*/camera/image"):
        assign(WORLD, {"image": "/camera/picture"}, DEPTH_INPUTS)


def test_an_input_that_nothing_fits_is_left_out() -> None:
    assert assign(WORLD, {}, ("tracks",)) == {}

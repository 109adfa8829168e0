"""Pictures of the report show what they claim."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from ros_xai.replay.frames import Frame
from ros_xai.replay.panels import FAR, NEAR, WIDTH, colour, colour_error, panels, to_uri


def pixels(uri: str) -> np.ndarray:
    head, body = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR)[
        ..., ::-1
    ]


def test_depth_goes_from_red_to_blue_and_unknown_is_black() -> None:
    near, far, unknown, none = colour(np.float32([[NEAR, FAR, np.nan, 0]]))[0].astype(int)
    assert near[0] > 2 * near[2]
    assert far[2] > far[0]
    assert not unknown.any()
    assert not none.any()


def test_error_is_blue_where_too_near_and_red_where_too_far() -> None:
    near, exact, far, unknown = colour_error(np.float32([[-1, 0, 1, np.nan]]))[0].astype(int)
    assert near[2] > near[0]
    assert far[0] > far[2]
    assert exact[0] == exact[2]
    assert (unknown == far).all()


def test_pictures_are_scaled_to_the_width_of_the_report() -> None:
    assert pixels(to_uri(np.full((300, 2 * WIDTH, 3), 90, np.uint8))).shape == (150, WIDTH, 3)
    assert pixels(to_uri(np.full((20, 30, 3), 90, np.uint8))).shape == (20, 30, 3)


def test_a_frame_without_truth_or_image_shows_what_there_is() -> None:
    depth = np.full((20, 40), 10, np.float32)
    beams = np.zeros_like(depth)
    beams[10, ::4] = 10
    image = np.full((20, 40, 3), 200, np.uint8)
    full = panels(Frame(1, depth, beams, image, depth))
    assert [panel.caption for panel in full] == ["camera", "input beams", "depth", "error"]
    bare = panels(Frame(1, depth, beams, None, None))
    assert [panel.caption for panel in bare] == ["input beams", "depth"]
    drawn = pixels(bare[0].source).astype(int)
    # On a beam the colour of 10 m, elsewhere the dark ground.
    assert np.abs(drawn[10, 20] - colour(depth)[0, 0]).max() < 60
    assert drawn[2, 20].max() < 70

"""Cameras as users have them: calibrations that change, patterns of colour filters."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import Image

from tests.waiting import until


def test_a_calibration_that_changes_counts_from_the_next_image_on(drive):
    d = drive()
    d.frame(100)
    d.send("camera_info", d.camera_info(200, focal=75.0))
    d.send("points", d.points(200))
    d.send("image", d.image(200))
    assert d.answers() == [100, 200]
    until(lambda: len(d.camera) == 2)
    assert [camera.k[0] for camera in d.camera] == [d.FOCAL, 75.0]


@pytest.mark.parametrize("pattern", ["bayer_rggb8", "bayer_grbg16"])
def test_a_bayer_image_is_refused_with_what_to_do(drive, pattern):
    d = drive()
    d.send("camera_info", d.camera_info(100))
    wanted = d.image(100)
    size = 2 if pattern.endswith("16") else 1
    raw = np.zeros((wanted.height, wanted.width * size), np.uint8)
    bayer = Image(
        header=wanted.header,
        height=wanted.height,
        width=wanted.width,
        step=wanted.width * size,
        encoding=pattern,
        data=raw.tobytes(),
    )
    d.send("image", bayer)
    assert d.node.drops == {"image.encoding": 1}
    said = d.status()[1]["last_error"]
    assert pattern in said
    assert "debayer" in said
    d.frame(200)
    assert d.answers() == [200]

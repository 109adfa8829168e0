"""The same wall, scanned by LiDARs whose points differ in layout, gives the same depth."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2

from ros_xai.ros import images, pointclouds
from tests.waiting import until

# dtype of a point behind x y z, and the name of its beam
DRIVERS = {
    "velodyne": ([("intensity", "<f4"), ("ring", "<u2"), ("time", "<f4")], "ring"),
    "livox": (
        [("intensity", "<f4"), ("tag", "u1"), ("line", "u1"), ("timestamp", "<f8")],
        "line",
    ),
    "autoware": ([("intensity", "u1"), ("return_type", "u1"), ("channel", "<u2")], "channel"),
    "ouster": (
        [
            ("pad", "V4"),
            ("intensity", "<f4"),
            ("t", "<u4"),
            ("reflectivity", "<u2"),
            ("ring", "<u2"),
            ("ambient", "<u2"),
            ("pad2", "V2"),
            ("range", "<u4"),
            ("pad3", "V12"),
        ],
        "ring",
    ),
    "without ring": ([("intensity", "<f4")], None),
}


def cloud(reference: PointCloud2, driver: str) -> PointCloud2:
    """The reference's points as the driver lays them out."""
    source = pointclouds.to_structured(reference)
    rest, ring = DRIVERS[driver]
    whole = np.dtype([*((axis, "<f4") for axis in "xyz"), *rest])
    points = np.zeros(len(source), whole)
    for axis in "xyz":
        points[axis] = source[axis]
    if ring:
        points[ring] = source["ring"]
    names = [name for name in whole.names if not name.startswith("pad")]
    return pointclouds.to_message(points[names], reference.header)


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_layout_gives_the_same_beams_and_depth(drive, driver):
    d = drive(publish_sparse=True, rings=[2, 5], beams=8)
    d.send("camera_info", d.camera_info(0))
    for stamp, message in ((100, d.points(100)), (200, cloud(d.points(200), driver))):
        d.send("points", message)
        pixels = d.image(0)  # of both stamps the same
        pixels.header = message.header
        pixels.header.frame_id = "camera_optical"
        d.send("image", pixels)
        assert d.answers()[-1] == stamp
    until(lambda: len(d.sparse) == 2)
    for first, second in (d.sparse, d.depth):
        np.testing.assert_array_equal(images.to_array(first), images.to_array(second))
    assert np.isfinite(images.to_array(d.sparse[0])).sum() > 50

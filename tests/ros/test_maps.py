"""OccupancyGrids as map layers, and those that are none."""

from __future__ import annotations

from typing import Any

import pytest
from nav_msgs.msg import OccupancyGrid

from ros_xai.ros import maps
from ros_xai.ros.errors import MessageError


def grid(data: list[int], width: int = 3, **place: float) -> OccupancyGrid:
    message = OccupancyGrid()
    message.info.width, message.info.height = width, 2
    message.info.resolution = place.get("resolution", 0.5)
    message.info.origin.position.x = place.get("px", -4.0)
    message.info.origin.position.y = place.get("py", 7.0)
    for axis in "xyzw":
        setattr(message.info.origin.orientation, axis, place.get(axis, float(axis == "w")))
    message.data = data
    return message


def test_layers_are_coverages_row_by_row_from_the_origin() -> None:
    drivable = grid([0, 40, 100, -1, 20, 0])
    raster = maps.to_raster(drivable, grid([100] * 6), None)
    assert raster.layers.shape == (2, 3, 3)
    assert raster.layers[..., 0].tolist() == [[0, 102, 255], [0, 51, 0]]
    assert (raster.layers[..., 1] == 255).all() and not raster.layers[..., 2].any()
    assert raster.origin.tolist() == [-4, 7] and raster.resolution == 0.5


def test_a_layer_on_another_grid_is_empty() -> None:
    for other in (grid([100] * 6, px=1.0), grid([100] * 8, width=4), grid([9] * 6, resolution=1.0)):
        assert not maps.to_raster(grid([0] * 6), other, None).layers.any()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"data": [0] * 5}, "got 5 values"),
        ({"data": [], "width": 0}, "at least one"),
        ({"resolution": 0.0}, "resolution above 0"),
        ({"resolution": float("nan")}, "finite origin"),
        ({"px": float("inf")}, "finite origin"),
        ({"py": 2e8}, "within 1e8 m"),
        ({"z": 0.1, "w": 0.995}, "turned"),
        ({"x": 1.0, "w": 0.0}, "turned"),
        ({"y": -1.0, "w": 0.0}, "turned"),
        ({"z": float("nan")}, "turned"),
    ],
)
def test_grids_that_are_none_are_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(MessageError, match=text) as caught:
        maps.check(grid(**({"data": [0] * 6} | wrong)))
    assert caught.value.reason == "bad_map"


def test_an_orientation_that_nobody_filled_in_is_none() -> None:
    maps.check(grid([0] * 6, w=0.0))

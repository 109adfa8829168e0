"""Where maps are drawn and what of them an agent sees."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ros_xai.data.forecasting import VectorMap
from ros_xai.forecasting.raster import CropConfig, MapRaster, crops, rasterize

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10.0]])
CONFIG = CropConfig(resolution=1.0, ahead=12, behind=4, side=8)


def _covered(raster: MapRaster, layer: int) -> float:
    return float(raster.layers[..., layer].sum() / 255 * raster.resolution**2)


def test_areas_are_drawn_with_their_size_where_they_are() -> None:
    raster = rasterize(VectorMap((SQUARE,), (), ()), resolution=0.25, margin=5)
    assert _covered(raster, 0) == pytest.approx(100, rel=0.06)
    row, column = np.nonzero(raster.drivable)
    assert raster.origin[0] + (column.mean() + 0.5) * 0.25 == pytest.approx(5, abs=0.13)
    assert raster.origin[1] + (row.mean() + 0.5) * 0.25 == pytest.approx(5, abs=0.13)


def test_overlapping_areas_are_a_union() -> None:
    raster = rasterize(VectorMap((SQUARE, SQUARE + np.array([5, 0])), (), (SQUARE, SQUARE)))
    assert _covered(raster, 0) == pytest.approx(150, rel=0.06)
    assert _covered(raster, 2) == pytest.approx(100, rel=0.06)


def test_a_map_without_road_is_refused() -> None:
    with pytest.raises(ValueError, match="drivable"):
        rasterize(VectorMap((), (SQUARE,), ()))


def test_smoothing_keeps_areas_and_their_place() -> None:
    raster = rasterize(VectorMap((SQUARE,), (), ()), resolution=0.25, margin=5)
    for cell in (0.75, 1.0):
        smooth = raster.smoothed(cell)
        assert _covered(smooth, 0) == pytest.approx(_covered(raster, 0), rel=0.02)
        weight = smooth.layers[..., 0].astype(float)
        column = (weight.sum(axis=0) * np.arange(weight.shape[1])).sum() / weight.sum()
        assert smooth.origin[0] + (column + 0.5) * 0.25 == pytest.approx(5, abs=0.03)


def test_an_agent_sees_what_is_ahead_at_the_top_and_its_left_at_the_left() -> None:
    layers = np.zeros((80, 80, 3), dtype=np.uint8)
    layers[50:52, 40:42] = 255  # x and y from the origin: (10.25, 12.75) +- 0.25
    raster = MapRaster(layers, np.zeros(2), 0.25)
    seen = crops(raster.smoothed(1.0), np.array([[10.25, 7.75]]), np.array([np.pi / 2]), CONFIG)
    row, column = _centre(seen[0, 0])
    assert (12 - (row + 0.5), 8 - (column + 0.5)) == pytest.approx((5, 0), abs=0.1)
    seen = crops(raster.smoothed(1.0), np.array([[10.25, 7.75]]), np.array([0.0]), CONFIG)
    row, column = _centre(seen[0, 0])
    assert (12 - (row + 0.5), 8 - (column + 0.5)) == pytest.approx((0, 5), abs=0.1)


@pytest.mark.parametrize("yaw", [0.3, 2.5, -1.2])
def test_crops_turn_and_move_with_the_agent(yaw: float) -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (400, 400, 3)).astype(np.uint8), (0, 0), 6)
    raster = MapRaster(noise, np.array([-50.0, -50.0]), 0.25)
    (seen,) = crops(raster, np.array([[3.0, -2.0]]), np.array([yaw]), CONFIG)
    for row, column in ((0, 0), (5, 12), (15, 15)):
        forward, left = 12 - (row + 0.5), 8 - (column + 0.5)
        x = 3 + forward * np.cos(yaw) - left * np.sin(yaw)
        y = -2 + forward * np.sin(yaw) + left * np.cos(yaw)
        nearest = noise[int((y + 50) / 0.25), int((x + 50) / 0.25)]
        assert seen[:, row, column].astype(float) == pytest.approx(nearest, abs=8)


def test_beyond_the_map_there_is_nothing() -> None:
    raster = rasterize(VectorMap((SQUARE,), (), ()))
    far = crops(raster, np.array([[500.0, 500.0]]), np.array([0.0]), CONFIG)
    assert far.shape == (1, 3, 16, 16)
    assert not far.any()


def _centre(image: np.ndarray) -> tuple[float, float]:
    weight = image.astype(float)
    rows, columns = np.indices(image.shape)
    return (rows * weight).sum() / weight.sum(), (columns * weight).sum() / weight.sum()

"""Maps written by the lanelet2 package itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ros_xai.data.lanelet2 import read_map

lanelet2 = pytest.importorskip("lanelet2", reason="lanelet2 is not installed")

ORIGIN = (48.1, 11.6)


def _lanelet(y: float, subtype: str, bound: str, **local: str) -> Any:
    """A lane 3 m wide and 40 m long along x with its right bound at y."""
    core = lanelet2.core

    def line(y: float, kind: str) -> Any:
        points = [core.Point3d(core.getId(), x, y, 0) for x in (0, 20, 40)]
        for point in points:
            for name, value in local.items():
                point.attributes[name] = value
        return core.LineString3d(core.getId(), points, core.AttributeMap({"type": kind}))

    attributes = core.AttributeMap({"type": "lanelet", "subtype": subtype})
    return core.Lanelet(core.getId(), line(y + 3, bound), line(y, "curbstone"), attributes)


def _written(tmp_path: Path, *lanelets: Any) -> Path:
    road_map = lanelet2.core.LaneletMap()
    for lanelet in lanelets:
        road_map.add(lanelet)
    path = tmp_path / "map.osm"
    projector = lanelet2.projection.UtmProjector(lanelet2.io.Origin(*ORIGIN))
    lanelet2.io.write(str(path), road_map, projector)
    return path


def test_roads_crosswalks_and_visible_left_bounds_are_read(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        _lanelet(0, "road", "line_thin"),
        _lanelet(3, "road", "virtual"),
        _lanelet(6, "walkway", "line_thin"),
        _lanelet(9, "crosswalk", "line_thick"),
    )
    read = read_map(path, ORIGIN)
    outline = [[0, 3], [20, 3], [40, 3], [40, 0], [20, 0], [0, 0]]
    first = min(read.drivable, key=lambda polygon: polygon[:, 1].min())
    assert first == pytest.approx(np.array(outline), abs=1e-3)
    assert len(read.drivable) == 2
    assert [line[0].tolist() for line in read.dividers] == [pytest.approx([0, 3], abs=1e-3)]
    assert [polygon[:, 1].min() for polygon in read.crossings] == [pytest.approx(9, abs=1e-3)]


def test_local_coordinates_win_over_projected_ones(tmp_path: Path) -> None:
    path = _written(tmp_path, _lanelet(0, "road", "line_thin", local_x="7.5", local_y="-2"))
    assert read_map(path, ORIGIN).dividers[0] == pytest.approx(np.tile([7.5, -2], (3, 1)))


def test_a_map_without_roads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got none"):
        read_map(_written(tmp_path, _lanelet(0, "walkway", "line_thin")), ORIGIN)
    with pytest.raises(FileNotFoundError):
        read_map(tmp_path / "none.osm", ORIGIN)

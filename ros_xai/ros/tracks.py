"""Messages of tracked road users to arrays.

MarkerArray in the manner of the world's bags (ns = class, id = track); vision_msgs/Detection3DArray
and autoware_perception_msgs/TrackedObjects where those packages are installed: only attributes are
used, so nothing here imports them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ros_xai.data.forecasting import PEDESTRIAN, TRAILER, TWO_WHEELER, VEHICLE
from ros_xai.forecasting.tracks import Observations
from ros_xai.ros.errors import MessageError

CATEGORIES = {
    **dict.fromkeys(["vehicle", "car", "truck", "bus", "van", "emergency_vehicle"], VEHICLE),
    **dict.fromkeys(["two-wheeler", "bicycle", "motorcycle", "cyclist"], TWO_WHEELER),
    **dict.fromkeys(["pedestrian", "person"], PEDESTRIAN),
    "trailer": TRAILER,
}
# autoware_perception_msgs/ObjectClassification
_AUTOWARE = {
    1: VEHICLE,
    2: VEHICLE,
    3: VEHICLE,
    4: TRAILER,
    5: TWO_WHEELER,
    6: TWO_WHEELER,
    7: PEDESTRIAN,
}
_MARKER_ADD = 0


class Seen(NamedTuple):
    """What a message holds: its header, the agents, and counts of those that cannot be used
    (`unknown_class`, `bad_pose`)."""

    header: Any
    agents: Observations
    unusable: Counter[str]


def from_markers(message: Any) -> Seen:
    """Of a visualization_msgs/MarkerArray, whose header is that of its markers to add; without one
    there are no agents, under the header of a marker that removes, such as DELETEALL.

    Raises MessageError: `frame`, `stamp`, markers of several frames or instants; `no_tracks`, no
    agents and no header that says where and when.
    """
    markers = [marker for marker in message.markers if marker.action == _MARKER_ADD]
    headers = [m.header for m in markers or message.markers if markers or _says(m.header)]
    if not headers:
        raise MessageError("no_tracks", "expected a marker with frame and stamp; got none")
    header = headers[0]
    for marker in markers[1:]:
        if marker.header.frame_id != header.frame_id:
            frames = f"{header.frame_id!r} and {marker.header.frame_id!r}"
            raise MessageError("frame", f"expected markers of one frame; got {frames}")
        if marker.header.stamp != header.stamp:
            raise MessageError("stamp", "expected markers of one instant; got several stamps")
    rows = ((str(marker.id), CATEGORIES.get(marker.ns.lower()), marker.pose) for marker in markers)
    return _seen(header, rows)


def _says(header: Any) -> bool:
    """Whether where and when: those who remove markers often leave out one or both."""
    return bool(header.frame_id and (header.stamp.sec or header.stamp.nanosec))


def from_detections(message: Any) -> Seen:
    """Of a vision_msgs/Detection3DArray: `id` is the track, the best hypothesis the class."""

    def category(detection: Any) -> str | None:
        results = [result.hypothesis for result in detection.results]
        best = max(results, key=lambda hypothesis: hypothesis.score, default=None)
        return None if best is None else CATEGORIES.get(str(best.class_id).lower())

    rows = ((d.id, category(d), d.bbox.center) for d in message.detections)
    return _seen(message.header, rows)


def from_tracked_objects(message: Any) -> Seen:
    """Of an autoware_perception_msgs/TrackedObjects."""

    def category(tracked: Any) -> str | None:
        best = max(tracked.classification, key=lambda each: each.probability, default=None)
        return None if best is None else _AUTOWARE.get(best.label)

    rows = (
        (bytes(o.object_id.uuid).hex(), category(o), o.kinematics.pose_with_covariance.pose)
        for o in message.objects
    )
    return _seen(message.header, rows)


def nobody(header: Any) -> Seen:
    """No agents."""
    return _seen(header, ())


def _seen(header: Any, rows: Iterable[tuple[str, str | None, Any]]) -> Seen:
    unusable: Counter[str] = Counter()
    names, categories, poses = [], [], []
    for name, category, pose in rows:
        p, q = pose.position, pose.orientation
        if category is None:
            unusable["unknown_class"] += 1
        elif not np.isfinite([p.x, p.y, q.x, q.y, q.z, q.w]).all() or max(abs(p.x), abs(p.y)) > 1e8:
            unusable["bad_pose"] += 1
        else:
            names.append(name)
            categories.append(category)
            poses.append((p.x, p.y, q.x, q.y, q.z, q.w))
    x, y, qx, qy, qz, qw = np.array(poses, dtype=np.float64).reshape(-1, 6).T
    yaw = np.arctan2(2 * (qw * qz + qx * qy), qw * qw + qx * qx - qy * qy - qz * qz)
    agents = Observations(
        id=np.array(names, dtype=str),
        category=np.array(categories, dtype=str),
        xy=np.stack([x, y], axis=-1),
        yaw=yaw,
    )
    return Seen(header, agents, unusable)

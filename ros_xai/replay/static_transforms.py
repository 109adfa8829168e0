"""Fixed transforms of a bag, for nodes that have no tf to listen to."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.core.geometry import invert, pose, rotation_from_quaternion
from ros_xai.replay.bag import Bag, DecodeError

Edges = dict[str, dict[str, NDArray[np.float64]]]


def between_sensors(bag: Bag, camera_topic: str, lidar_topic: str) -> NDArray[np.float64] | None:
    """T_camera_lidar [4,4] from /tf_static and the frames of two topics' first messages.

    None where the bag does not connect the two frames.
    """
    edges: Edges = {}
    frames: dict[str, str] = {}
    for record in bag.records():
        if record.topic not in (camera_topic, lidar_topic, "/tf_static"):
            continue
        try:
            message = bag.decode(record)
        except DecodeError:
            continue
        if record.topic == "/tf_static":
            for transform in message.transforms:
                _add(edges, transform)
        else:
            frames.setdefault(record.topic, message.header.frame_id)
        if camera_topic in frames and lidar_topic in frames:
            T = chained(edges, frames[camera_topic], frames[lidar_topic])
            if T is not None:
                return T
    return None


def chained(edges: Edges, target: str, source: str) -> NDArray[np.float64] | None:
    """T_target_source along the tree of transforms; None where they are not connected."""
    reached = {target: np.eye(4)}
    queue = deque([target])
    while queue:
        frame = queue.popleft()
        if frame == source:
            return reached[frame]
        for neighbour, T_frame_neighbour in edges.get(frame, {}).items():
            if neighbour not in reached:
                reached[neighbour] = reached[frame] @ T_frame_neighbour
                queue.append(neighbour)
    return None


def _add(edges: Edges, transform: Any) -> None:
    t, q = transform.transform.translation, transform.transform.rotation
    try:
        T_parent_child = pose(rotation_from_quaternion([q.x, q.y, q.z, q.w]), [t.x, t.y, t.z])
    except ValueError:
        return  # a rotation by no quaternion: as if the link were not there
    parent, child = transform.header.frame_id, transform.child_frame_id
    edges.setdefault(parent, {})[child] = T_parent_child
    edges.setdefault(child, {})[parent] = invert(T_parent_child)

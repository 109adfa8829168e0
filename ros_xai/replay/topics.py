"""Which topic of a bag feeds which input of the nodes, and which hold ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ros_xai.replay.bag import Topic

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINTS = "sensor_msgs/msg/PointCloud2"
TRACKS = "visualization_msgs/msg/MarkerArray"
GRID = "nav_msgs/msg/OccupancyGrid"
TRUTH = "/gt/"  # where ground truth lives: never an input
TRUTH_DEPTH = "/gt/depth"
TRUTH_POINTS = "/gt/points"
TRUTH_LABELS = "/gt/labels"

INPUTS = {
    "image": (IMAGE,),
    "image/compressed": (COMPRESSED_IMAGE,),
    "camera_info": (CAMERA_INFO,),
    "points": (POINTS,),
    "tracks": (TRACKS,),
    "map": (GRID,),
    "map/lane_dividers": (GRID,),
    "map/crossings": (GRID,),
}


class TopicError(ValueError):
    """The bag does not say which topic is meant; names the candidates and the option to set."""


def assign(
    topics: Mapping[str, Topic], given: Mapping[str, str], wanted: Iterable[str]
) -> dict[str, str]:
    """The bag's topic for each relative name of `wanted` (a key of INPUTS) that the bag can feed.

    `given` decides where it speaks (`{"image": "/camera/image"}`). Else the image is the one with a
    CameraInfo beside it, its raw form before its compressed one; the CameraInfo is the one beside
    the image; any other input is the only topic of its type that is not ground truth.

    Raises:
        TopicError: a given topic is not in the bag, or several topics fit an input.
    """
    wanted = set(wanted)
    for name, topic in given.items():
        if name in wanted and topic not in topics:
            raise TopicError(f"{name}: the bag has no {topic}; it has {_listed(topics)}")
    chosen = {name: topic for name, topic in given.items() if name in wanted}
    if wanted & {"image", "image/compressed"} and not chosen.keys() & {"image", "image/compressed"}:
        chosen |= _image(topics, wanted)
    image = chosen.get("image") or chosen.get("image/compressed")
    for name in wanted - chosen.keys() - {"image", "image/compressed"}:
        candidates = _of_type(topics, INPUTS[name])
        if name == "camera_info" and image:
            candidates = [t for t in candidates if _beside(t, image)] or candidates
        if name.startswith("map"):  # layers of one type are told apart by their names
            layers = ("map", "drivable") if name == "map" else (PurePosixPath(name).name,)
            candidates = [t for t in candidates if PurePosixPath(t).name in layers]
        if only := _only(name, candidates):
            chosen[name] = only
    return chosen


def _image(topics: Mapping[str, Topic], wanted: set[str]) -> dict[str, str]:
    """{"image": topic} or {"image/compressed": topic}, or nothing."""
    cameras = _of_type(topics, (CAMERA_INFO,))
    for name in ("image", "image/compressed"):
        candidates = _of_type(topics, INPUTS[name]) if name in wanted else []
        beside = [t for t in candidates if any(_beside(camera, t) for camera in cameras)]
        if topic := _only(name, beside or candidates):
            return {name: topic}
    return {}


def _of_type(topics: Mapping[str, Topic], types: tuple[str, ...]) -> list[str]:
    return [
        name for name, topic in topics.items() if topic.type in types and not name.startswith(TRUTH)
    ]


def _beside(camera_info: str, image: str) -> bool:
    """Whether the image lies in the namespace of the CameraInfo (/camera/image/compressed too)."""
    return PurePosixPath(camera_info).parent in PurePosixPath(image).parents


def _only(name: str, candidates: list[str]) -> str | None:
    if len(candidates) > 1:
        raise TopicError(
            f"{name}: several topics fit: {', '.join(candidates)}; "
            f"choose one with --remap {name}:={candidates[0]}"
        )
    return candidates[0] if candidates else None


def _listed(topics: Mapping[str, Topic]) -> str:
    return ", ".join(sorted(topics)) or "no topic at all"

"""One replay, from a bag to a folder of results."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.parameter import Parameter

from ros_xai.replay.bag import Bag
from ros_xai.replay.frames import Roles
from ros_xai.replay.labels import LabelRoles
from ros_xai.replay.results import write_json
from ros_xai.replay.scan import Scan, scan
from ros_xai.replay.session import Outcome, Pace, Session
from ros_xai.replay.static_transforms import between_sensors
from ros_xai.replay.topics import TRUTH_DEPTH, TRUTH_LABELS, TRUTH_POINTS, assign

DEPTH = "depth/image"
LABELS = "segmentation/labels"
FORECAST = "forecast/points"
PACKAGES = ("ros_xai", "rclpy", "torch", "numpy", "opencv-python-headless", "rosbags", "mcap")


@dataclass(frozen=True)
class Plan:
    """What to replay and how.

    `topics` maps relative names of inputs to topics of the bag, `config` is a ROS parameter file.
    """

    bag: Path
    out: Path
    pace: Pace
    topics: Mapping[str, str]
    config: Path | None = None


@dataclass(frozen=True)
class NodeKind:
    """How to make a node, the relative names of its inputs, and the output that is its answer."""

    make: Callable[..., Any]
    inputs: tuple[str, ...]
    answer: str


class Progress:
    """Is told what goes on; this one is silent."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A part of the work begins, of `total` steps where that is known."""

    def step(self) -> None:
        """One step of it is done."""


def run(plan: Plan, kinds: Sequence[NodeKind], progress: Progress) -> None:
    """Replay the bag into new nodes and write outputs.mcap, run.json and timing.json.

    Raises:
        OSError, BagError, TopicError, ReplayError, ConfigError: what is wrong, and what to do.
    """
    bag = Bag(plan.bag)
    progress.stage("scan")
    found = scan(bag, progress.step)
    topics = assign(bag.topics, plan.topics, {name for kind in kinds for name in kind.inputs})
    image = topics.get("image") or topics.get("image/compressed")
    watched = image or topics.get("tracks")
    T = between_sensors(bag, image, topics["points"]) if image and "points" in topics else None
    plan.out.mkdir(parents=True, exist_ok=True)
    nodes: list[Any] = []
    placed: list[float] | None = None
    context = _context(plan.pace.lockstep)
    try:
        for kind in kinds:
            nodes.append(_make(kind, plan, topics, context))
            placed = _place_lidar(nodes[-1], T) or placed
        progress.stage("replay", found.messages)
        session = Session(bag, nodes, watched, plan.out / "outputs.mcap", plan.pace, context)
        outcome = session.run(progress.step)
        answers = {n.get_name(): n.resolve_topic_name(k.answer) for n, k in zip(nodes, kinds)}
        ran = {
            "roles": _roles(nodes, bag, topics),
            "labels": _label_roles(nodes, bag, image),
            "forecasts": _published(nodes, FORECAST),
            "parameters": {node.get_name(): _parameters(node) for node in nodes},
            "T_camera_lidar": placed,
        }
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=context)
    ran |= _description(plan, found, topics, outcome)
    write_json(plan.out / "run.json", ran)
    write_json(plan.out / "timing.json", _timing(outcome, answers))


def _context(lockstep: bool) -> rclpy.Context:
    """A context of ROS; in lock-step one that no other process can disturb or be disturbed by."""
    variable = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    before = os.environ.get(variable)
    if lockstep:
        os.environ[variable] = "OFF"
    try:
        context = rclpy.Context()
        rclpy.init(context=context)
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before
    return context


def _make(kind: NodeKind, plan: Plan, topics: Mapping[str, str], context: rclpy.Context) -> Any:
    """The node, connected to the bag's topics and to its clock.

    In lock-step no message may be lost on the way: the inputs are reliable then.
    """
    values: dict[str, Any] = {"use_sim_time": True}
    if kind.answer == DEPTH:
        values["publish_sparse"] = True
    if "image/compressed" in topics:
        values["image_transport"] = "compressed"
    if plan.pace.lockstep:
        names = (f"qos_overrides.{topic}.subscription.reliability" for topic in topics.values())
        values |= dict.fromkeys(names, "reliable")
    arguments = ["--ros-args"]
    for name, topic in topics.items():
        arguments += ["-r", f"{name}:={topic}"]
    if plan.config is not None:
        arguments += ["--params-file", str(plan.config)]
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return kind.make(context=context, cli_args=arguments, parameter_overrides=overrides)


def _place_lidar(node: Any, T_camera_lidar: NDArray[np.float64] | None) -> list[float] | None:
    """Give the node the bag's transform unless its configuration holds one; returns what it has."""
    name = "T_camera_lidar"
    if not node.has_parameter(name):
        return None
    if T_camera_lidar is not None and not node.get_parameter(name).value:
        node.set_parameters([Parameter(name, value=T_camera_lidar.ravel().tolist())])
    return list(node.get_parameter(name).value or ()) or None


def _roles(nodes: Sequence[Any], bag: Bag, topics: Mapping[str, str]) -> dict[str, Any] | None:
    """Where the depth figures come from; None when no node answers with depth."""
    for node in nodes:
        depth, sparse, info = map(
            node.resolve_topic_name, (DEPTH, "depth/sparse", "depth/camera_info")
        )
        if depth in {publisher.topic_name for publisher in node.publishers}:
            return asdict(
                Roles(
                    image=topics.get("image") or topics.get("image/compressed"),
                    truth_depth=TRUTH_DEPTH if TRUTH_DEPTH in bag.topics else None,
                    truth_points=TRUTH_POINTS if TRUTH_POINTS in bag.topics else None,
                    depth=depth,
                    sparse=sparse,
                    camera_info=info,
                    lens=topics.get("camera_info"),
                )
            )
    return None


def _label_roles(nodes: Sequence[Any], bag: Bag, image: str | None) -> dict[str, Any] | None:
    """Where the figures of segmentation come from; None when no node answers with labels."""
    for node in nodes:
        labels, names = map(node.resolve_topic_name, (LABELS, "segmentation/label_names"))
        if labels in {publisher.topic_name for publisher in node.publishers}:
            truth = TRUTH_LABELS if TRUTH_LABELS in bag.topics else None
            return asdict(LabelRoles(image, truth, labels, names))
    return None


def _published(nodes: Sequence[Any], name: str) -> str | None:
    """The topic of an output; None when no node has it."""
    for node in nodes:
        topic: str = node.resolve_topic_name(name)
        if topic in {publisher.topic_name for publisher in node.publishers}:
            return topic
    return None


def _parameters(node: Any) -> dict[str, Any]:
    found = node.get_parameters_by_prefix("")
    values = {name: parameter.value for name, parameter in sorted(found.items())}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """Arrays of parameters as lists."""
    return value if value is None or isinstance(value, bool | int | float | str) else list(value)


def _description(
    plan: Plan,
    found: Scan,
    topics: Mapping[str, str],
    outcome: Outcome,
) -> dict[str, Any]:
    return {
        "bag": {"path": str(plan.bag.resolve()), **found.to_dict()},
        "pace": asdict(plan.pace),
        "topics": dict(topics),
        "config": None if plan.config is None else plan.config.read_text(),
        "nodes": outcome.nodes,
        "frames_in": len(outcome.frames),
        "sent": outcome.sent,
        "recorded": outcome.recorded,
        "lost": outcome.lost,
        "unplayable": outcome.unplayable,
        "stopped": outcome.stopped,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": _versions(),
    }


def _timing(outcome: Outcome, answers: Mapping[str, str]) -> dict[str, Any]:
    """Per answered frame: time from the image's being played to the answer's being recorded.

    `answers` maps nodes to the topics of their answers; those of the first node are the frames'.
    """
    # Of images with one stamp the first counts: nodes drop the others as duplicates.
    sent = {frame.stamp_ns: frame for frame in reversed(outcome.frames)}
    times: dict[str, list[dict[str, Any]]] = {node: [] for node in answers}
    nodes = {topic: node for node, topic in answers.items()}
    for arrival in outcome.arrivals:
        if arrival.topic in nodes and arrival.stamp_ns in sent:
            image = sent[arrival.stamp_ns]
            times[nodes[arrival.topic]].append(
                {
                    "stamp_ns": arrival.stamp_ns,
                    "clock_ms": (arrival.clock_ns - image.log_ns) / 1e6,
                    "wall_ms": 1e3 * (arrival.wall_s - image.wall_s),
                }
            )
    first = next(iter(times.values()), [])
    return {"wall_s": outcome.wall_s, "answers": first, "nodes": times}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found

"""Starts the perception nodes, in one process or one each.

ros2 launch ros_xai perception.launch.py image:=/camera/image points:=/lidar/points \
    camera_info:=/camera/camera_info config:=my_car.yaml
ros2 launch ros_xai perception.launch.py remaps:=autoware explanation:=false respawn:=true
ros2 launch ros_xai perception.launch.py composed:=false depth_engine:=openvino rviz:=true
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

NODES = ("depth", "segmentation", "forecasting", "explanation")
WITH_ENGINE = ("depth", "segmentation", "explanation")
TOPICS = {
    "image": "the camera's image; its compressed form is expected at .../compressed",
    "camera_info": "the camera's calibration",
    "points": "the LiDAR's points",
    "tracks": "tracked road users",
    "map": "the map of the forecasting node",
}
SWITCH = ["true", "false"]
PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE"

# name -> (default, description, choices if only some values are good)
ARGUMENTS = {
    **{node: ("true", f"run the {node} node", SWITCH) for node in NODES},
    "config": (
        PathJoinSubstitution([FindPackageShare("ros_xai"), "config", "perception.yaml"]),
        "parameter file of the nodes",
        None,
    ),
    "namespace": ("", "namespace of the nodes and of their relative topics", None),
    "use_sim_time": ("false", "take time from /clock: true for bags and simulators", SWITCH),
    **{
        f"{node}_engine": (
            "",
            f"what runs the network of {node}: torch, onnxruntime, openvino, openvino-bf16; "
            "empty: as config says",
            None,
        )
        for node in WITH_ENGINE
    },
    **{
        topic: ("", f"topic of {what}; empty: '{topic}' in the namespace", None)
        for topic, what in TOPICS.items()
    },
    "remaps": (
        "",
        "YAML file with a line FROM: TO for each topic, or the name of one in config: autoware",
        None,
    ),
    "shared_memory": (
        "true",
        "give Fast DDS shared memory for whole images (config/fastdds.xml), unless "
        "FASTDDS_DEFAULT_PROFILES_FILE is set",
        SWITCH,
    ),
    "composed": ("true", "all nodes in one process, which decodes each image once", SWITCH),
    "rviz": ("false", "show inputs and answers in RViz", SWITCH),
    "log_level": (
        "info",
        "what the nodes log",
        ["debug", "info", "warn", "error", "fatal"],
    ),
    "respawn": ("false", "start a process again a second after it has died", SWITCH),
}


def generate_launch_description() -> LaunchDescription:
    """The launch description that `ros2 launch` asks for."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_processes)])


def _processes(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    enabled = [node for node in NODES if given[node] == "true"]
    common = {
        "package": "ros_xai",
        "namespace": given["namespace"],
        "arguments": ["--ros-args", "--log-level", given["log_level"]],
        "parameters": [
            given["config"],
            {"use_sim_time": given["use_sim_time"] == "true"},
            _parameter_file(given),
        ],
        "remappings": list(_remaps(context, given).items()),
        "additional_env": _environment(context, given),
        "respawn": given["respawn"] == "true",
        "respawn_delay": 1.0,
        "output": "screen",
    }
    if given["composed"] == "true":
        # Without a name: it would be given to every node of the process.
        processes = [Node(executable="perception", **common)]
    else:
        processes = [Node(executable=node, name=node, **common) for node in enabled]
    if given["rviz"] == "true":
        processes.append(_rviz(context, given, common["remappings"]))
    return processes


def _parameter_file(given: dict[str, str]) -> str:
    """What the arguments say of single nodes; launch_ros itself can only tell all nodes alike."""
    nodes = {"perception": {node: given[node] == "true" for node in NODES}}
    nodes |= {
        node: {"engine": given[f"{node}_engine"]} for node in WITH_ENGINE if given[f"{node}_engine"]
    }
    content = {f"/**/{node}": {"ros__parameters": values} for node, values in nodes.items()}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        yaml.safe_dump(content, file)
    return file.name


def _environment(context: LaunchContext, given: dict[str, str]) -> dict[str, str]:
    if given["shared_memory"] != "true" or PROFILES in os.environ:
        return {}
    share = FindPackageShare("ros_xai").perform(context)
    return {PROFILES: str(Path(share) / "config" / "fastdds.xml")}


def _remaps(context: LaunchContext, given: dict[str, str]) -> dict[str, str]:
    """The file's remappings, and over them the topics that were given."""
    remaps: dict[str, str] = {}
    if name := given["remaps"]:
        path = Path(name)
        if not path.suffix:
            share = FindPackageShare("ros_xai").perform(context)
            path = Path(share) / "config" / f"{name}.yaml"
        remaps = yaml.safe_load(path.read_text())
    for topic in TOPICS:
        if given[topic]:
            remaps[topic] = given[topic]
    if given["image"]:
        remaps["image/compressed"] = f"{given['image']}/compressed"
    return remaps


def _rviz(context: LaunchContext, given: dict[str, str], remappings: list[tuple[str, str]]) -> Node:
    share = FindPackageShare("ros_xai").perform(context)
    layout = Path(share) / "config" / "perception.rviz"
    if namespace := given["namespace"].strip("/"):
        # The layout names topics from the root.
        text = layout.read_text().replace("Value: /", f"Value: /{namespace}/")
        with tempfile.NamedTemporaryFile("w", suffix=".rviz", delete=False) as file:
            file.write(text)
        layout = Path(file.name)
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=given["namespace"],
        arguments=["-d", str(layout)],
        parameters=[{"use_sim_time": given["use_sim_time"] == "true"}],
        remappings=remappings,
        output="screen",
    )

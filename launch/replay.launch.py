"""Plays a bag into the nodes, records their answers, and writes the report.

ros2 launch ros_xai replay.launch.py bag:=drive.mcap out:=results lockstep:=true
ros2 launch ros_xai replay.launch.py bag:=drive.mcap rate:=0.5 rviz:=true
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackagePrefix, FindPackageShare

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "bag": (None, "bag to play: .mcap, .db3 or a rosbag2 folder"),
    "out": ("", "folder of results; empty: out/NAME_OF_THE_BAG"),
    "config": (
        PathJoinSubstitution([FindPackageShare("ros_xai"), "config", "perception.yaml"]),
        "parameter file of the nodes",
    ),
    "nodes": ("depth", "nodes to run, by comma"),
    "lockstep": ("false", "every message waits for its answers; other processes see nothing"),
    "rate": ("1.0", "speed against the recording, unless in lock-step"),
    "rviz": ("false", "show bag and answers in RViz, unless in lock-step"),
}


def generate_launch_description() -> LaunchDescription:
    """The launch description that `ros2 launch` asks for."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=[
            "-d",
            PathJoinSubstitution([FindPackageShare("ros_xai"), "config", "perception.rviz"]),
        ],
        parameters=[{"use_sim_time": True}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, rviz, OpaqueFunction(function=_replay)])


def _replay(context: LaunchContext) -> list[ExecuteProcess]:
    """`ros_xai replay` with the options that were given; nodes and player share its process."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    command = PathJoinSubstitution([FindPackagePrefix("ros_xai"), "lib", "ros_xai", "ros_xai"])
    options = ["--config", given["config"], "--nodes", given["nodes"]]
    options += ["--out", given["out"]] if given["out"] else []
    lockstep = given["lockstep"].lower() == "true"
    options += ["--lockstep"] if lockstep else ["--rate", given["rate"]]
    return [ExecuteProcess(cmd=[command, "replay", given["bag"], *options], output="screen")]

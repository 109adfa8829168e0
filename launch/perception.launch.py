"""Starts the perception nodes.

ros2 launch ros_xai perception.launch.py image:=/camera/image points:=/lidar/points \
    camera_info:=/camera/camera_info config:=my_car.yaml
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

ARGUMENTS = {
    "depth": ("true", "run the depth node"),
    "config": (
        PathJoinSubstitution([FindPackageShare("ros_xai"), "config", "perception.yaml"]),
        "parameter file of the nodes",
    ),
    "namespace": ("", "namespace of the nodes and of their relative topics"),
    "use_sim_time": ("false", "take time from /clock: true for bags and simulators"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "respawn": ("false", "start a node again when it has died"),
    "image": ("image", "topic of the camera's image; its /compressed form is found below it"),
    "camera_info": ("camera_info", "topic of the camera's calibration"),
    "points": ("points", "topic of the LiDAR's points"),
}


def generate_launch_description() -> LaunchDescription:
    """The launch description that `ros2 launch` asks for."""
    image = LaunchConfiguration("image")
    depth = Node(
        package="ros_xai",
        executable="depth",
        name="depth",
        namespace=LaunchConfiguration("namespace"),
        condition=IfCondition(LaunchConfiguration("depth")),
        parameters=[
            LaunchConfiguration("config"),
            {"use_sim_time": LaunchConfiguration("use_sim_time")},
        ],
        remappings=[
            ("image", image),
            ("image/compressed", [image, "/compressed"]),
            ("camera_info", LaunchConfiguration("camera_info")),
            ("points", LaunchConfiguration("points")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=1.0,
        output="screen",
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, depth])

"""Geometry, cameras, point clouds and configuration: numpy only, no files, no ROS."""

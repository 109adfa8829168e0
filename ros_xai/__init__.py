"""Explainable onboard perception of a self-driving car, as ROS 2 nodes."""

__version__ = "0.1.0"

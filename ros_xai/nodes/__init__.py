"""One thin ROS node per task."""

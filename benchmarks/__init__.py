"""Benchmarks of speed and of the papers' claims; `ros_xai bench NAME` runs one."""

"""Metric depth from one camera and a few LiDAR beams (LiDARTouch, arXiv 2109.03569)."""

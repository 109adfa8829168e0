"""Semantic segmentation: one network, its adaptation to new domains (MTUDA) and classes (PLOP)."""

from ros_xai.segmentation.segmenter import Segmenter

__all__ = ["Segmenter"]

"""Semantic segmentation: one network, its adaptation to new domains (MTUDA) and classes (PLOP)."""

from __future__ import annotations

from typing import Any

__all__ = ["Segmenter"]


def __getattr__(name: str) -> Any:
    """`ros_xai.segmentation.Segmenter`, loaded when asked for: metrics do not need torch."""
    if name == "Segmenter":
        from ros_xai.segmentation.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Inference engines behind one protocol: named arrays in, named arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ros_xai.engines.backends import Backend
    from ros_xai.engines.base import Engine


def load(
    bundle: str | Path, backend: Backend | Literal["auto"] = "auto", threads: int = 0
) -> Engine:
    """The network of a bundle on an engine, by default the fastest here; see `loading.load`."""
    # torch and the engines take seconds to import; this package is imported by everyone
    from ros_xai.engines.loading import load as load_bundle

    return load_bundle(bundle, backend, threads)

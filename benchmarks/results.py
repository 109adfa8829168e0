"""How benchmarks write what they measured: docs/results/NAME.json."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results"
PACKAGES = ("ros_xai", "torch", "numpy", "opencv-python-headless", "onnxruntime", "openvino")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def write(name: str, command: str, figures: Any, folder: Path = FOLDER, **meta: Any) -> Path:
    """Write docs/results/NAME.json: the figures with the command, date and versions behind them.

    `figures` is anything JSON can hold; `meta` (seeds, budget, data) is stored beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": {"cores": os.cpu_count(), "architecture": platform.machine()},
        "versions": versions(),
        **meta,
        "figures": figures,
    }
    path = folder / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    part.replace(path)
    return path

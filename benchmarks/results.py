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
FEATURES = ("avx2", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")  # that engines use
PACKAGES = ("ros_xai", "torch", "numpy", "opencv-python-headless", "onnxruntime", "openvino")


def machine() -> dict[str, Any]:
    """Cores, architecture and, where Linux tells, the processor and its features for networks."""
    found: dict[str, Any] = {"cores": os.cpu_count(), "architecture": platform.machine()}
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" in told:
        has = told.get("flags", "").split()
        found |= {"processor": told["model name"], "features": [f for f in FEATURES if f in has]}
    return found


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
        "machine": machine(),
        "versions": versions(),
        **meta,
        "figures": figures,
    }
    path = folder / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    part.replace(path)
    return path

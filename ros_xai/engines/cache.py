"""What engines remember per machine: compiled files and which backend was fastest.

An engine file is untrusted input. It is used only when it lies in the cache folder beside a record
whose key is the wanted one and whose SHA-256 is the file's; otherwise it is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """$ROS_XAI_CACHE, else ros_xai in the user's cache folder."""
    given = os.environ.get("ROS_XAI_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ros_xai"


@dataclass(frozen=True)
class EngineKey:
    """All that a compiled engine depends on. shapes: least, usual and largest sizes per input."""

    model: str  # SHA-256 of the ONNX graph
    version: str  # of TensorRT
    gpu: str
    compute_capability: str
    precision: str
    shapes: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]

    @property
    def digest(self) -> str:
        """Names the files of this key."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def text(self) -> str:
        """The key as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


class EngineCache:
    """Compiled engines in ``folder``: DIGEST.engine with DIGEST.json."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "tensorrt"

    def get(self, key: EngineKey, build: Callable[[], bytes]) -> tuple[bytes, str]:
        """The engine of the key, and "cached" or why it was built."""
        data, why = self._read(key)
        if data is not None:
            return data, "cached"
        data = build()
        self._write(key, data)
        return data, why

    def forget(self, key: EngineKey) -> None:
        """Remove an engine that turned out not to load."""
        for file in self._files(key):
            file.unlink(missing_ok=True)

    def _files(self, key: EngineKey) -> tuple[Path, Path]:
        return self.folder / f"{key.digest}.engine", self.folder / f"{key.digest}.json"

    def _read(self, key: EngineKey) -> tuple[bytes | None, str]:
        engine, record = self._files(key)
        if engine.is_symlink() or record.is_symlink():
            return None, "rebuilt: a link in the cache is not followed"
        try:
            found = json.loads(record.read_text())
            data = engine.read_bytes()
        except FileNotFoundError:
            return None, "built"
        except (OSError, ValueError):
            return None, "rebuilt: its record cannot be read"
        if not isinstance(found, dict) or found.get("key") != json.loads(key.text):
            return None, "rebuilt: its record is of another key"
        if found.get("sha256") != hashlib.sha256(data).hexdigest():
            return None, "rebuilt: the file is not the one that was recorded"
        return data, "cached"

    def _write(self, key: EngineKey, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine, record = self._files(key)
        document = {"key": json.loads(key.text), "sha256": hashlib.sha256(data).hexdigest()}
        write_atomic(engine, data)
        write_atomic(record, json.dumps(document, indent=1).encode())


class Memory:
    """Which backend was fastest, by bundle, shapes, threads and machine: one JSON file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or cache_folder() / "fastest.json"

    def read(self, key: str) -> str | None:
        """The backend remembered under the key; None when there is none or it cannot be read."""
        found = self._all().get(key)
        return found.get("backend") if isinstance(found, dict) else None

    def write(self, key: str, backend: str, milliseconds: Mapping[str, float]) -> None:
        """Remember a backend. What cannot be written is measured again next time."""
        everything = self._all()
        everything[key] = {"backend": backend, "milliseconds": dict(milliseconds)}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.file, json.dumps(everything, indent=1).encode())
        except OSError:
            return

    def _all(self) -> dict[str, Any]:
        try:
            found = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def machine() -> dict[str, Any]:
    """What a measured time is valid for."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {"host": platform.node(), "cpu": model, "cores": os.cpu_count()}


def write_atomic(file: Path, data: bytes) -> None:
    """Write so that a reader sees the old file or the new one, never a part."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(file)

"""What is run: a candidate configuration on a bag, known by the hash of all that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

import ros_xai
from ros_xai.core.config import ConfigError

PACKAGE = Path(ros_xai.__file__).parent
DEFAULT = "default"


@dataclass(frozen=True)
class Candidate:
    """A configuration of the nodes: the text of a ROS parameter file, empty for the defaults."""

    name: str
    text: str = ""
    path: Path | None = None
    sha256: str = ""

    @classmethod
    def of(cls, path: Path | None) -> Candidate:
        """Named as its file.

        Raises:
            ConfigError: the file is no ROS parameter file.
        """
        if path is None:
            return cls(DEFAULT, sha256=_digest([""]))
        try:
            text = path.read_text()
            content = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no YAML: {error}") from None
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: expected a ROS parameter file")
        # Networks are given by path: other content under the same path is another configuration.
        files = [hashlib.sha256(f.read_bytes()).hexdigest() for f in _files(content)]
        return cls(path.stem, text, path.resolve(), _digest([text, *files]))


@dataclass(frozen=True)
class Needs:
    """What one task takes of a machine; memory in bytes, time in seconds."""

    cpus: int = 1
    gpus: float = 0.0
    memory: int = 2 << 30
    timeout_s: float = 3600.0


@dataclass(frozen=True)
class Task:
    """One candidate on one bag. `topics` as `ros_xai replay --remap`."""

    bag: str
    bag_path: Path
    bag_sha256: str
    candidate: Candidate
    version: str
    topics: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    needs: Needs = field(default_factory=Needs)

    @property
    def key(self) -> str:
        """Equal for tasks that must give equal rows."""
        parts = [self.bag_sha256, self.candidate.sha256, self.version, dict(self.topics)]
        return _digest(parts)[:32]


def candidates(paths: list[Path]) -> list[Candidate]:
    """One per file, by distinct names; the defaults where there is none."""
    found = [Candidate.of(path) for path in paths or [None]]
    names = [candidate.name for candidate in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"several configurations are named {repeated.pop()}: rename the files")
    return found


@cache
def version() -> str:
    """Version of the package with a hash of its code and weights: other code, other rows."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".safetensors", ".json") and path.is_file():
            digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return f"{metadata.version('ros_xai')}+{digest.hexdigest()[:12]}"


def _files(content: Any) -> Iterator[Path]:
    """Files that a parameter file names, with their cards; of a bundle the card, which holds the
    hashes of the rest."""
    if isinstance(content, dict):
        for _, value in sorted(content.items(), key=lambda item: str(item[0])):
            yield from _files(value)
    elif isinstance(content, str) and content and "\n" not in content:
        named = Path(content)
        beside = (
            named.with_suffix(".json") if named.suffix == ".safetensors" else named / "card.json"
        )
        yield from (path for path in (named, beside) if path.is_file())


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

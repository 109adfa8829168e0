"""Which bags a run is about: files, rosbag2 folders, collections, patterns and manifests."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ros_xai.core.config import ConfigError, from_mapping
from ros_xai.replay.bag import STORAGE, Bag, BagError
from ros_xai.replay.results import read_json, write_json

MANIFESTS = (".yaml", ".yml", ".txt")
HASHING_THREADS = 4


@dataclass(frozen=True)
class BagFile:
    """A bag by a name that is its own within the run; nothing need be at the path.

    `tags` say what the bag cannot (place, domain, time of day) and make slices of the report;
    `node` is the host that holds the bag, near which it is best evaluated. `sha256` is that of the
    content as `ros_xai bag info` gives it, where it is known: then it is not read for it.
    """

    name: str
    path: Path
    tags: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class _Entry:
    """One bag of a YAML manifest."""

    path: str
    name: str = ""
    tags: Any = None
    node: str = ""
    sha256: str = ""


def find(arguments: Iterable[str]) -> list[BagFile]:
    """The bags that the arguments mean, each path once, in their order.

    A folder with metadata.yaml is one bag; any other folder is a collection: all .mcap and .db3
    files and all rosbag2 folders below it. A path where nothing is stays in the list, so that it is
    reported by name.

    Raises:
        ConfigError: a folder or pattern holds no bag, or a manifest cannot be read.
    """
    found: dict[Path, BagFile] = {}
    for argument in arguments:
        for bag in _of(argument):
            found.setdefault(bag.path.absolute(), bag)
    return _named(found)


def _of(argument: str) -> Iterator[BagFile]:
    path = Path(argument)
    if not path.exists() and glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))
        if not matches:
            raise ConfigError(f"no bag fits the pattern {argument}")
        for match in matches:
            yield from _of(match)
    elif path.suffix in MANIFESTS and path.is_file():
        yield from _manifest(path)
    elif path.is_dir() and not (path / "metadata.yaml").is_file():
        yield from _collection(path)
    else:
        yield BagFile("", path)


def _collection(folder: Path) -> Iterator[BagFile]:
    bags = []
    for inner, folders, files in os.walk(folder):
        if "metadata.yaml" in files:
            bags.append(Path(inner))
            folders.clear()  # its storage files are no bags of their own
        else:
            bags += [Path(inner) / name for name in files if name.endswith(STORAGE)]
    if not bags:
        raise ConfigError(f"no bag in {folder}: expected {' or '.join(STORAGE)} files or rosbag2")
    for path in sorted(bags):
        yield BagFile("", path)


def _manifest(path: Path) -> Iterator[BagFile]:
    """Paths relative to the manifest: a line each, or `bags:` of paths and mappings in YAML."""
    if path.suffix == ".txt":
        try:
            text = path.read_text()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is no text: {error}") from None
        for line in map(str.strip, text.splitlines()):
            if line and not line.startswith("#"):
                yield BagFile("", path.parent / line)
        return
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("bags"), list):
        raise ConfigError(f"{path}: expected `bags:` with a list of paths or mappings")
    for index, item in enumerate(content["bags"]):
        where = f"{path}: bags[{index}]"
        if not isinstance(item, str | dict):
            raise ConfigError(f"{where}: expected a path or a mapping; got {item!r}")
        entry = from_mapping(_Entry, {"path": item} if isinstance(item, str) else item, where)
        tags = entry.tags or {}
        if not isinstance(tags, dict):
            raise ConfigError(f"{where}.tags: expected a mapping; got {tags!r}")
        texts = {str(key): str(value) for key, value in tags.items()}
        yield BagFile(entry.name, path.parent / entry.path, texts, entry.node, entry.sha256)


def _named(bags: Mapping[Path, BagFile]) -> list[BagFile]:
    """By file name without its ending where that is unique, else by path below the common one."""
    short = {path: bag.name or path.stem for path, bag in bags.items()}
    counts = Counter(short.values())
    common = os.path.commonpath([path.parent for path in bags]) if bags else ""
    return [
        replace(
            bag, name=short[path] if counts[short[path]] == 1 else os.path.relpath(path, common)
        )
        for path, bag in bags.items()
    ]


def fingerprints(bags: Sequence[BagFile], cache: Path) -> dict[str, str | None]:
    """The content's sha256 of each bag by name; None where nothing can be read.

    What is no bag is hashed as a file. A bag whose files have the sizes and times of modification
    that `cache` knows is not read again.
    """
    known: dict[str, dict[str, Any]] = read_json(cache) if cache.is_file() else {}
    with ThreadPoolExecutor(HASHING_THREADS) as pool:  # hashing and reading release the interpreter
        entries = dict(zip((b.name for b in bags), pool.map(lambda b: _hashed(b, known), bags)))
    fresh = {str(bag.path): entries[bag.name] for bag in bags if entries[bag.name]["state"]}
    write_json(cache, known | fresh)
    return {name: entry["sha256"] for name, entry in entries.items()}


def _hashed(bag: BagFile, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if bag.sha256:
        return {"state": "", "sha256": bag.sha256 if bag.path.exists() else None}
    state = _state(bag.path)
    entry = known.get(str(bag.path))
    if entry is not None and entry["state"] == state:
        return entry
    return {"state": state, "sha256": _sha256(bag.path)}


def _state(path: Path) -> str:
    """Names, sizes and times of the bag's files, as one short text."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        return Bag(path).sha256()
    except (BagError, OSError):
        pass
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None

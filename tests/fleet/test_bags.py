"""Arguments to bags, and bags to hashes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ros_xai.core.config import ConfigError
from ros_xai.fleet.bags import BagFile, find, fingerprints
from ros_xai.replay.bag import Bag
from tests.fleet.conftest import write_drive


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def names(*arguments: object) -> list[str]:
    return [bag.name for bag in find(map(str, arguments))]


def test_folders_patterns_and_files_mean_each_bag_once(tmp_path: Path) -> None:
    for name in ("a.mcap", "deep/er/b.db3", "notes.md"):
        touch(tmp_path / name)
    for name in ("metadata.yaml", "rec_0.mcap"):
        touch(tmp_path / "rec" / name)
    assert names(tmp_path) == ["a", "b", "rec"]
    assert names(tmp_path / "a.mcap", tmp_path, tmp_path / "*.mcap") == ["a", "b", "rec"]
    assert names(tmp_path / "**" / "*.db3") == ["b"]
    assert names(tmp_path / "gone.mcap") == ["gone"]  # reported by name later


def test_equal_file_names_are_told_apart(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        touch(tmp_path / day / "drive.mcap")
    assert names(tmp_path) == ["monday/drive.mcap", "tuesday/drive.mcap"]


def test_manifests_give_names_tags_and_nodes(tmp_path: Path) -> None:
    manifest = tmp_path / "fleet.yaml"
    manifest.write_text(
        "bags:\n- a.mcap\n"
        "- {path: b.mcap, name: rain, tags: {domain: rain, lanes: 2}, node: host2}\n"
    )
    plain, tagged = find([str(manifest)])
    assert plain == BagFile("a", tmp_path / "a.mcap")
    assert tagged == BagFile("rain", tmp_path / "b.mcap", {"domain": "rain", "lanes": "2"}, "host2")
    lines = tmp_path / "list.txt"
    lines.write_text("# all of them\na.mcap\n\nsub/c.mcap\n")
    assert [bag.path for bag in find([str(lines)])] == [
        tmp_path / "a.mcap",
        tmp_path / "sub/c.mcap",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bags: {}", "expected `bags:` with a list"),
        ("bags: [{path: a, tag: {}}]", "did you mean tags"),
        ("bags: [3]", r"bags\[0\]"),
        ("bags: [}", "no YAML"),
    ],
)
def test_a_wrong_manifest_says_where(tmp_path: Path, text: str, message: str) -> None:
    manifest = tmp_path / "fleet.yaml"
    manifest.write_text(text)
    with pytest.raises(ConfigError, match=message):
        find([str(manifest)])


def test_what_holds_no_bag_is_refused(tmp_path: Path) -> None:
    for argument in (tmp_path, tmp_path / "*.mcap"):
        with pytest.raises(ConfigError, match="no bag"):
            find([str(argument)])


def test_hashes_are_those_of_the_bags_and_are_kept_until_a_file_changes(tmp_path: Path) -> None:
    drive, noise = write_drive(tmp_path / "drive.mcap"), tmp_path / "noise.mcap"
    noise.write_bytes(b"noise")
    bags = [BagFile(p.stem, p) for p in (drive, noise, tmp_path / "gone.mcap")]
    cache = tmp_path / "hashes.json"
    found = fingerprints(bags, cache)
    assert found == {
        "drive": Bag(drive).sha256(),
        "noise": hashlib.sha256(b"noise").hexdigest(),
        "gone": None,
    }
    before = noise.stat()
    noise.write_bytes(b"NOISE")
    os.utime(noise, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprints(bags, cache) == found  # same size, same time: not read
    noise.write_bytes(b"louder")
    assert fingerprints(bags, cache)["noise"] == hashlib.sha256(b"louder").hexdigest()


def test_a_hash_that_the_manifest_gives_is_not_computed(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"content")
    manifest = tmp_path / "fleet.yaml"
    manifest.write_text("bags: [{path: a.mcap, sha256: abc}, {path: gone.mcap, sha256: def}]\n")
    found = fingerprints(find([str(manifest)]), tmp_path / "hashes.json")
    assert found == {"a": "abc", "gone": None}

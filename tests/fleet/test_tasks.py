"""Keys of tasks: equal exactly where the rows must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ros_xai.core.config import ConfigError
from ros_xai.fleet import tasks
from ros_xai.fleet.tasks import Candidate, Needs, Task, candidates
from tests.fleet.conftest import write_config


def test_all_that_decides_the_rows_is_in_the_key_and_nothing_else(tmp_path: Path) -> None:
    one, two = write_config(tmp_path / "one.yaml"), write_config(tmp_path / "two.yaml", [1])
    task = Task("drive", tmp_path / "drive.mcap", "b1", Candidate.of(one), "0.1.0+abc")
    others = [
        replace(task, bag_sha256="b2"),
        replace(task, candidate=Candidate.of(two)),
        replace(task, candidate=Candidate.of(None)),
        replace(task, version="0.1.0+abd"),
        replace(task, topics={"image": "/front/image"}),
    ]
    assert len({task.key, *(other.key for other in others)}) == 6
    moved = replace(task, bag="moved", bag_path=Path("/elsewhere"), node="n", needs=Needs(cpus=2))
    assert moved.key == task.key
    copied = write_config(tmp_path / "copy.yaml")
    assert replace(task, candidate=Candidate.of(copied)).key == task.key


@pytest.mark.parametrize(
    ("named", "changed"),
    [
        ("weights: w.safetensors", "w.safetensors"),
        ("weights: w.safetensors", "w.json"),
        ("engine: bundle", "bundle/card.json"),
    ],
)
def test_another_network_under_the_same_path_is_another_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, changed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").mkdir()
    for name in ("w.safetensors", "w.json", "bundle/card.json"):
        (tmp_path / name).write_bytes(b"old")
    config = tmp_path / "c.yaml"
    config.write_text(f"depth: {{ros__parameters: {{{named}}}}}\n")
    before = Candidate.of(config).sha256
    assert Candidate.of(config).sha256 == before
    (tmp_path / changed).write_bytes(b"new")
    assert Candidate.of(config).sha256 != before


def test_candidates_are_the_files_or_the_defaults(tmp_path: Path) -> None:
    assert [c.name for c in candidates([])] == ["default"]
    first, second = write_config(tmp_path / "a.yaml"), tmp_path / "sub" / "a.yaml"
    second.parent.mkdir()
    write_config(second)
    with pytest.raises(ConfigError, match="several configurations are named a"):
        candidates([first, second])
    second.write_text("- a list")
    with pytest.raises(ConfigError, match="expected a ROS parameter file"):
        Candidate.of(second)


def test_the_version_changes_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for content in ("x = 1", "x = 2", "x = 1"):
        (tmp_path / "module.py").write_text(content)
        monkeypatch.setattr(tasks, "PACKAGE", tmp_path)
        seen.append(tasks.version.__wrapped__())
    assert seen[0] == seen[2] != seen[1]
    assert seen[0].startswith("0.1.0+")

"""Doing one task: replay in lock-step, judgement, tables.json in the task's folder.

The process ends with code 0 whenever the rows say all there is to say, also that the bag is none;
any other end is the machine's fault and worth another attempt.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from ros_xai.fleet.judge import judge
from ros_xai.replay import run as replaying
from ros_xai.replay.bag import Bag, BagError
from ros_xai.replay.results import Results, read_json, write_json
from ros_xai.replay.session import Pace, ReplayError
from ros_xai.replay.topics import TopicError, assign

INPUTS = ("image", "image/compressed", "camera_info", "points")
Tables = dict[str, list[dict[str, Any]]]


def perform_in(folder: Path) -> None:
    """Do the task of the folder and leave its tables there."""
    task = read_json(folder / "task.json")
    started = time.time()
    tables = perform(task, folder)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    tables["timings"][0] |= {
        "startup_s": started - task["launched"],
        "total_s": time.time() - task["launched"],
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "max_rss_mb": usage.ru_maxrss / 1024,
    }
    write_json(folder / "tables.json", tables)


def perform(task: dict[str, Any], folder: Path) -> Tables:
    """The task's rows; a bag that cannot be evaluated has a row that says why.

    Raises:
        ReplayError: messages were lost or nodes hung, so the figures would not repeat.
    """
    try:
        bag = Bag(task["bag_path"])
        topics = assign(bag.topics, task["topics"], set(INPUTS))
    except (BagError, FileNotFoundError) as error:
        return _failed(f"no bag: {error}")
    except TopicError as error:
        return _failed(f"topics: {error}")
    missing = _missing(topics)
    if "image" in missing or "camera_info" in missing:
        for _ in bag.records():
            pass  # only at their end is it known whether the bag is whole
        problems = [f"missing topic: {name}" for name in missing]
        return _failed(*problems, *(f"damaged: {text}" for text in bag.damages))
    from ros_xai.nodes.depth import DepthNode  # torch takes seconds, which a broken bag is spared

    replay_started = time.perf_counter()
    out = folder / "replay"
    plan = replaying.Plan(
        Path(task["bag_path"]), out, Pace(lockstep=True), task["topics"], _config(task, folder)
    )
    kind = replaying.NodeKind(DepthNode, INPUTS, replaying.DEPTH)
    replaying.run(plan, [kind], replaying.Progress())
    judge_started = time.perf_counter()
    results = Results(out)
    if results.run["lost"] or results.run["stopped"]:
        raise ReplayError(
            f"the replay does not repeat: lost {results.run['lost']}, "
            f"stopped {results.run['stopped']!r}; a machine too slow or out of memory"
        )
    tables = judge(results, [f"missing topic: {name}" for name in missing])
    tables["timings"] = [
        {
            "replay_s": judge_started - replay_started,
            "judge_s": time.perf_counter() - judge_started,
            "frames": results.run["frames_in"],
            "bag_bytes": sum(path.stat().st_size for path in bag.files),
            "scratch_bytes": sum(path.stat().st_size for path in out.iterdir()),
        }
    ]
    return tables


def _missing(topics: dict[str, str]) -> list[str]:
    present = {"image" if name == "image/compressed" else name for name in topics}
    return [name for name in ("image", "camera_info", "points") if name not in present]


def _config(task: dict[str, Any], folder: Path) -> Path | None:
    """The candidate's text as the file that ROS wants."""
    if not task["config"]:
        return None
    path = folder / "config.yaml"
    path.write_text(task["config"])
    return path


def _failed(*problems: str) -> Tables:
    row = {"status": "failed", "problems": list(problems)}
    return {"bags": [row], "frames": [], "classes": [], "pictures": [], "timings": [{}]}

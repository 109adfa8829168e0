"""Traffic: it repeats itself, obeys physics and lights, and shows what the papers need."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ros_xai.world.check import jerk, longest_step, off_road, overlaps, red_light_runs
from ros_xai.world.demand import TrafficConfig
from ros_xai.world.network import NETWORKS
from ros_xai.world.traffic import BRAKE, LIGHT_STATES, Traffic, simulate

_DIGEST = """
import hashlib
from ros_xai.world.traffic import simulate
t = simulate(7, 5.0, "tee")
print(hashlib.sha256(b"".join(a.tobytes() for a in (t.xy, t.yaw, t.speed, t.lights))).hexdigest())
"""


@pytest.fixture(scope="module")
def runs() -> list[Traffic]:
    return [simulate(k, 20.0, name) for k, name in enumerate(sorted(NETWORKS))]


def test_same_seed_same_tracks_in_another_process() -> None:
    run = simulate(7, 5.0, "tee")
    arrays = (run.xy, run.yaw, run.speed, run.lights)
    here = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(here)


def test_a_longer_drive_begins_as_the_short_one() -> None:
    short, long = simulate(3, 4.0, "grid"), simulate(3, 9.0, "grid")
    index = [long.names.index(name) for name in short.names]
    assert np.array_equal(short.xy, long.xy[: len(short.time), index], equal_nan=True)
    assert np.array_equal(short.size, long.size[index])
    assert np.array_equal(short.lights, long.lights[: len(short.time)])


def test_nobody_teleports_leaves_the_road_or_runs_a_red_light(runs: list[Traffic]) -> None:
    for run in runs:
        assert jerk(run) < 2.0
        assert longest_step(run, ["pedestrian"]) < 0.35
        assert overlaps(run) < 0.005
        assert off_road(run) < 0.02
        assert red_light_runs(run) == 0


def test_the_checks_notice_broken_tracks(runs: list[Traffic]) -> None:
    run = runs[0]
    xy = run.xy.copy()
    xy[100:, 0] += 2.0
    broken = replace(run, xy=xy)
    assert jerk(broken) > 10.0
    walker = run.category.index("pedestrian")
    xy = run.xy.copy()
    xy[100:, walker] += 1.0
    assert longest_step(replace(run, xy=xy), ["pedestrian"]) > 0.9
    xy = run.xy.copy()
    xy[:, 1] = xy[:, 0] + 1.0
    assert overlaps(replace(run, xy=xy)) > overlaps(run)
    sideways = replace(run, xy=run.xy + 9.0)
    assert off_road(sideways) > 0.5
    assert LIGHT_STATES[0] == "r"
    always_red = [replace(r, lights=np.zeros_like(r.lights)) for r in runs]
    assert sum(red_light_runs(r) for r in always_red) > 0


def test_all_kinds_of_agents_and_situations_occur(runs: list[Traffic]) -> None:
    kinds = {c for run in runs for c in run.category}
    assert kinds == {"car", "truck", "bus", "bicycle", "pedestrian"}
    oncoming = stopped = led = parked = 0
    for run in runs:
        offset = run.xy - run.xy[:, :1]
        cos, sin = np.cos(run.yaw[:, :1]), np.sin(run.yaw[:, :1])
        ahead = offset[..., 0] * cos + offset[..., 1] * sin
        beside = -offset[..., 0] * sin + offset[..., 1] * cos
        turned = np.cos(run.yaw - run.yaw[:, :1])
        vehicle = np.isin(run.category, ["car", "truck", "bus"])
        in_lane = (ahead > 3) & (ahead < 40) & (np.abs(beside) < 1.5) & (turned > 0.9) & vehicle
        same_speed = np.abs(run.speed - run.speed[:, :1]) < 0.5
        led += int((in_lane & same_speed & (run.speed > 3)).any(axis=1).sum())
        stopped += int((in_lane & (run.speed < 0.2) & ~run.parked).any(axis=1).sum())
        oncoming += int(((ahead > 3) & (ahead < 60) & (turned < -0.9) & (run.speed > 2)).sum())
        parked += int(run.parked.sum())
    assert min(oncoming, stopped, led, parked) > 20


def test_speeds_are_those_of_the_tracks(runs: list[Traffic]) -> None:
    for run in runs:
        moved = np.linalg.norm(run.xy[2:].astype(float) - run.xy[:-2], axis=2) / 0.2
        assert np.nanmax(np.abs(moved - run.speed[1:-1])) < 0.02
        # and vehicles head where they go
        fast = ~np.isnan(run.speed[1:-1]) & (run.speed[1:-1] > 3)
        fast &= np.isin(run.category, ["car", "truck", "bus"])
        way = run.xy[2:].astype(float) - run.xy[:-2]
        slip = np.arctan2(way[..., 1], way[..., 0]) - run.yaw[1:-1]
        assert np.quantile(np.abs(np.angle(np.exp(1j * slip[fast]))), 0.99) < 0.25


def test_brake_lights_mean_braking(runs: list[Traffic]) -> None:
    slowing, steady = [], []
    for run in runs:
        change = np.diff(run.speed, axis=0)
        braking = (run.signals[1:] & BRAKE) > 0
        driven = ~run.parked & np.isin(run.category, ["car", "truck", "bus"])
        slowing.append(braking[:, driven][change[:, driven] < -0.25])
        steady.append(braking[:, driven][change[:, driven] > 0.05])
    assert np.concatenate(slowing).mean() > 0.85
    assert np.concatenate(steady).mean() < 0.1


def test_densities_follow_the_configuration() -> None:
    few = simulate(0, 1.0, "grid", TrafficConfig(spacing=400.0, parked=0.0, walkers=1e6))
    many = simulate(0, 1.0, "grid", TrafficConfig(spacing=80.0, parked=0.0, walkers=1e6))
    assert not few.parked.any() and "pedestrian" not in few.category
    assert len(many.category) > 3 * len(few.category)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_duration_must_be_positive(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive duration"):
        simulate(0, seconds)

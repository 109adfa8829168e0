"""Adaptation of depth to a drive: what it learns of, what judges it, and where it begins anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ros_xai.data.depth import Loaded
from ros_xai.depth.network import SMALL, DepthNetwork, build
from ros_xai.training.adaptation import AdaptationConfig, adapt, hide_beams, score_hidden
from ros_xai.training.checkpoint import AnotherRun
from tests.training.test_depth import RINGS, SHAPE, drive, frame


def test_hidden_beams_are_inner_ones_and_not_given():
    pairs = hide_beams([frame(i) for i in range(5)], RINGS, seed=0)
    assert len(pairs) == 5
    for given, hidden in pairs:
        assert set(np.unique(hidden.ring)) <= {1, 2}
        assert not set(np.unique(given.ring)) & set(np.unique(hidden.ring))
    perfect = score_hidden(lambda i, s, k: np.full(SHAPE, s.max(), np.float32), pairs)
    assert perfect["abs_rel"] == pytest.approx(0, abs=1e-5)


PRIOR = replace(SMALL, prior=True)


def too_near() -> DepthNetwork:
    """A network that starts as the fill, but for a factor exp(-0.2)."""
    torch.manual_seed(0)
    network = build(PRIOR).eval()
    for head in network.decoder.heads:
        head.bias.data[1] += 0.2  # of the logarithm of the inverse depth
    return network


def test_adaptation_betters_what_it_began_with_and_goes_on_after_a_stop(tmp_path):
    network = too_near()
    config = AdaptationConfig(
        steps=4, batch=1, evaluate_every=2, validation=3, learning_rate=1e-3, scale=(1.0, 1.0)
    )
    begun = {name: value.clone() for name, value in network.state_dict().items()}
    report = adapt(network, PRIOR, drive(8), RINGS, tmp_path, config, show=False)
    assert report.before["abs_rel"] == pytest.approx(1 - np.exp(-0.2), abs=0.01)
    assert report.after["abs_rel"] < 0.75 * report.before["abs_rel"]
    best = load_file(tmp_path / "best" / "best.safetensors")
    for name, value in network.named_parameters():
        torch.testing.assert_close(value, (begun[name] + best[f"network.{name}"]) / 2)
    assert report.steps == 4
    changed = {n for n, value in network.state_dict().items() if not torch.equal(value, begun[n])}
    assert changed and not any("running" in name for name in changed)
    assert report.frames == 8
    assert report.usable_motions > 0.5
    again = adapt(too_near(), PRIOR, drive(8), RINGS, tmp_path, config, show=False)
    assert again.after == report.after
    with pytest.raises(AnotherRun, match=r"drive .* there"):
        adapt(too_near(), PRIOR, drive(9), RINGS, tmp_path, config, show=False)


def test_adaptation_learns_of_no_return_but_those_of_its_beams(tmp_path: Path):
    config = AdaptationConfig(
        steps=3, batch=1, validation=3, learning_rate=1e-3, scale=(1.0, 1.0), drop_beam=0.0
    )
    learned = [too_near().state_dict()]
    few = tuple(frame(i).beams(RINGS[:3]) for i in range(8))
    for name, samples in (("all", drive(8).samples), ("few", few)):
        network, frames = too_near(), Loaded("wall", samples)
        adapt(network, PRIOR, frames, RINGS[:3], tmp_path / name, config, show=False)
        learned.append(network.state_dict())
    start, *ends = (torch.cat([v.float().ravel() for v in state.values()]) for state in learned)
    assert torch.equal(*ends) and not torch.equal(start, ends[0])


def test_adaptation_never_learns_from_the_frames_that_judge(tmp_path: Path):
    """Frames 1, 4 and 7 judge; with other returns there the same is learned."""
    config = AdaptationConfig(
        steps=2, batch=2, validation=3, learning_rate=1e-3, scale=(1.0, 1.0), share=1.0
    )
    found = [torch.cat([v.float().ravel() for v in too_near().state_dict().values()])]
    for name, farther in (("as it is", 1.0), ("other returns", 1.01)):
        samples = [
            replace(s, points=s.points * np.float32(farther)) if i % 3 == 1 else s
            for i, s in enumerate(drive(8).samples)
        ]
        network = too_near()
        frames = Loaded("wall", tuple(samples))
        adapt(network, PRIOR, frames, RINGS, tmp_path / name, config, show=False)
        found.append(torch.cat([v.float().ravel() for v in network.state_dict().values()]))
    start, *ends = found
    assert torch.equal(*ends) and not torch.equal(start, ends[0])


def test_adaptation_begins_anew_where_another_run_came_to_no_checkpoint(tmp_path: Path):
    config = AdaptationConfig(steps=1, batch=1, validation=3, scale=(1.0, 1.0))
    adapt(too_near(), PRIOR, drive(8), RINGS, tmp_path, config, show=False)
    (tmp_path / "state.json").unlink()
    other = build(PRIOR).eval()
    report = adapt(other, PRIOR, drive(8), RINGS, tmp_path, config, show=False)
    assert report.after["abs_rel"] <= report.before["abs_rel"] < 0.02  # it starts as the fill


def test_adaptation_takes_a_picture_as_low_as_the_estimator_does(tmp_path: Path):
    low = Loaded("wall", tuple(frame(i).cropped(16, 0, 66, 192) for i in range(8)))
    config = AdaptationConfig(steps=1, batch=1, validation=3, scale=(1.0, 1.0))
    assert adapt(too_near(), PRIOR, low, RINGS, tmp_path, config, show=False).frames == 8


def test_adaptation_needs_two_beams_in_the_picture(tmp_path: Path):
    architecture = replace(SMALL, prior=True)
    one = Loaded("wall", tuple(frame(i).beams([2]) for i in range(8)))
    with pytest.raises(ValueError, match="expected two of the beams"):
        adapt(build(architecture), architecture, one, RINGS, tmp_path, show=False)


def test_adaptation_refuses_a_drive_it_cannot_learn_from(tmp_path: Path):
    architecture = replace(SMALL, prior=True)
    network = build(architecture)
    with pytest.raises(ValueError, match="6 frames and 2 beams"):
        adapt(network, architecture, drive(5), RINGS, tmp_path, show=False)
    standing = Loaded("standing", tuple(frame(0) for _ in range(8)))
    with pytest.raises(ValueError, match="no usable ego motion"):
        adapt(network, architecture, standing, RINGS, tmp_path, show=False)

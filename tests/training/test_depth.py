"""Depth learning: losses of a known scene, masks and arms."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from ros_xai.core.camera import back_project, pixel_rays
from ros_xai.core.geometry import pose, transform
from ros_xai.data.depth import DepthSample, Loaded
from ros_xai.depth.network import SMALL
from ros_xai.training.depth import DepthLearner, DepthRecipe, Objective
from ros_xai.training.depth_arms import ARMS
from ros_xai.training.depth_batches import Augmentation, Beams, TripletBatches, jittered
from ros_xai.training.loop import generator
from ros_xai.training.motions import Motions, cached_motions, no_motions, parallax_gap

K = np.array([[150.0, 0, 95.5], [0, 150, 47.5], [0, 0, 1]])
SHAPE = (96, 192)
WALL = 9.0  # metres ahead of the first camera
STEP = 0.5  # metres towards it per frame
RINGS = (3, 2, 1, 0)


def texture() -> np.ndarray:
    rng = np.random.default_rng(0)
    layers = [cv2.resize(rng.random((96 // s, 192 // s, 3)), (192, 96)) for s in (2, 4, 8, 16)]
    return (255 * np.mean(layers, axis=0)).astype(np.uint8)


def frame(index: int) -> DepthSample:
    """A camera that drives straight to a textured wall; four beams on it."""
    depth = WALL - STEP * index
    T = pose(np.eye(3), [0, 0, -STEP * index])
    plane = T[:3, :3] + np.outer(T[:3, 3], [0, 0, 1 / WALL])
    image = cv2.warpPerspective(texture(), K @ plane @ np.linalg.inv(K), (192, 96))
    points = back_project(np.full(SHAPE, depth), K)[[20, 40, 60, 80]]
    ring = np.repeat(np.arange(4, dtype=np.uint8), 192)
    truth = np.full(SHAPE, depth, dtype=np.float32)
    flat = points.reshape(-1, 3).astype(np.float32)
    return DepthSample(image, K, flat, ring, truth, distance=STEP * index)


def drive(frames: int = 5) -> Loaded:
    return Loaded("wall", tuple(frame(i) for i in range(frames)))


def known_motions(frames: int = 5) -> Motions:
    T = np.tile(np.eye(4), (frames, 2, 1, 1))
    T[:, 0, 2, 3], T[:, 1, 2, 3] = STEP, -STEP
    static = np.ones((frames, 2, *SHAPE), dtype=bool)
    return Motions(1, T, np.ones((frames, 2), dtype=bool), static)


def batch(beams: Beams | None = None, motions: Motions | None = None, **augmentation):
    plain = {"flip": 0.0, "jitter": (0.0, 0.0, 0.0, 0.0)} | augmentation
    make = TripletBatches(
        [drive()],
        [motions or known_motions()],
        2,
        Augmentation(*SHAPE, **plain),
        beams or Beams(RINGS, RINGS),
    )
    return make(generator(0, 0))


class Answer(torch.nn.Module):
    """Stands for a network that knows a depth."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))
        self.truth = torch.empty(0)

    def forward(self, image, geometry):
        return [1 / (self.factor * self.truth)] * 4


def losses(factor: float, objective: Objective, data) -> dict[str, float]:
    learner = DepthLearner(DepthRecipe(replace(SMALL, prior=True), objective))
    answer = Answer(factor)
    answer.truth = data["depth"] / data["scale"].view(-1, 1, 1, 1)  # canonical, as networks answer
    learner.network = answer
    return {name: value.item() for name, value in learner(data).items()}


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_true_depth_explains_the_sources_and_others_do_not(flip):
    data = batch(flip=flip)
    objective = Objective(only_static=True, smooth=0.0)
    true = losses(1.0, objective, data)
    assert true["photometric"] < 0.02
    assert true["lidar"] == pytest.approx(0, abs=1e-5)
    for factor in (0.6, 1.6):
        assert losses(factor, objective, data)["photometric"] > 2 * true["photometric"]


def test_lidar_and_dense_terms_are_their_closed_forms():
    data = batch()
    objective = Objective(photometric=0.0, smooth=0.0, dense=2.0, dense_log=1.0)
    found = losses(1.25, objective, data)
    inverse = (0.2 / data["depth"]).mean().item()
    assert found["lidar"] == pytest.approx(inverse, rel=1e-4)
    assert found["dense"] == pytest.approx(2 * inverse, rel=1e-4)
    assert found["dense_log"] == pytest.approx(np.log(1.25), rel=1e-4)
    assert found["loss"] == pytest.approx(
        found["lidar"] + found["dense"] + found["dense_log"], rel=1e-5
    )


def test_untrusted_motions_and_moving_pixels_leave_no_photometric_term():
    still = replace(known_motions(), usable=np.zeros((5, 2), dtype=bool))
    assert losses(1.0, Objective(), batch(motions=still))["photometric"] == 0
    moving = replace(known_motions(), static=np.zeros((5, 2, *SHAPE), dtype=bool))
    data = batch(motions=moving)
    assert losses(1.0, Objective(only_static=True), data)["photometric"] == 0
    assert losses(1.0, Objective(), data)["photometric"] > 0


def test_lidar_pixels_are_left_to_the_lidar_loss():
    everywhere = batch()
    everywhere["sparse"] = everywhere["depth"].clone()
    assert losses(1.5, Objective(), everywhere)["photometric"] == 0


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_learns_something_from_a_batch(name):
    torch.manual_seed(0)
    arm = ARMS[name]
    learner = DepthLearner(arm.recipe)
    data = batch(replace(arm.beams, input=RINGS, supervision=RINGS))
    found = learner(data)
    found["loss"].backward()
    moved = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learner.parameters()]
    assert np.isfinite(found["loss"].item())
    assert np.mean(moved) > 0.9
    assert ("lidar" in found) == (arm.recipe.objective.lidar > 0)
    assert (learner.pose is not None) == (arm.recipe.objective.pose == "network")


def test_a_batch_is_a_function_of_its_generator():
    one, two = batch(scale=(0.8, 1.2), flip=0.5), batch(scale=(0.8, 1.2), flip=0.5)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.1, 1.4)])
def test_points_truth_and_intrinsics_stay_together(flip, scale):
    """Seen by a camera whose axis is off the middle, on a wall that recedes to the right."""
    aside = K + np.array([[0, 0, 31], [0, 0, 9], [0, 0, 0]])
    depth = (4 + 0.05 * np.arange(192) + 0.02 * np.arange(96)[:, None]).astype(np.float32)
    points = back_project(depth, aside).reshape(-1, 3).astype(np.float32)
    one = replace(
        frame(0), intrinsics=aside, points=points, depth=depth, ring=np.zeros(len(points))
    )
    make = TripletBatches(
        [Loaded("aside", (one,))],
        [no_motions(Loaded("aside", (one,)))],
        1,
        Augmentation(*SHAPE, scale=scale, flip=flip),
        Beams((0,), (0,)),
    )
    data = {name: value.numpy()[0] for name, value in make(generator(0, 0)).items()}
    hit = data["sparse"] > 0
    assert hit.mean() > 0.5
    off = np.abs(data["sparse"] - data["depth"])[hit]
    assert off.max() < (1e-5 if scale == (1.0, 1.0) else 0.08)  # a pixel of the wall: 0.05 m
    growing = np.diff(data["depth"][0].mean(0)).mean()
    assert growing < 0 if flip else growing > 0
    rays = pixel_rays(data["intrinsics"], *SHAPE)
    x = (rays[..., 0] * data["depth"][0])[hit[0]]
    assert (-1 if flip else 1) * x.mean() == pytest.approx(points[:, 0].mean(), abs=1.0)


def test_colours_change_for_the_network_and_not_for_the_losses():
    data = batch(jitter=(0.5, 0.5, 0.5, 0.1))
    shown, judged = data["image"].numpy(), data["target"].numpy()
    frames = [frame(i).image.transpose(2, 0, 1) / np.float32(255) for i in range(5)]
    for one, other in zip(shown, judged):
        assert min(np.abs(other - f).max() for f in frames) < 1e-6
        assert np.abs(one - other).mean() > 0.01


def test_hidden_returns_are_missing_from_the_input_only():
    data = batch(Beams(RINGS, RINGS, drop_returns=0.5))
    shown = (data["geometry"][:, 0] > 0).sum().item()
    judged = (data["sparse"] > 0).sum().item()
    assert 0.4 * judged < shown < 0.6 * judged


def test_beams_follow_their_probabilities():
    rng = np.random.default_rng(0)
    assert Beams(RINGS, off=1.0).choose(rng) == ()
    assert Beams(RINGS).choose(rng) == RINGS
    fewer = [Beams(RINGS, drop_beam=1.0).choose(rng) for _ in range(50)]
    assert {len(f) for f in fewer} == {3}
    assert {r for f in fewer for r in RINGS if r not in f} == set(RINGS)
    others = [Beams(RINGS, any_sensor=1.0).choose(rng) for _ in range(50)]
    assert all(o and max(o) < 64 and len(set(o)) == len(o) for o in others)
    assert len(set(others)) > 20


def test_jitter_changes_colours_by_its_amount():
    image, rng = texture(), np.random.default_rng(0)
    none = Augmentation(jitter=(0.0, 0.0, 0.0, 0.0))
    assert np.abs(jittered(image, none, rng).astype(int) - image).max() <= 3  # HSV rounds
    changed = jittered(image, Augmentation(jitter=(0.5, 0.0, 0.0, 0.0)), rng).mean() / image.mean()
    assert 0.5 < changed < 1.5
    assert abs(changed - 1) > 0.01


def test_without_motions_every_frame_is_a_target_without_sources():
    data = batch(motions=no_motions(drive()))
    assert "sources" not in data
    assert losses(1.0, Objective(photometric=0.0), data)["lidar"] == pytest.approx(0, abs=1e-5)


def test_motions_of_the_drive_are_found_and_kept(tmp_path):
    frames = drive()
    motions = cached_motions(frames, 1, RINGS, tmp_path)
    assert motions.usable[1:-1].all()
    assert not motions.usable[0, 0]
    assert np.allclose(motions.T_source_target[1:-1, 1, 2, 3], -STEP, atol=0.05)
    assert np.allclose(motions.T_source_target[1:-1, 0, 2, 3], STEP, atol=0.05)
    assert motions.static[2].mean() > 0.7
    others_between = (frames[0], *[frames[-1]] * 4)
    again = cached_motions(Loaded("wall", others_between), 1, RINGS, tmp_path)
    assert np.array_equal(again.static, motions.static)  # read, not estimated
    assert motions.resized(48, 96).static.shape[2:] == (48, 96)


def test_gap_grows_until_there_is_parallax():
    assert parallax_gap(drive(8), RINGS, distance=0.4) == 1
    assert parallax_gap(drive(8), RINGS, distance=0.9) == 2
    assert parallax_gap(drive(8), RINGS, distance=9.0, longest=3) == 3


def test_wall_is_where_it_is_said_to_be():
    """The scene itself: a pixel ray times the truth is the point the LiDAR saw."""
    one = frame(2)
    rays = pixel_rays(K, *SHAPE)[20] * one.depth[20][:, None]
    assert np.allclose(rays, one.points[:192], atol=1e-4)
    assert np.allclose(transform(pose(np.eye(3), [0, 0, STEP]), rays)[:, 2], WALL - STEP)

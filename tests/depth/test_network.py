"""Networks, their inputs and the estimator: sizes, invariances and engines that agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ros_xai.core.camera import scale_intrinsics
from ros_xai.core.config import ConfigError
from ros_xai.data.depth import KittiDrive
from ros_xai.data.kitti import EVAL_FRAMES, RINGS, KittiClip
from ros_xai.depth.deployed import make_engine
from ros_xai.depth.estimator import DepthEstimator, load_network, network_size
from ros_xai.depth.evaluation import evaluate
from ros_xai.depth.fill import column_fill
from ros_xai.depth.inputs import (
    FILL,
    FOCAL,
    ROAD,
    SPARSE,
    lidar_coverage,
    network_input,
    resize_sparse,
)
from ros_xai.depth.network import SMALL, Monodepth2, NetworkConfig, build
from ros_xai.depth.pose_network import PoseNetwork, motion_matrix

ARCHITECTURES = ["monodepth2", "monodepth2_lidar", "sparse_to_dense"]
K = np.array([[371.0, 0, 319.5], [0, 371, 91.5], [0, 0, 1]])


def network(architecture: str = "monodepth2_lidar", prior: bool = False, seed: int = 0):
    torch.manual_seed(seed)
    return build(replace(SMALL, architecture=architecture, prior=prior)).eval()


def scene(height: int = 96, width: int = 320) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    sparse = np.zeros((height, width), dtype=np.float32)
    for row, depth in ((0.55, 30.0), (0.7, 12.0), (0.9, 6.0)):
        sparse[int(row * height)] = depth
    return image, sparse, scale_intrinsics(K, width / 640, height / 192)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("prior", [False, True])
def test_four_scales_within_the_range_and_few_parameters(architecture, prior):
    net = network(architecture, prior)
    outputs = net(torch.rand(2, 3, 64, 96), torch.rand(2, 4, 64, 96))
    assert [tuple(o.shape) for o in outputs] == [(2, 1, 64 // s, 96 // s) for s in (1, 2, 4, 8)]
    for disparity in outputs:
        assert disparity.min() >= 1 / 100
        assert disparity.max() <= 1 / 0.5
    assert sum(p.numel() for p in net.parameters()) < 3e6


def test_the_papers_widths_are_the_default():
    """ResNet-18 twice and Monodepth2's decoder: 11.2 M parameters in each encoder."""
    net = build(NetworkConfig())
    count = sum(p.numel() for p in net.image_stages.parameters())
    assert count == pytest.approx(11.17e6, rel=0.01)


def test_camera_only_ignores_the_geometry_and_others_do_not():
    image, geometry = torch.rand(1, 3, 64, 64), torch.rand(1, 4, 64, 64)
    for architecture in ARCHITECTURES:
        net = network(architecture)
        same = torch.equal(net(image, geometry)[0], net(image, 2 * geometry)[0])
        assert same == isinstance(net, Monodepth2)


@pytest.mark.parametrize("architecture", ["monodepth2_lidar", "sparse_to_dense"])
def test_an_untrained_network_with_prior_answers_the_prior(architecture):
    geometry = torch.rand(1, 4, 64, 64) * 0.4 + 0.02
    disparity = network(architecture, prior=True)(torch.rand(1, 3, 64, 64), geometry)[0]
    assert torch.allclose(disparity, geometry[:, FILL : FILL + 1], rtol=0.05, atol=0.002)


def test_pose_network_is_near_rest_and_rigid():
    torch.manual_seed(0)
    T = PoseNetwork((16, 16, 32, 64, 128), 1, 32)(
        torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96)
    )
    rotation = T[:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5)
    assert T[:, :3, 3].abs().max() < 1


def test_motion_matrix_agrees_with_opencv():
    import cv2

    vector = torch.tensor([[0.1, -0.4, 0.3]])
    T = motion_matrix(torch.tensor([[1.0, 2, 3]]), vector)[0].numpy()
    assert np.allclose(T[:3, :3], cv2.Rodrigues(vector[0].numpy().astype(float))[0], atol=1e-6)
    assert T[:, 3].tolist() == [1, 2, 3, 1]


def test_input_is_of_the_canonical_camera():
    """Twice the focal length and twice the depth are the same picture, so the same input."""
    image, _, intrinsics = scene(192, 640)
    sparse = np.zeros((192, 640), dtype=np.float32)
    sparse[[40, 80]] = [[30], [12]]  # above the horizon: no road, whose search has a scale
    far = intrinsics.copy()
    far[[0, 1], [0, 1]] *= 2
    one, two = network_input(image, sparse, intrinsics), network_input(image, 2 * sparse, far)
    assert two.scale == pytest.approx(2 * one.scale)
    assert np.allclose(one.geometry[[SPARSE, FILL]], two.geometry[[SPARSE, FILL]], rtol=1e-5)
    assert one.scale == pytest.approx(371 / FOCAL)


def test_fill_channel_is_the_fill_and_the_road_grows_downwards():
    image, sparse, intrinsics = scene()
    frame = network_input(image, sparse, intrinsics)
    hits = sparse > 0
    assert np.allclose(frame.geometry[FILL][hits], frame.scale / sparse[hits], rtol=1e-5)
    assert np.allclose(frame.geometry[SPARSE] > 0, hits)
    assert (np.diff(frame.geometry[ROAD], axis=0) >= 0).all()
    assert frame.image.max() <= 1


@given(st.integers(0, 2**16))
def test_resized_returns_keep_the_nearest_depth(seed):
    rng = np.random.default_rng(seed)
    sparse = np.where(rng.random((40, 60)) < 0.2, rng.uniform(1, 50, (40, 60)), 0)
    small = resize_sparse(sparse.astype(np.float32), 20, 30)
    blocks = np.where(sparse > 0, sparse, np.inf).reshape(20, 2, 30, 2)
    expected = blocks.min((1, 3))
    assert np.allclose(small, np.where(np.isfinite(expected), expected, 0))


@pytest.mark.parametrize(("rows", "columns"), [(64, 96), (96, 64), (128, 256)])
def test_resized_returns_stay_where_their_pixels_centres_go(rows, columns):
    sparse = np.zeros((130, 171), dtype=np.float32)
    rng = np.random.default_rng(0)
    for v, u in zip(rng.integers(0, 130, 40), rng.integers(0, 171, 40)):
        sparse[:] = 0
        sparse[v, u] = 7
        ((row, column),) = np.argwhere(resize_sparse(sparse, rows, columns))
        assert abs(row + 0.5 - (v + 0.5) * rows / 130) <= 0.5
        assert abs(column + 0.5 - (u + 0.5) * columns / 171) <= 0.5


def test_coverage_tells_a_lidar_that_is_off_or_half_blind():
    sparse = np.zeros((20, 400), dtype=np.float32)
    assert lidar_coverage(sparse) == 0
    sparse[10, :200] = 5
    assert lidar_coverage(sparse) == pytest.approx(0.5, abs=0.01)
    sparse[12, ::3] = 5
    assert lidar_coverage(sparse) == pytest.approx(1.0, abs=0.01)


@settings(deadline=None)
@given(st.integers(32, 2000), st.integers(32, 2000), st.floats(100, 3000))
def test_network_size_divides_by_32_and_is_bounded(height, width, focal):
    rows, columns = network_size(height, width, [[focal, 0, 0], [0, focal, 0], [0, 0, 1]])
    assert rows % 32 == columns % 32 == 0
    assert rows >= 64 <= columns  # a coarsest map of two pixels can be reflected
    assert rows <= max(64, height + 16)


def test_kitti_is_seen_at_192_by_640():
    assert network_size(375, 1242, [[721.5, 0, 609], [0, 721.5, 173], [0, 0, 1]]) == (192, 640)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("prior", [False, True])
def test_engines_agree_with_torch(engine, prior):
    pytest.importorskip(engine)
    net = network(prior=prior, seed=3)
    for size in ((96, 320), (64, 96)):  # a change of size on the way
        image, sparse, intrinsics = scene(*size)
        expected = DepthEstimator(make_engine(net, "torch"))(image, sparse, intrinsics)
        answer = DepthEstimator(make_engine(net, engine, 1))(image, sparse, intrinsics)
        assert np.allclose(answer, expected, rtol=2e-3)


def test_bf16_changes_little():
    pytest.importorskip("openvino")
    full, half = (DepthEstimator.load(engine=e, threads=1) for e in ("openvino", "openvino-bf16"))
    assert half.engine.name == f"{full.engine.name} in bf16"
    image, sparse, intrinsics = scene(96, 320)
    expected = full(image, sparse, intrinsics)
    error = np.abs(half(image, sparse, intrinsics) - expected) / expected
    assert np.median(error) < 0.01
    assert np.percentile(error, 99) < 0.1


def test_estimator_answers_at_the_images_size_even_without_lidar():
    estimator = DepthEstimator.load()
    image, sparse, intrinsics = scene(101, 333)
    for returns in (sparse, np.zeros_like(sparse)):
        depth = estimator(image, returns, intrinsics)
        assert depth.shape == (101, 333)
        assert depth.dtype == np.float32
        assert np.isfinite(depth).all()
        assert (depth > 0).all()


def test_estimator_says_what_is_wrong_with_its_input():
    estimator = DepthEstimator.load()
    image, sparse, intrinsics = scene()
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        estimator(image[..., 0], sparse, intrinsics)
    with pytest.raises(ValueError, match="sparse depth"):
        estimator(image, sparse[:-1], intrinsics)


def test_missing_or_foreign_weights_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="none"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "bad.json").write_text('{"network": {"bloks": 3}}')
    with pytest.raises(ConfigError, match="blocks"):
        load_network(tmp_path / "bad.safetensors")


def test_shipped_weights_on_the_real_clip(data_dir: Path):
    """Trained on rendered worlds only; better than every fill on frames it never saw."""
    drive = KittiDrive(KittiClip(data_dir / "kitti"), list(EVAL_FRAMES)[::3])
    samples = [drive[i] for i in range(len(drive))]
    shipped = evaluate(DepthEstimator.load(), samples, RINGS)
    columns = evaluate(lambda i, s, k: 1 / column_fill(s).disparity, samples, RINGS)
    assert shipped["all"]["abs_rel"] < 0.12
    assert shipped["unseen"]["abs_rel"] < columns["unseen"]["abs_rel"]
    assert shipped["away"]["rmse"] < columns["away"]["rmse"]

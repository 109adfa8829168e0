"""Eight bits against the arithmetic they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ros_xai.engines.calibrated import CalibratedEngine
from ros_xai.engines.compile import Signature, to_onnx
from ros_xai.engines.int8 import OPERATORS, quantize_int8, wide_sums
from ros_xai.engines.openvino_engine import OpenVinoEngine

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed")


def exported(network: nn.Module, channels: int) -> bytes:
    return to_onnx(network, Signature({"image": channels}, {"logits": 2}))


def test_what_eight_bits_can_tell_apart_is_exact() -> None:
    """Weights k / 127 (k / 64 where they have 7 bits) and inputs k / 255 over the whole range are
    on the grid; the sums are not, but for a rounding to their own grid of 255 steps."""
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(3, 4, 1, bias=False)
    largest = 127 if wide_sums() else 64
    weights = rng.integers(-largest, largest + 1, (4, 3, 1, 1))
    weights[:, 0] = largest  # the largest of each channel sets its step
    conv.weight.data = torch.from_numpy(weights / largest).float()
    image = (rng.integers(0, 256, (2, 3, 8, 8)) / 255).astype(np.float32)
    image[0, 0, 0, 0], image[0, 0, 0, 1] = 0, 1
    engine = CalibratedEngine(exported(conv, 3), threads=1)
    engine.calibrate([{"image": image}])
    with torch.no_grad():
        expected = conv(torch.from_numpy(image)).numpy()
    ours = engine({"image": image})["logits"]
    step = np.ptp(expected) / 255
    assert np.abs(ours - expected).max() < 0.51 * step + 1e-5
    assert np.abs(ours - expected).max() > 0.1 * step  # it does round


def test_values_beyond_what_was_seen_are_clipped_to_it() -> None:
    network = nn.Conv2d(1, 1, 1, bias=False)
    network.weight.data.fill_(1.0)
    engine = CalibratedEngine(exported(network, 1), threads=1)
    seen = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    before = engine({"image": 2 * seen})["logits"]
    np.testing.assert_allclose(before, 2 * seen, rtol=0.01)
    engine.calibrate([{"image": seen}])
    assert engine({"image": 2 * seen})["logits"].max() == pytest.approx(1, abs=0.01)


def test_every_sample_is_looked_at() -> None:
    network = nn.Conv2d(1, 1, 1, bias=False)
    network.weight.data.fill_(1.0)
    small = np.full((1, 1, 8, 8), 0.5, np.float32)
    large = np.full((1, 1, 8, 8), 4.0, np.float32)
    engine = CalibratedEngine(exported(network, 1), threads=1)
    engine.calibrate({"image": each} for each in (small, large))
    assert engine({"image": large})["logits"].max() == pytest.approx(4, abs=0.02)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Hardtanh(0, 6)])
def test_ranges_are_those_behind_the_activation(activation: nn.Module) -> None:
    """256 steps for the 6 that are let through, not for the 200 of the convolution's output."""
    conv = nn.Conv2d(1, 1, 1)
    conv.weight.data.fill_(200.0)
    assert conv.bias is not None
    conv.bias.data.fill_(-194.0)
    network = nn.Sequential(conv, activation)
    image = (np.arange(256, dtype=np.float32) / 255).reshape(1, 1, 16, 16)
    graph = quantize_int8(exported(network, 1), [{"image": image}], OPERATORS)
    ours = OpenVinoEngine(graph, 1)({"image": image})["logits"]
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    assert np.ptp(expected) == pytest.approx(6, abs=0.01)
    assert np.abs(ours - expected).max() < 6 / 255

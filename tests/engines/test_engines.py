"""Engines: one network, the same numbers, names that are checked."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from ros_xai.engines.base import Engine, EngineError, Timing, measure
from ros_xai.engines.compile import Signature, compile_network
from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine
from ros_xai.engines.openvino_engine import OpenVinoEngine
from ros_xai.engines.torch_engine import TorchEngine


class Blend(torch.nn.Module):
    """Two inputs, two outputs, closed form."""

    def forward(self, left, right):
        return left + 2 * right, (left * right).amax(dim=3)


def onnx() -> bytes:
    buffer = io.BytesIO()
    names = ["left", "right"], ["sum", "peak"]
    axes = {name: {2: "height", 3: "width"} for name in ("left", "right", "sum")}
    example = (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    torch.onnx.export(
        Blend(), example, buffer, input_names=names[0], output_names=names[1],
        dynamic_axes={**axes, "peak": {2: "height"}}, dynamo=False,
    )  # fmt: skip
    return buffer.getvalue()


def make(name: str) -> Engine:
    if name == "torch":
        return TorchEngine(Blend(), ("left", "right"), ("sum", "peak"))
    pytest.importorskip(name)
    return (OnnxRuntimeEngine if name == "onnxruntime" else OpenVinoEngine)(onnx(), threads=1)


@pytest.fixture(params=["torch", "onnxruntime", "openvino"])
def engine(request) -> Engine:
    return make(request.param)


def test_outputs_by_name_at_any_size(engine):
    rng = np.random.default_rng(0)
    for size in ((4, 6), (8, 5), (4, 6)):
        left, right = rng.normal(size=(2, 1, 1, *size)).astype(np.float32)
        outputs = engine({"left": left, "right": right})
        assert np.allclose(outputs["sum"], left + 2 * right, atol=1e-6)
        assert np.allclose(outputs["peak"], (left * right).max(3), atol=1e-6)


def test_later_calls_leave_earlier_answers_alone(engine):
    one, two = (np.full((1, 1, 2, 2), v, dtype=np.float32) for v in (1, 2))
    first = engine({"left": one, "right": one})["sum"]
    kept = first.copy()
    engine({"left": two, "right": two})
    assert np.array_equal(first, kept)


def test_wrong_names_are_refused_with_the_right_ones(engine):
    with pytest.raises(EngineError, match="expected inputs"):
        engine({"left": np.zeros((1, 1, 2, 2), dtype=np.float32)})


def both(left, right):
    return {"left": left, "right": right}


def test_wrong_types_are_refused_with_the_right_one(engine):
    single = np.ones((1, 1, 4, 4), dtype=np.float32)
    for wrong in (single.astype(np.float64), single.astype(np.uint8)):
        with pytest.raises(EngineError, match="right: expected float32"):
            engine(both(single, wrong))


def test_wrong_shapes_are_refused_and_the_next_call_works(engine):
    one = np.ones((1, 1, 4, 4), dtype=np.float32)
    for shape in ((1, 1, 5, 4), (1, 2, 3)):
        with pytest.raises(EngineError, match=r"\[.*\]"):
            engine(both(one, np.ones(shape, dtype=np.float32)))
    assert np.array_equal(engine(both(one, one))["sum"], 3 * one)


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino"])
def test_a_wrong_number_of_channels_is_refused(name):
    pytest.importorskip(name)
    engine = compile_network(Peak(), Signature({"image": 3}, {"peak": 1}), name, threads=1)
    with pytest.raises(EngineError, match=r"image.*\[1, 4, 8, 8\]"):
        engine({"image": np.ones((1, 4, 8, 8), dtype=np.float32)})


class Peak(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, image):
        return (self.conv(image).amax(1),)


def test_name_tells_engine_and_version(engine):
    assert engine.name.split()[0] in ("torch", "onnxruntime", "openvino")
    assert engine.name.split()[1][0].isdigit()


def test_engines_are_compared_call_by_call():
    """By hand: the ratios are 2, 4 and 1, whatever the machine did between the rounds."""
    slow, fast = Timing(0, 0, 3, (2.0, 40.0, 3.0)), Timing(0, 0, 3, (1.0, 10.0, 3.0))
    assert fast.times_as_fast(slow) == 2.0


def test_measured_calls_are_all_kept(engine):
    one = np.ones((1, 1, 2, 2), dtype=np.float32)
    timing = measure({"it": engine}, {"left": one, "right": one}, rounds=5)["it"]
    assert len(timing.calls) == timing.rounds == 5
    assert timing.median_ms == sorted(timing.calls)[2] > 0


def test_openvino_pins_no_core():
    """Pinned, two engines of one process work on the same core in turn."""
    pytest.importorskip("openvino")
    engine = OpenVinoEngine(onnx(), threads=1)
    engine({name: np.ones((1, 1, 2, 2), np.float32) for name in ("left", "right")})
    assert engine.core.get_property("CPU", "ENABLE_CPU_PINNING") is False
    assert engine._request.get_compiled_model().get_property("ENABLE_CPU_PINNING") is False

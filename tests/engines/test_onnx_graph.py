"""ONNX operators on torch against ONNX Runtime's, at the edges that the specification names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.engines.onnx_graph import OnnxGraph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def graph(operator, given, result, constants, **attributes) -> bytes:
    """One operator on x, with constants for its other inputs."""
    names = [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(operator, ["x", *names], ["y"], **attributes)
    model = helper.make_model(
        helper.make_graph(
            [node], "one", [helper.make_tensor_value_info("x", given, None)],
            [helper.make_tensor_value_info("y", result, None)],
            [numpy_helper.from_array(value, name) for name, value in zip(names, constants)],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    return bytes(model.SerializeToString())


def ours_and_theirs(model: bytes, x):
    (ours,) = OnnxGraph(model)(torch.from_numpy(x))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return ours.numpy(), session.run(None, {"x": x})[0]


KINDS = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.int32: TensorProto.INT32}
# Halves between two steps, and values far outside of the range.
EDGES = np.array([-1e9, -130, -64.25, -1.25, -0.75, -0.25, 0, 0.25, 0.75, 1.25, 63.75, 130, 1e9],
                 np.float32)  # fmt: skip


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 0), (np.uint8, 7), (np.int8, -3)])
def test_quantizing_rounds_half_to_even_and_saturates(kind, zero):
    constants = np.array(0.5, np.float32), np.array(zero, kind)
    model = graph("QuantizeLinear", TensorProto.FLOAT, KINDS[kind], constants)
    ours, theirs = ours_and_theirs(model, EDGES)
    assert ours.dtype == kind
    assert ours.tolist() == theirs.tolist()
    lowest, highest = np.iinfo(kind).min, np.iinfo(kind).max
    by_hand = [min(max(round(2 * float(x)) + zero, lowest), highest) for x in EDGES]
    assert ours.tolist() == by_hand


def test_quantizing_without_zero_point_gives_unsigned_bytes():
    model = graph(
        "QuantizeLinear", TensorProto.FLOAT, TensorProto.UINT8, [np.array(0.5, np.float32)]
    )
    ours, theirs = ours_and_theirs(model, EDGES)
    assert ours.dtype == np.uint8
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_scales_and_zero_points_along_an_axis(kind, axis):
    rng = np.random.default_rng(0)
    shape = (3, 4, 5)
    along = {} if axis is None else {"axis": axis}
    n = shape[1 if axis is None else axis]
    constants = rng.uniform(0.01, 0.1, n).astype(np.float32), rng.integers(0, 100, n).astype(kind)
    x = rng.normal(0, 3, shape).astype(np.float32)
    model = graph("QuantizeLinear", TensorProto.FLOAT, KINDS[kind], constants, **along)
    steps, theirs = ours_and_theirs(model, x)
    assert np.array_equal(steps, theirs)
    model = graph("DequantizeLinear", KINDS[kind], TensorProto.FLOAT, constants, **along)
    ours, theirs = ours_and_theirs(model, steps)
    assert np.array_equal(ours, theirs)
    inside = (steps > np.iinfo(kind).min) & (steps < np.iinfo(kind).max)
    assert np.abs(ours - x)[inside].max() <= 0.0501  # half of the largest step


def test_a_bias_of_32_bits():
    x = np.array([2**24 + 1, -(2**31), 2**31 - 1, 0, -5], np.int32)
    scale = np.array(1e-6, np.float32)
    model = graph("DequantizeLinear", TensorProto.INT32, TensorProto.FLOAT, [scale])
    ours, theirs = ours_and_theirs(model, x)
    assert np.array_equal(ours, theirs)

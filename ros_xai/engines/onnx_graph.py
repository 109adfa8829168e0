"""ONNX graphs run by torch, operator by operator: any bundle runs where torch alone is installed.

Only the operators that this project's exports use, opset 17; another one is an EngineError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.engines.base import EngineError

Attributes = dict[str, Any]
Operator = Callable[[list[Any], Attributes], Any]


class OnnxGraph(nn.Module):
    """A serialised ONNX model as a module: inputs in the graph's order, a tuple of outputs."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        try:
            import onnx
        except ImportError as error:
            raise EngineError("a bundle on torch needs `pip install onnx`") from error
        graph = onnx.load_model_from_string(model).graph
        self.constants: dict[str, Tensor] = {}
        for tensor in graph.initializer:
            self.constants[tensor.name] = _tensor(onnx.numpy_helper.to_array(tensor))
        self.inputs = tuple(i.name for i in graph.input if i.name not in self.constants)
        self.outputs = tuple(output.name for output in graph.output)
        self.steps: list[tuple[Operator, list[str], list[str], Attributes]] = []
        for node in graph.node:
            operator = OPERATORS.get(node.op_type)
            if operator is None:
                raise EngineError(f"torch cannot run the ONNX operator {node.op_type}")
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if "value" in attributes:
                attributes["value"] = _tensor(onnx.numpy_helper.to_array(attributes["value"]))
            self.steps.append((operator, list(node.input), list(node.output), attributes))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values: dict[str, Any] = {"": None, **self.constants, **dict(zip(self.inputs, inputs))}
        for operator, arguments, results, attributes in self.steps:
            found = operator([values[name] for name in arguments], attributes)
            values.update(zip(results, found if isinstance(found, tuple) else (found,)))
        return tuple(values[name] for name in self.outputs)


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))


def _ints(value: Tensor) -> list[int]:
    return [int(v) for v in value.reshape(-1)]


def _conv(x: list[Any], a: Attributes) -> Any:
    data, weight, bias = [*x, None][:3]
    rank = weight.ndim - 2
    pads = list(a.get("pads", [0] * 2 * rank))
    if pads[:rank] != pads[rank:]:
        data = F.pad(data, _torch_padding(pads))
        pads = [0] * 2 * rank
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    return convolve(
        data, weight, bias, tuple(a.get("strides", [1] * rank)), tuple(pads[:rank]),
        tuple(a.get("dilations", [1] * rank)), a.get("group", 1),
    )  # fmt: skip


def _torch_padding(pads: list[int]) -> list[int]:
    """From ONNX (all begins, all ends) to torch (last axis first, in pairs)."""
    half = len(pads) // 2
    return [p for i in reversed(range(half)) for p in (pads[i], pads[half + i])]


def _pad(x: list[Any], a: Attributes) -> Any:
    mode = a.get("mode", b"constant").decode()
    padding = _torch_padding(_ints(x[1]))
    if mode == "constant":
        value = float(x[2]) if len(x) > 2 and x[2] is not None else 0.0
        return F.pad(x[0], padding, value=value)
    while len(padding) > 4 and padding[-2:] == [0, 0]:  # torch reflects the last two axes only
        padding = padding[:-2]
    return F.pad(x[0], padding, mode={"reflect": "reflect", "edge": "replicate"}[mode])


def _max_pool(x: list[Any], a: Attributes) -> Any:
    pads = a.get("pads", [0, 0, 0, 0])
    data = x[0]
    if pads[:2] != pads[2:]:
        data, pads = F.pad(data, _torch_padding(list(pads)), value=float("-inf")), [0, 0, 0, 0]
    return F.max_pool2d(data, a["kernel_shape"], a["strides"], tuple(pads[:2]))


def _resize(x: list[Any], a: Attributes) -> Any:
    data: Tensor = x[0]
    scales: Any = x[2] if len(x) > 2 else None
    if len(x) > 3 and x[3] is not None:
        size = _ints(x[3])[2:]
    else:
        size = [int(n * float(s)) for n, s in zip(data.shape[2:], scales[2:])]
    if a.get("mode", b"nearest") == b"nearest":
        return F.interpolate(data, size=size, mode="nearest")
    align = a.get("coordinate_transformation_mode") == b"align_corners"
    return F.interpolate(data, size=size, mode="bilinear", align_corners=align)


def _slice(x: list[Any], a: Attributes) -> Any:
    data, starts, ends = x[0], _ints(x[1]), _ints(x[2])
    axes = _ints(x[3]) if len(x) > 3 and x[3] is not None else list(range(len(starts)))
    steps = _ints(x[4]) if len(x) > 4 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        wanted = range(data.shape[axis])[start:end:step]
        if step == 1:
            data = data.narrow(axis, wanted.start, len(wanted))
        else:
            data = data.index_select(axis, torch.tensor(wanted))
    return data


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def run(x: list[Any], a: Attributes) -> Tensor:
        axes = a.get("axes") or (_ints(x[1]) if len(x) > 1 and x[1] is not None else None)
        dims = tuple(axes) if axes is not None else tuple(range(x[0].ndim))
        return function(x[0], dim=dims, keepdim=bool(a.get("keepdims", 1)))

    return run


def _unsqueeze(x: list[Any], a: Attributes) -> Any:
    data = x[0]
    axes = a["axes"] if "axes" in a else _ints(x[1])
    rank = data.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _squeeze(x: list[Any], a: Attributes) -> Any:
    return torch.squeeze(x[0], tuple(_ints(x[1])) if len(x) > 1 else tuple(a.get("axes", ())))


def _gemm(x: list[Any], a: Attributes) -> Any:
    left = x[0].T if a.get("transA") else x[0]
    right = x[1].T if a.get("transB") else x[1]
    product = a.get("alpha", 1.0) * (left @ right)
    return product if len(x) < 3 else product + a.get("beta", 1.0) * x[2]


def _reshape(x: list[Any], a: Attributes) -> Any:
    wanted = [x[0].shape[i] if n == 0 else n for i, n in enumerate(_ints(x[1]))]
    return x[0].reshape(wanted)


_TYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64,
          9: torch.bool, 10: torch.float16, 11: torch.float64}  # fmt: skip


def _clip(x: list[Any], a: Attributes) -> Any:
    low, high = [*x[1:], None, None][:2]
    return torch.clamp(x[0], low, high)


def _extreme(name: str) -> Operator:
    return lambda x, a: functools.reduce(getattr(torch, name), x)


def _divide(x: list[Any], a: Attributes) -> Any:
    whole = not x[0].is_floating_point()
    return torch.div(x[0], x[1], rounding_mode="trunc" if whole else None)


def _shuffle(x: list[Any], a: Attributes) -> Any:
    if a.get("mode", b"DCR") != b"CRD":
        raise EngineError("torch cannot run DepthToSpace of mode DCR")
    return F.pixel_shuffle(x[0], a["blocksize"])


def _along(values: Tensor, data: Tensor, a: Attributes) -> Tensor:
    """A scale or zero point, one for all or one [n] per place of an axis, as data is shaped."""
    if not values.ndim:
        return values
    shape = [1] * data.ndim
    shape[a.get("axis", 1)] = -1
    return values.reshape(shape)


def _quantize(x: list[Any], a: Attributes) -> Any:
    data, scale, zero = [*x, None][:3]
    if zero is None:
        zero = torch.zeros_like(scale, dtype=torch.uint8)
    steps = (data / _along(scale, data, a)).round()  # half to even
    range_ = torch.iinfo(zero.dtype)
    return (steps + _along(zero, data, a)).clamp(range_.min, range_.max).to(zero.dtype)


def _dequantize(x: list[Any], a: Attributes) -> Any:
    data, scale, zero = [*x, None][:3]
    steps = data.int()
    if zero is not None:
        steps = steps - _along(zero, data, a)
    return steps.to(scale.dtype) * _along(scale, data, a)


OPERATORS: Mapping[str, Operator] = {
    "Add": lambda x, a: x[0] + x[1],
    "And": lambda x, a: x[0] & x[1],
    "ArgMax": lambda x, a: x[0].argmax(a.get("axis", 0), keepdim=bool(a.get("keepdims", 1))),
    "Cast": lambda x, a: x[0].to(_TYPES[a["to"]]),
    "Clip": _clip,
    "Concat": lambda x, a: torch.cat(x, dim=a["axis"]),
    "Constant": lambda x, a: a["value"],
    "ConstantOfShape": lambda x, a: torch.full(
        _ints(x[0]),
        a["value"].item() if "value" in a else 0.0,
        dtype=a["value"].dtype if "value" in a else torch.float32,
    ),
    "Conv": _conv,
    "DepthToSpace": _shuffle,
    "DequantizeLinear": _dequantize,
    "Div": _divide,
    "Elu": lambda x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "Equal": lambda x, a: x[0] == x[1],
    "Exp": lambda x, a: x[0].exp(),
    "Expand": lambda x, a: x[0] * torch.ones(_ints(x[1]), dtype=x[0].dtype),
    "Flatten": lambda x, a: x[0].flatten(a.get("axis", 1)),
    "Floor": lambda x, a: x[0].floor(),
    "Gather": lambda x, a: x[0][(slice(None),) * a.get("axis", 0) + (x[1],)],
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, a: x[0].mean((2, 3), keepdim=True),
    "Greater": lambda x, a: x[0] > x[1],
    "Identity": lambda x, a: x[0],
    "LeakyRelu": lambda x, a: F.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Less": lambda x, a: x[0] < x[1],
    "MatMul": lambda x, a: x[0] @ x[1],
    "Max": _extreme("maximum"),
    "MaxPool": _max_pool,
    "Min": _extreme("minimum"),
    "Mul": lambda x, a: x[0] * x[1],
    "Neg": lambda x, a: -x[0],
    "Not": lambda x, a: ~x[0],
    "Pad": _pad,
    "Pow": lambda x, a: x[0] ** x[1],
    "QuantizeLinear": _quantize,
    "Reciprocal": lambda x, a: x[0].reciprocal(),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda x, a: x[0].relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda x, a: torch.tensor(x[0].shape),
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Slice": _slice,
    "Softmax": lambda x, a: x[0].softmax(a.get("axis", -1)),
    "Squeeze": _squeeze,
    "Sub": lambda x, a: x[0] - x[1],
    "Tanh": lambda x, a: x[0].tanh(),
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda x, a: torch.where(x[0], x[1], x[2]),
}

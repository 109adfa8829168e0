"""INT8 post-training quantisation of an ONNX graph, for ONNX Runtime and OpenVINO alike.

Static, per channel, as QuantizeLinear and DequantizeLinear pairs around convolutions and linear
layers, calibrated by the extremes that real inputs reach.

x86 processors without VNNI add pairs of 8-bit products in 16 bits, where they saturate; there the
weights have 7 bits, as ONNX Runtime advises. A graph from a processor with VNNI is not for one
without, and `backends.create` refuses it there.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ros_xai.engines.base import EngineError

# With the activation functions: of a convolution's output the range that they let through is taken.
OPERATORS = ("Conv", "Gemm", "MatMul", "Clip", "Relu")
_WIDE_SUMS = {"avx_vnni", "avx512_vnni", "amx_int8"}  # x86 instructions that add in 32 bits


def wide_sums() -> bool:
    """Whether this processor adds 8-bit products without saturation; False where it is unknown."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    info = Path("/proc/cpuinfo")
    return info.exists() and not _WIDE_SUMS.isdisjoint(info.read_text().split())


def weight_bits() -> int:
    """Of the weights that `quantize_int8` makes on this processor, and the most that it can use."""
    return 8 if wide_sums() else 7


def quantize_int8(
    model: bytes,
    calibration: Iterable[Mapping[str, NDArray[Any]]],
    operators: Sequence[str] | None = OPERATORS,
) -> bytes:
    """The graph in INT8. calibration: inputs by name, a dozen typical ones at least. operators: the
    types of those in INT8, None for all that can be, which is faster and a little less exact.

    Raises EngineError without calibration inputs, or where onnxruntime or onnx is missing.
    """
    inputs = [dict(each) for each in calibration]
    if not inputs:
        raise EngineError("INT8 needs calibration inputs; got none")
    try:
        from onnxruntime import quantization as q
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise EngineError("INT8 needs `pip install onnxruntime onnx`") from error

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(inputs)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "float.onnx").write_bytes(model)
        source = folder / "prepared.onnx"
        quant_pre_process(str(folder / "float.onnx"), str(source), skip_symbolic_shape=True)
        q.quantize_static(
            str(source), str(folder / "int8.onnx"), Reader(), quant_format=q.QuantFormat.QDQ,
            per_channel=True, activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
            op_types_to_quantize=operators and list(operators), reduce_range=not wide_sums(),
        )  # fmt: skip
        return (folder / "int8.onnx").read_bytes()

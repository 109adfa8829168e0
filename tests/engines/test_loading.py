"""Which engine a bundle runs on: as asked, or the fastest that works here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import ros_xai.engines
from ros_xai.engines import backends, int8, loading
from ros_xai.engines.base import EngineError, Timing
from ros_xai.engines.bundle import write_bundle
from ros_xai.engines.cache import Memory
from ros_xai.engines.compile import Signature, to_onnx
from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine


@pytest.mark.parametrize("backend", ["torch", "onnxruntime", "openvino", "auto"])
def test_every_backend_answers_as_the_network(folder, network, backend, memory):
    if backend in ("onnxruntime", "openvino"):
        pytest.importorskip(backend)
    engine = loading.load(folder, backend, memory=memory)
    for size in ((16, 24), (20, 9)):
        image = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(image))[0].numpy()
        assert np.allclose(engine({"image": image})["peak"], expected, atol=1e-5)


class Fake:
    """An engine that takes as long as it is told to."""

    def __init__(self, name):
        self.name = name
        self.input_specs = self.output_specs = ()

    def __call__(self, inputs):
        return {}


@pytest.fixture
def fakes(monkeypatch):
    made, times = [], {"openvino": 3.0, "onnxruntime": 1.0, "torch": 2.0}

    def create(bundle, backend, threads):
        made.append(backend)
        return Fake(backend)

    def availability():
        return [
            backends.Availability("tensorrt", False, "no GPU"),
            *(backends.Availability(name, True, "1.0") for name in times),
        ]

    monkeypatch.setattr(loading, "create", create)
    monkeypatch.setattr(loading, "availability", availability)
    monkeypatch.setattr(
        loading, "measure", lambda engines, *_: {n: Timing(times[n], 0, 1) for n in engines}
    )
    return made, times


def test_auto_takes_the_fastest_and_remembers_it(folder, memory, fakes):
    made, times = fakes
    assert loading.load(folder, memory=memory).name == "onnxruntime"
    assert made == ["openvino", "onnxruntime", "torch"]
    made.clear()
    times["torch"] = 0.1  # it is not measured again
    assert loading.load(folder, memory=Memory(memory.file)).name == "onnxruntime"
    assert made == ["onnxruntime"]


def test_another_machine_another_number_of_threads_are_measured_anew(
    folder, memory, fakes, monkeypatch
):
    _, times = fakes
    loading.load(folder, memory=memory)
    times["torch"] = 0.1
    assert loading.load(folder, threads=2, memory=memory).name == "torch"
    monkeypatch.setattr(loading, "machine", lambda: {"host": "another"})
    assert loading.load(folder, memory=memory).name == "torch"


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1', '{"%s": {"backend": "evil"}}'])
def test_a_damaged_memory_is_measured_anew(folder, memory, fakes, text):
    loading.load(folder, memory=memory)
    key = next(iter(json.loads(memory.file.read_text())))
    memory.file.write_text(text % key if "%" in text else text)
    assert loading.load(folder, memory=memory).name == "onnxruntime"


def test_an_engine_that_fails_is_left_out(folder, memory, fakes, monkeypatch):
    def create(bundle, backend, threads):
        if backend != "torch":
            raise EngineError("broken")
        return Fake(backend)

    monkeypatch.setattr(loading, "create", create)
    assert loading.load(folder, memory=memory).name == "torch"
    monkeypatch.setattr(loading, "create", lambda *_: (_ for _ in ()).throw(EngineError("no")))
    with pytest.raises(EngineError, match=r"no engine can run it.*tensorrt: no GPU"):
        loading.load(folder, threads=3, memory=memory)


@pytest.mark.parametrize("error", [EngineError, RuntimeError, OSError])
def test_a_remembered_engine_that_fails_is_replaced(folder, memory, fakes, monkeypatch, error):
    def create(bundle, backend, threads):
        if backend == "onnxruntime":
            raise error("broken since")
        return Fake(backend)

    assert loading.load(folder, memory=memory).name == "onnxruntime"
    monkeypatch.setattr(loading, "create", create)
    assert loading.load(folder, memory=memory).name == "torch"
    monkeypatch.setattr(loading, "measure", None)  # it is remembered
    assert loading.load(folder, memory=memory).name == "torch"


def test_an_unknown_backend_is_refused(folder):
    with pytest.raises(ValueError, match="expected backend auto"):
        ros_xai.engines.load(folder, "cuda9")


def test_weights_of_more_bits_than_this_processor_adds_up_run_on_torch_alone(
    tmp_path, network, memory, monkeypatch
):
    """A graph as from a processor with VNNI, beside the float network on onnxruntime."""
    pytest.importorskip("onnxruntime")
    model = to_onnx(network, Signature({"image": 3}, {"peak": 1}))
    rng = np.random.default_rng(0)
    images = [{"image": rng.random((1, 3, 16, 24), dtype=np.float32)} for _ in range(4)]
    monkeypatch.setattr(int8, "wide_sums", lambda: True)
    folder = write_bundle(
        tmp_path / "bundle", int8.quantize_int8(model, images), network.state_dict(), "test",
        {"image": (1, 3, 16, 24)}, origin="seed 0", method="int8", figures={}, weight_bits=8,
    )  # fmt: skip
    monkeypatch.setattr(backends, "weight_bits", lambda: 7)
    for backend in ("onnxruntime", "openvino"):
        with pytest.raises(EngineError, match="saturate"):
            loading.load(folder, backend)
    engine = loading.load(folder, memory=memory)
    assert "torch" in engine.name
    exact = OnnxRuntimeEngine(model)
    error = [np.abs(engine(image)["peak"] - exact(image)["peak"]).max() for image in images]
    assert 0 < max(error) < 0.01


def test_int8_answers_nearly_the_same(network):
    pytest.importorskip("onnxruntime")
    model = to_onnx(network, Signature({"image": 3}, {"peak": 1}))
    rng = np.random.default_rng(0)
    images = [{"image": rng.random((1, 3, 16, 24), dtype=np.float32)} for _ in range(4)]
    quantized = int8.quantize_int8(model, images)
    exact, rough = OnnxRuntimeEngine(model), OnnxRuntimeEngine(quantized)
    error = np.abs(exact(images[0])["peak"] - rough(images[0])["peak"])
    assert 0 < error.max() < 0.02
    with pytest.raises(EngineError, match="calibration"):
        int8.quantize_int8(model, [])

"""TensorRT without a GPU: keys, cache, refusals, what the builder is told. With one: answers."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from ros_xai.engines.base import EngineError
from ros_xai.engines.cache import EngineCache, EngineKey
from ros_xai.engines.compile import Signature, to_onnx
from ros_xai.engines.tensorrt_engine import (
    TensorRtEngine,
    build_engine,
    engine_key,
    load_tensorrt,
    to_float16,
)

SHAPE = (1, 3, 32, 48)
PROFILE = {"image": (SHAPE, SHAPE, SHAPE)}
KEY = EngineKey("aa", "10.13", "Orin", "8.7", "fp16", (("image", (SHAPE,) * 3),))


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def never() -> bytes:
    raise AssertionError("built again")


def files(cache):
    return cache.folder / f"{KEY.digest}.engine", cache.folder / f"{KEY.digest}.json"


def test_built_once_then_cached(cache):
    assert cache.get(KEY, lambda: b"engine") == (b"engine", "built")
    assert cache.get(KEY, never) == (b"engine", "cached")


@pytest.mark.parametrize(
    "change",
    [{"model": "bb"}, {"version": "11.0"}, {"gpu": "RTX"}, {"compute_capability": "8.9"},
     {"precision": "fp32"}, {"shapes": (("image", ((1, 3, 64, 64),) * 3),)}],
)  # fmt: skip
def test_whatever_the_engine_depends_on_makes_another_key(cache, change):
    cache.get(KEY, lambda: b"one")
    other = dataclasses.replace(KEY, **change)
    assert other.digest != KEY.digest
    assert cache.get(other, lambda: b"two") == (b"two", "built")
    assert cache.get(KEY, never) == (b"one", "cached")


def test_a_corrupted_engine_is_built_again(cache):
    cache.get(KEY, lambda: b"engine")
    files(cache)[0].write_bytes(b"engin3")
    data, why = cache.get(KEY, lambda: b"engine")
    assert (data, why) == (b"engine", "rebuilt: the file is not the one that was recorded")
    assert cache.get(KEY, never) == (b"engine", "cached")


def test_a_foreign_engine_with_its_own_record_is_built_again(cache):
    """A file for another GPU under this one's name, its hash right."""
    cache.get(dataclasses.replace(KEY, gpu="RTX"), lambda: b"foreign")
    for file in cache.folder.iterdir():
        file.rename(cache.folder / f"{KEY.digest}{file.suffix}")
    data, why = cache.get(KEY, lambda: b"mine")
    assert (data, why) == (b"mine", "rebuilt: its record is of another key")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": 3}', "null"])
def test_a_damaged_record_is_built_again(cache, text):
    cache.get(KEY, lambda: b"engine")
    files(cache)[1].write_text(text)
    assert cache.get(KEY, lambda: b"again")[0] == b"again"


def test_an_engine_without_record_is_not_trusted(cache):
    cache.get(KEY, lambda: b"engine")
    files(cache)[1].unlink()
    assert cache.get(KEY, lambda: b"again")[0] == b"again"


def test_a_link_is_not_followed(cache, tmp_path):
    cache.get(KEY, lambda: b"engine")
    engine = files(cache)[0]
    elsewhere = tmp_path / "elsewhere"
    engine.rename(elsewhere)
    engine.symlink_to(elsewhere)
    assert cache.get(KEY, lambda: b"again")[0] == b"again"


def test_forgotten(cache):
    cache.get(KEY, lambda: b"engine")
    cache.forget(KEY)
    assert cache.get(KEY, lambda: b"again") == (b"again", "built")


def test_the_record_says_what_the_engine_is(cache):
    cache.get(KEY, lambda: b"engine")
    record = json.loads(files(cache)[1].read_text())
    assert record["key"]["gpu"] == "Orin"
    assert record["key"]["precision"] == "fp16"


def test_without_tensorrt_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"^TensorRT is not installed") as caught:
        load_tensorrt()
    assert "\n" not in str(caught.value)


def test_the_stubs_alone_are_not_tensorrt(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", types.ModuleType("tensorrt"))
    with pytest.raises(EngineError, match="only its type stubs"):
        load_tensorrt()


def test_without_a_gpu_it_says_so(monkeypatch):
    module = types.ModuleType("tensorrt")
    module.Builder = object
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="needs an NVIDIA GPU"):
        load_tensorrt()


def test_the_key_is_of_this_model_gpu_and_version(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 7))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Orin")
    trt = types.SimpleNamespace(__version__="10.13.0")
    key = engine_key(b"model", "fp16", PROFILE, trt)
    assert (key.version, key.gpu, key.compute_capability) == ("10.13.0", "Orin", "8.7")
    assert key.digest == engine_key(b"model", "fp16", dict(PROFILE), trt).digest
    assert key.digest != engine_key(b"modem", "fp16", PROFILE, trt).digest
    assert key.digest != engine_key(b"model", "fp32", PROFILE, trt).digest


class Recorder:
    """Stands for TensorRT's objects: keeps calls, answers with what it was given."""

    def __init__(self, calls, **answers):
        self._calls, self._answers = calls, answers

    def __getattr__(self, name):
        def call(*arguments, **named):
            self._calls.append((name, *arguments, *named.values()))
            return self._answers.get(name, True)

        return call


def fake_tensorrt(calls, flag=True, parses=True, data=b"compiled"):
    profile = Recorder(calls)
    serialized = types.SimpleNamespace(serialize=lambda: b"timings")
    config = Recorder(calls, create_timing_cache="cache", get_timing_cache=serialized)
    builder = Recorder(
        calls, create_network="network", create_builder_config=config,
        create_optimization_profile=profile, build_serialized_network=data,
    )  # fmt: skip
    parser = Recorder(calls, parse=parses, get_error="no such operator")
    parser.num_errors = 1
    flags = types.SimpleNamespace(**({"STRONGLY_TYPED": 1} if flag else {}))
    return types.SimpleNamespace(
        Builder=lambda logger: builder,
        OnnxParser=lambda network, logger: parser,
        NetworkDefinitionCreationFlag=flags,
        MemoryPoolType=types.SimpleNamespace(WORKSPACE="workspace"),
    )


@pytest.mark.parametrize(("flag", "bits"), [(True, 2), (False, 0)])
def test_the_network_is_strongly_typed_in_both_versions(tmp_path, flag, bits):
    """TensorRT 10 is told by a flag; 11 has no other kind."""
    calls: list = []
    timings = tmp_path / "cache" / "timings"
    assert build_engine(fake_tensorrt(calls, flag), None, b"onnx", PROFILE, timings) == b"compiled"
    assert ("create_network", bits) in calls
    assert ("set_shape", "image", SHAPE, SHAPE, SHAPE) in calls
    assert ("create_timing_cache", b"") in calls
    assert timings.read_bytes() == b"timings"
    calls.clear()
    build_engine(fake_tensorrt(calls, flag), None, b"onnx", PROFILE, timings)
    assert ("create_timing_cache", b"timings") in calls


def test_what_it_cannot_read_or_build_is_an_error(tmp_path):
    with pytest.raises(EngineError, match="no such operator"):
        build_engine(fake_tensorrt([], parses=False), None, b"", PROFILE, tmp_path / "t")
    with pytest.raises(EngineError, match="cannot build"):
        build_engine(fake_tensorrt([], data=None), None, b"", PROFILE, tmp_path / "t")


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ELU(), torch.nn.Conv2d(8, 2, 1)
    ).eval()  # fmt: skip


class Tuple(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, image):
        return (self.module(image),)


def onnx() -> bytes:
    return to_onnx(Tuple(network()), Signature({"image": 3}, {"map": 2}))


def test_the_float16_graph_keeps_float32_at_its_ends():
    ort = pytest.importorskip("onnxruntime")
    from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine

    half = to_float16(onnx())
    import onnx as onnx_package

    kinds = {t.data_type for t in onnx_package.load_model_from_string(half).graph.initializer}
    assert onnx_package.TensorProto.FLOAT16 in kinds and ort
    image = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    full, rough = OnnxRuntimeEngine(onnx()), OnnxRuntimeEngine(half)
    error = np.abs(full({"image": image})["map"] - rough({"image": image})["map"])
    assert rough.input_specs == full.input_specs
    assert 0 < error.max() < 1e-2


def have_tensorrt() -> bool:
    try:
        load_tensorrt()
    except EngineError:
        return False
    return True


@pytest.mark.gpu
@pytest.mark.skipif(not have_tensorrt(), reason="needs TensorRT and an NVIDIA GPU")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("fp16", 2e-2)])
def test_on_the_gpu_the_answers_are_those_of_torch(tmp_path: Path, precision, tolerance):
    cache = EngineCache(tmp_path)
    rng = np.random.default_rng(0)
    for origin in ("built", "cached"):
        engine = TensorRtEngine(onnx(), PROFILE, precision, cache)
        assert engine.origin == origin
        for _ in range(3):  # enqueued, captured, replayed
            image = rng.random(SHAPE, dtype=np.float32)
            with torch.no_grad():
                expected = network()(torch.from_numpy(image)).numpy()
            assert np.abs(engine({"image": image})["map"] - expected).max() < tolerance


@pytest.mark.gpu
@pytest.mark.skipif(not have_tensorrt(), reason="needs TensorRT and an NVIDIA GPU")
def test_on_the_gpu_a_shape_outside_the_profile_is_refused(tmp_path: Path):
    engine = TensorRtEngine(onnx(), PROFILE, "fp32", EngineCache(tmp_path))
    with pytest.raises(EngineError, match=r"expected float32|outside"):
        engine({"image": np.zeros((1, 3, 64, 64), np.float32)})

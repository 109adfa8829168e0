"""Bundles: verified on load, refused when anything was changed; never unpickled."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import ros_xai.engines
from ros_xai.engines import backends, int8, loading
from ros_xai.engines.base import EngineError, Timing
from ros_xai.engines.bundle import CARD, MODEL, WEIGHTS, BundleError, read_bundle, write_bundle
from ros_xai.engines.cache import Memory
from ros_xai.engines.compile import Signature, to_onnx
from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine

ROOT = Path(__file__).parents[2]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, image):
        return (torch.sigmoid(self.conv(image)).amax(1),)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def folder(tmp_path, network):
    model = to_onnx(network, Signature({"image": 3}, {"peak": 1}))
    return write_bundle(
        tmp_path / "bundle", model, network.state_dict(), "test", {"image": (1, 3, 16, 24)},
        origin="seed 0", method={"name": "none"}, figures={"loss": 0.5},
    )  # fmt: skip


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path / "memory.json")


def test_what_was_written_is_read(folder, network):
    bundle = read_bundle(folder)
    assert bundle.card["figures"] == {"loss": 0.5}
    assert bundle.shapes == {"image": (1, 3, 16, 24)}
    for name, tensor in network.state_dict().items():
        assert torch.equal(bundle.weights[name], tensor)


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


def change(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("name", [WEIGHTS, MODEL])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_changed_file_is_refused(folder, name, at):
    change(folder / name, at)
    with pytest.raises(BundleError, match="not the file that the card was written for"):
        ros_xai.engines.load(folder)


def test_a_changed_card_is_refused(folder):
    card = json.loads((folder / CARD).read_text())
    card["figures"]["loss"] = 0.1
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(BundleError, match="changed after it was written"):
        read_bundle(folder)


def test_files_of_two_bundles_are_not_mixed(folder, tmp_path, network):
    with torch.no_grad():
        network.conv.bias += 1
    model = to_onnx(network, Signature({"image": 3}, {"peak": 1}))
    other = write_bundle(
        tmp_path / "other", model, network.state_dict(), "test", {"image": (1, 3, 16, 24)},
        origin="", method="", figures={},
    )  # fmt: skip
    (folder / MODEL).write_bytes((other / MODEL).read_bytes())
    with pytest.raises(BundleError):
        read_bundle(folder)


@pytest.mark.parametrize("name", [WEIGHTS, MODEL, CARD])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match="expected a folder with"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', "\x00"])
def test_a_card_that_is_none(folder, text):
    (folder / CARD).write_text(text)
    with pytest.raises(BundleError):
        read_bundle(folder)


def test_another_task_is_refused(folder):
    with pytest.raises(BundleError, match="expected a bundle for depth; got test"):
        loading.load_for("depth", folder)


class Exploit:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", [WEIGHTS, MODEL])
def test_a_malicious_pickle_is_never_run(folder, tmp_path, name):
    """Even one whose hash the card bears: nothing on the way unpickles."""
    mark = tmp_path / "ran"
    data = pickle.dumps(Exploit(mark))
    from ros_xai.engines import bundle as module

    card = json.loads((folder / CARD).read_text())
    card["sha256"][name] = module.hashlib.sha256(data).hexdigest()
    card["digest"] = module._digest(card)
    (folder / CARD).write_text(json.dumps(card))
    (folder / name).write_bytes(data)
    with pytest.raises(EngineError):
        ros_xai.engines.load(folder)
    assert not mark.exists()
    pickle.loads(data)  # the exploit does work where something unpickles
    assert mark.exists()


def test_no_code_of_the_package_unpickles():
    pattern = re.compile(
        r"\bpickle\b|torch\.load\(|joblib|allow_pickle\s*=\s*True|\bdill\b|\bmarshal\b|shelve"
    )
    found = []
    for file in sorted((ROOT / "ros_xai").rglob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            code = line.split("#")[0]
            safe = "weights_only=True" in code or "allow_pickle=False" in code
            if pattern.search(code) and not safe and "pickl" not in _prose(code):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, found


def _prose(code: str) -> str:
    """A line that is a sentence and no code."""
    return code if not re.search(r"import|\(|=", code) else ""


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

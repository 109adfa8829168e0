"""Bundles: verified on load, refused when anything was changed; never unpickled."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch

import ros_xai.engines
from ros_xai.engines import loading
from ros_xai.engines.base import EngineError
from ros_xai.engines.bundle import CARD, MODEL, WEIGHTS, BundleError, read_bundle, write_bundle
from ros_xai.engines.compile import Signature, to_onnx

ROOT = Path(__file__).parents[2]


def test_what_was_written_is_read(folder, network):
    bundle = read_bundle(folder)
    assert bundle.card["figures"] == {"loss": 0.5}
    assert bundle.shapes == {"image": (1, 3, 16, 24)}
    for name, tensor in network.state_dict().items():
        assert torch.equal(bundle.weights[name], tensor)


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

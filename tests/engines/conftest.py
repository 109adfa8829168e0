"""A small network, and the bundle that is made of it."""

from __future__ import annotations

import pytest
import torch

from ros_xai.engines.bundle import write_bundle
from ros_xai.engines.cache import Memory
from ros_xai.engines.compile import Signature, to_onnx


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

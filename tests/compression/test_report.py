"""Figures of the report, from counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ros_xai.compression import output_error, red
from ros_xai.compression.report import Cost, OutputError, layer_costs, packed_bytes


def small():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Flatten(),
        nn.Linear(3 * 30, 7),
    )  # fmt: skip
    return network.eval(), torch.randn(1, 2, 5, 6)


def test_operations_and_parameters():
    network, x = small()
    costs = layer_costs(network, x)
    assert [cost.macs for cost in costs.values()] == [30 * 2 * 4 * 9, 30 * 4 * 3, 90 * 7]
    report = red(network, x).report
    assert report.macs == report.macs_before == 30 * 72 + 30 * 12 + 630
    assert report.parameters == 72 + 4 + 12 + 3 + 630 + 7
    assert report.bytes == 4 * report.parameters
    assert report.distinct < report.distinct_before


def test_layers_that_do_not_run_are_not_counted():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            return self.used(x)

    assert red(Spare().eval(), torch.ones(1, 3)).report.parameters == 16


def test_a_layer_that_runs_twice_costs_twice():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    costs = layer_costs(nn.Sequential(conv, nn.ReLU(), conv), torch.randn(1, 2, 5, 6))
    assert costs["0"] == Cost(macs=2 * 30 * 2 * 2 * 9, positions=2 * 30)


def test_packed_bytes():
    weight = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).repeat(100)  # 3 bits a code, 5 values
    assert packed_bytes(weight) == 5 * 4 + (3 * 500 + 7) // 8
    assert packed_bytes(torch.arange(8.0)) == 32  # the table would be as large as the weights


def test_output_error_by_hand():
    error = output_error(
        lambda x: x, lambda x: x + torch.tensor([0.0, 3.0]), [torch.tensor([4.0, 4.0])]
    )
    assert error == OutputError(3.0, 1.5, pytest.approx(3 / 32**0.5))
    with pytest.raises(ValueError, match="at least one image"):
        output_error(lambda x: x, lambda x: x, [])


def test_what_was_not_measured_says_so():
    network, x = small()
    report = red(network, x).report
    figures = report.figures()
    assert figures["metric"] == figures["latency"] == figures["output_error"] == "not measured"
    done = report.completed(OutputError(0, 0, 0), {"name": "a", "before": 1.0, "after": 0.9}, {})
    assert done.figures()["metric"]["after"] == 0.9
    assert done.figures()["latency"] == {}

"""Every benchmark that `ros_xai bench` lists does run when it is asked to."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.cli.bench import CHECKOUT, available


@pytest.mark.parametrize("name", available())
def test_a_benchmark_runs_as_a_module(name):
    text = (CHECKOUT / "benchmarks" / f"{name.replace('-', '_')}.py").read_text()
    assert "main(" in text.partition('if __name__ == "__main__":')[2]


def test_help_after_a_name_is_that_of_the_benchmark(capfd):
    assert CliRunner().invoke(app, ["bench", "message-conversion", "--help"]).exit_code == 0
    assert "--quick" in capfd.readouterr().out

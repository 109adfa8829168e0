"""`ros_xai view` needs two ports, of which the page's is the lower one; no rerun is needed here."""

from __future__ import annotations

from typer.testing import CliRunner

from ros_xai.cli import app


def test_a_port_without_a_next_one_is_refused() -> None:
    result = CliRunner().invoke(app, ["view", "drive.mcap", "--port", "65535"])
    assert result.exit_code == 2
    assert "65534" in result.output

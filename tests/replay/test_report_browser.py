"""The report in a real browser: it renders offline, without errors, with every picture."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("rclpy", reason="rclpy is not installed")

from ros_xai.cli import app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

# Looks at the page once it is loaded, opens a picture, and leaves what it saw in the title.
PROBE = """<script>
window.addEventListener("load", () => {
  const images = [...document.images], charts = [...document.querySelectorAll("svg.chart")];
  const seen = {
    images: images.length,
    broken: images.filter((image) => !image.naturalWidth).length,
    charts: charts.filter((chart) => chart.getBoundingClientRect().width > 100).length,
    sections: [...document.querySelectorAll("h2")].map((title) => title.textContent),
    overflow: document.documentElement.scrollWidth > innerWidth,
  };
  document.querySelector(".panel")?.click();
  seen.zoomed = document.querySelector("dialog").open && !!document.querySelector("dialog img");
  document.title = JSON.stringify(seen);
});
</script>"""


def browse(page: Path, profile: Path, width: int = 1200) -> tuple[str, str]:
    """The page's DOM after loading and the browser's log, with the network cut off."""
    result = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    return result.stdout, result.stderr


@pytest.fixture
def page(drive: Path, tmp_path: Path) -> Path:
    """The report of a lock-step replay of the small drive."""
    arguments = ["replay", str(drive), "--lockstep", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return tmp_path / "out" / "report.html"


def test_report_renders_offline_without_errors_and_with_every_picture(
    page: Path, tmp_path: Path
) -> None:
    html = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', html)  # nothing is fetched from anywhere
    page.write_text(html.replace("</body>", PROBE + "</body>"))
    for width in (1200, 420):
        dom, log = browse(page, tmp_path / f"profile{width}", width)
        assert "CONSOLE" not in log
        title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
        assert title is not None
        seen = json.loads(title[1])
        # 6 samples and 4 worst frames of four pictures each, and two legends twice at most
        assert seen["images"] >= 4 * (6 + 4) + 2
        assert seen["broken"] == 0
        assert seen["charts"] == 5
        assert seen["zoomed"]
        assert not seen["overflow"]
        assert {"Depth", "Contact sheet", "Worst frames", "Latency", "Bag", "What ran"} <= set(
            seen["sections"]
        )


def test_the_browser_tells_of_errors(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>throw new Error('seen')</script>")
    _, log = browse(page, tmp_path / "profile")
    assert "CONSOLE" in log

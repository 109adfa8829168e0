"""The comparison in a real browser: regressions first, every chart and picture, nothing fetched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ros_xai.fleet import report
from ros_xai.fleet.conditions import BagCondition, Conditions, broken, too_many
from ros_xai.fleet.report import findings, replay_command
from ros_xai.replay.panels import Panel, to_uri
from ros_xai.replay.results import write_json
from tests.fleet.conftest import START_NS, MadeUp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

PROBE = """<script>
window.addEventListener("load", () => {
  const images = [...document.images], charts = [...document.querySelectorAll("svg.chart")];
  const rows = [...document.querySelectorAll("#comparison-1 table tr")].slice(1);
  const seen = {
    images: images.length,
    broken: images.filter((image) => !image.naturalWidth).length,
    charts: charts.filter((chart) => chart.getBoundingClientRect().width > 100).length,
    sections: [...document.querySelectorAll("h2")].map((title) => title.textContent),
    first: rows[0] ? [...rows[0].cells].map((cell) => cell.textContent.trim()) : [],
    commands: [...document.querySelectorAll("#worst code")].map((code) => code.textContent),
    worst: document.querySelector("#worst h3")?.textContent,
    fails: document.querySelectorAll("#conditions tr.fails").length,
    overflow: document.documentElement.scrollWidth > innerWidth,
  };
  document.querySelector(".panel")?.click();
  seen.zoomed = document.querySelector("dialog").open && !!document.querySelector("dialog img");
  document.title = JSON.stringify(seen);
});
</script>"""


def browse(page: Path, profile: Path, width: int) -> tuple[str, str]:
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


def written(made_up: MadeUp, loss: float) -> tuple[Path, list, object]:
    """The report of 12 bags, `new` having `loss` more error, on bag07 three times that."""
    rng = np.random.default_rng(0)
    rows, pictures, frames = {}, {}, {}
    picture = to_uri(rng.integers(0, 255, (24, 48, 3), dtype=np.uint8))
    panels = [Panel(name, picture) for name in ("camera", "input beams", "depth", "error")]
    for index in range(12):
        before = 0.2 + 0.01 * index
        lost = loss * (3 if index == 7 else rng.uniform(0.8, 1.2))
        for config, error in (("old", before), ("new", before + lost)):
            pair = (f"bag{index:02}", config)
            rows[pair] = {
                "abs_rel": error, "rmse": 5.0 + 0.01 * index, "a1": 0.8, "coverage": 1.0,
                "range_0_10_abs_rel": error / 2,
            }  # fmt: skip
            pictures[pair] = [
                {
                    "stamp_ns": START_NS + 10**8, "abs_rel": error, "caption": panel.caption,
                    "source": panel.source,
                }
                for panel in panels
            ]  # fmt: skip
            frames[pair] = [{"stamp_ns": START_NS, "speed": 3.0, "abs_rel": error}]
    tags = {f"bag{i:02}": {"domain": "night" if i % 2 else "clear"} for i in range(12)}
    rows["bag03", "new"]["status"] = "degraded"
    rows["bag03", "new"]["problems"] = ["damaged: it <breaks> off"]
    plan, store, summary = made_up(rows, tags, pictures=pictures, frames=frames)
    run = {"version": "1", "engine": "local", "date": "today", "same": {}, "configs": []}
    run["configs"] = [
        {"name": c.name, "path": str(c.path), "sha256": c.sha256, "text": c.text}
        for c in plan.candidates
    ]
    write_json(store.folder / "run.json", run)
    found = findings(plan, store, summary)
    conditions = Conditions((BagCondition("abs_rel", max=0.3, configs=("new",)),), 0)
    breaches = broken(conditions, found.rows, "old")
    too = too_many(conditions, found.all)
    page = report.write_report(plan, store, summary, found, breaches, too)
    return page, list(found.comparisons["new"]), plan


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_planted_regression_leads_the_page(made_up: MadeUp, tmp_path: Path) -> None:
    page, comparisons, plan = written(made_up, loss=0.05)
    assert comparisons[0].verdict == "regression"
    values = next(c.measure for c in comparisons if c.measure.name == "abs_rel").values["new"]
    failing = int((values > 0.3).sum())
    html = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', html)  # nothing is fetched from anywhere
    assert "it &lt;breaks&gt; off" in html
    page.write_text(html.replace("</body>", PROBE + "</body>"))
    for width in (1200, 420):
        dom, log = browse(page, tmp_path / f"profile{width}", width)
        assert "CONSOLE" not in log
        title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
        assert title is not None
        seen = json.loads(title[1])
        assert seen["images"] == 2 + 4 * 2 * 4  # legends; worst bags, configurations, pictures
        assert seen["broken"] == 0
        assert seen["charts"] == 5  # intervals, differences, three distributions
        assert seen["first"][-1] == "regression" and seen["first"][0].startswith("abs_rel")
        low, high = map(float, seen["first"][5].split(" to "))
        assert 0 < low <= high
        assert seen["worst"].startswith("bag07")
        assert seen["commands"][:2] == [replay_command(plan, "bag07", n) for n in ("old", "new")]
        assert seen["fails"] == failing > 0
        assert seen["zoomed"] and not seen["overflow"]
        assert {
            "Problems", "new against old", "Conditions", "Figures", "Slices", "Worst bags",
            "What ran",
        } <= set(seen["sections"])  # fmt: skip


def test_equals_have_no_regression(made_up: MadeUp) -> None:
    page, comparisons, _ = written(made_up, loss=0.0)
    assert {c.verdict for c in comparisons} == {"none", "too few bags"}
    assert "No regression." in page.read_text()


def test_the_command_of_a_bag_replays_it(made_up: MadeUp) -> None:
    _, _, plan = written(made_up, loss=0.0)
    assert replay_command(plan, "bag07", "new") == (
        "ros_xai replay /drives/bag07.mcap --lockstep --config /configs/new.yaml "
        "--out out/bag07-new"
    )

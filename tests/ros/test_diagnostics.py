from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header

from ros_xai.ros.diagnostics import Finding, Limits, Monitor, Stages, to_latency, to_status


class Bench:
    """A Monitor on a clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        limits = Limits(tolerance_ms=100.0, error_after_s=2.0, stale_after_s=3.0)
        self.monitor = Monitor("image", lambda: limits, lambda: self.time)

    def frame(self, cycle_ms: float, wait_ms: float = 0.0) -> None:
        self.monitor.frame_in()
        with self.monitor.working():
            self.time += cycle_ms / 1e3
        self.monitor.finish({"wait": wait_ms, "inference": cycle_ms})

    @property
    def findings(self) -> list[Finding]:
        return self.monitor.findings()


def levels(findings):
    return [finding.level for finding in findings]


def test_before_the_first_result_figures_say_waiting_and_never_zero():
    bench = Bench()
    assert bench.findings == [Finding("stale", "waiting for the first image")]
    bench.monitor.frame_in()
    assert bench.findings == [Finding("warn", "waiting for the first result")]
    values = bench.monitor.values()
    assert {values[k] for k in ("rate_hz", "latency_ms.p50", "latency_ms.p99")} == {"waiting"}


def test_a_node_that_passes_every_frame_over_until_it_is_asked_is_well():
    bench = Bench()
    for _ in range(30):
        bench.monitor.frame_in()
        bench.monitor.drop("image.superseded")
    assert bench.findings == [Finding("ok", "waiting to be asked")]
    status = to_status("explanation", bench.findings, bench.monitor.values())
    assert (status.level, status.message) == (DiagnosticStatus.OK, "waiting to be asked")
    bench.time += 5.0
    assert Finding("stale", "no image for 5.0 s") in bench.findings
    bench.monitor.frame_in()  # asked, and in work
    assert bench.findings == [Finding("warn", "waiting for the first result")]
    bench.monitor.finish({"inference": 40.0})
    assert bench.findings == []


def test_a_healthy_node_has_no_findings():
    bench = Bench()
    for _ in range(20):
        bench.frame(40.0)
        bench.time += 0.06
    assert bench.findings == []


def test_rate_and_latency_are_those_of_the_frames():
    bench = Bench()
    for _ in range(41):
        bench.frame(40.0, wait_ms=10.0)
        bench.time += 0.06  # 10 Hz
    bench.time -= 0.06
    values = bench.monitor.values()
    assert float(values["rate_hz"]) == pytest.approx(10.0)
    assert float(values["latency_ms.p50"]) == pytest.approx(50.0)
    assert values["stage_ms.inference"] == "40.00"


def test_percentiles_are_numpys():
    bench = Bench()
    times = np.random.default_rng(0).uniform(10, 90, 200)
    for ms in times:
        bench.frame(float(ms))
    np.testing.assert_allclose(bench.monitor.latency_ms(), np.percentile(times, (50, 99)))


def test_the_rate_falls_when_frames_stop_coming():
    bench = Bench()
    for _ in range(10):
        bench.frame(100.0)
    before = float(bench.monitor.values()["rate_hz"])
    bench.time += 5.0
    assert float(bench.monitor.values()["rate_hz"]) < before / 3
    bench.time += 10.0
    assert bench.monitor.values()["rate_hz"] == "waiting"


def test_one_slow_cycle_warns_once():
    bench = Bench()
    bench.frame(150.0)
    bench.frame(20.0)
    assert bench.findings == [Finding("warn", "a frame took 150 ms of 100 ms")]
    assert bench.findings == []


def test_waiting_for_partners_is_no_slow_cycle():
    bench = Bench()
    bench.frame(20.0, wait_ms=5000.0)
    assert bench.findings == []


def test_over_budget_for_longer_than_the_limit_is_an_error_until_a_fast_frame():
    bench = Bench()
    for _ in range(9):
        bench.frame(200.0)  # 1.8 s without a break
    assert levels(bench.findings) == ["warn"]
    bench.frame(200.0)
    bench.frame(200.0)
    assert bench.findings == [Finding("error", "over 100 ms per frame for 2.2 s")]
    bench.time += 2.0  # a pause of the camera does not make it worse
    assert bench.findings == [Finding("error", "over 100 ms per frame for 2.2 s")]
    bench.frame(20.0)
    assert "error" not in levels(bench.findings)


def test_a_frame_that_hangs_is_reported_while_it_hangs():
    bench = Bench()
    bench.frame(20.0)
    bench.monitor.frame_in()
    with bench.monitor.working():
        bench.time += 1.0
        assert bench.findings == [Finding("warn", "a frame is in work for 1.0 s")]
        bench.time += 1.5
        assert bench.findings == [Finding("error", "over 100 ms per frame for 2.5 s")]
    assert bench.findings == []


def test_a_frame_that_fails_no_longer_counts_as_in_work():
    bench = Bench()
    bench.frame(20.0)
    with pytest.raises(RuntimeError), bench.monitor.working():
        raise RuntimeError
    bench.time += 1.0
    assert bench.findings == []


def test_no_input_is_stale():
    bench = Bench()
    bench.frame(20.0)
    bench.time += 3.5
    assert bench.findings == [Finding("stale", "no image for 3.5 s")]


def test_new_drops_warn_once_by_reason_and_newest_wins_is_no_fault():
    bench = Bench()
    bench.frame(20.0)
    for reason in ("image.encoding", "image.encoding", "points.empty", "image.superseded"):
        bench.monitor.drop(reason)
    assert bench.findings == [Finding("warn", "dropped image.encoding 2, points.empty 1")]
    assert bench.findings == []
    values = bench.monitor.values()
    assert values["drops.image.superseded"] == "1"
    assert values["drops.image.encoding"] == "2"
    assert bench.monitor.frame_drops() == 3


def test_the_last_error_is_the_last_text():
    bench = Bench()
    assert bench.monitor.values()["last_error"] == "none"
    bench.monitor.drop("image.encoding", "expected rgb8; got 16UC1")
    bench.monitor.drop("image.superseded")
    assert bench.monitor.values()["last_error"] == "image.encoding: expected rgb8; got 16UC1"


def test_notes_count_without_dropping():
    bench = Bench()
    bench.monitor.note("points.not_finite", 7)
    bench.monitor.note("points.not_finite", 5)
    assert bench.monitor.values()["notes.points.not_finite"] == "12"
    assert not bench.monitor.drops


def test_a_status_has_the_gravest_level_and_all_texts():
    found = [Finding("warn", "slow"), Finding("error", "broken"), Finding("stale", "no image")]
    status = to_status("/car/depth: depth", found, {"engine": "torch"})
    assert status.level == DiagnosticStatus.ERROR
    assert status.message == "slow; broken; no image"
    assert [(v.key, v.value) for v in status.values] == [("engine", "torch")]
    assert to_status("n", found[::2], {}).level == DiagnosticStatus.STALE
    well = to_status("n", [], {})
    assert (well.level, well.message) == (DiagnosticStatus.OK, "running")


def test_latency_is_under_the_frames_header_in_order_of_the_stages():
    header = Header(frame_id="camera")
    header.stamp.sec = 7
    message = to_latency("/depth", header, {"decode": 1.5, "inference": 20.0})
    assert message.header == header
    values = [(v.key, v.value) for v in message.status[0].values]
    assert values == [("decode", "1.500"), ("inference", "20.000")]


def test_stages_add_up_the_time_of_their_blocks_even_of_one_that_fails():
    stages = Stages()
    with stages("decode"):
        time.sleep(0.01)
    with pytest.raises(RuntimeError), stages("decode"):
        time.sleep(0.01)
        raise RuntimeError
    with stages("publish"):
        pass
    assert list(stages.ms) == ["decode", "publish"]
    assert stages.ms["decode"] >= 20.0
    assert stages.ms["publish"] < stages.ms["decode"]

"""Findings on stamp lists by hand, and on bags with known faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.replay.bag import Bag
from ros_xai.replay.scan import TopicScan, duplicates, missing, out_of_order, scan, stale
from ros_xai.world.bag_writer import BagWriter

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000


def ns(*values: float) -> Any:
    return np.array([int(value * 1e9) for value in values], dtype=np.int64)


def test_missing_counts_the_periods_that_a_gap_lacks() -> None:
    assert missing(ns(0.0, 0.1, 0.2, 0.3, 0.4)) == 0
    assert missing(ns(0.0, 0.1, 0.2, 0.5, 0.6, 0.7)) == 2
    assert missing(ns(0.0, 0.101, 0.199, 0.302, 0.601, 0.699)) == 2


def test_topics_without_a_period_have_no_missing_messages() -> None:
    assert missing(ns(0.0, 0.1, 0.2)) is None
    assert missing(ns(0.0, 0.1, 0.5, 0.55, 2.0, 2.9, 3.0)) is None


def test_order_duplicates_and_staleness_are_told_apart() -> None:
    stamps = ns(0.0, 0.1, 0.3, 0.2, 0.2, 0.4)
    assert out_of_order(stamps) == 1
    assert duplicates(stamps) == 1
    assert stale(ns(0.0, 0.1, 0.2), ns(5.0, 5.1, 5.2)) == 0
    assert stale(ns(0.0, 0.1, 0.2, 0.3), ns(0.0, 0.1, 0.2, 0.9)) == 1


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(-(10**12), 10**12))
def test_findings_do_not_depend_on_the_epoch(values: list[int], shift: int) -> None:
    stamps = np.array(values, dtype=np.int64) * PERIOD_NS
    for count in (missing, duplicates, out_of_order):
        assert count(stamps) == count(stamps + shift)
    assert stale(stamps, stamps + shift) == 0


@given(st.permutations(list(range(12))))
def test_out_of_order_is_the_number_below_the_running_maximum(order: list[int]) -> None:
    expected = sum(value < max(order[: index + 1]) for index, value in enumerate(order))
    assert out_of_order(np.array(order, dtype=np.int64)) == expected


def faulty(bag: BagWriter) -> None:
    """Ten frames at 10 Hz, of which 4 and 5 are missing, with one fault of each kind."""
    pixels = np.zeros((4, 4), np.uint8)
    for index in (0, 1, 2, 3, 6, 7, 8, 9):
        log = START_NS + index * PERIOD_NS
        bag.image("/camera/image", log, "camera", pixels, "mono8")
        bag.image("/clean", log, "camera", pixels, "mono8")
        if index == 3:
            bag.image("/camera/image", log, "camera", pixels, "mono8", log_ns=log + 1)
        if index == 7:
            bag.cdr("/camera/image", "sensor_msgs/msg/Image", b"\x00\x01\x00\x00\x07", log + 1)
        if index == 8:
            late = log - 5 * PERIOD_NS // 2
            bag.image("/camera/image", late, "camera", pixels, "mono8", log_ns=log + 1)
        if index == 9:
            old = START_NS - 20 * PERIOD_NS
            bag.image("/camera/image", old, "camera", pixels, "mono8", log_ns=log + 1)


def test_each_fault_of_a_bag_is_counted(bag_of: Any) -> None:
    bag = Bag(bag_of(faulty))
    calls = []
    result = scan(bag, lambda: calls.append(1))
    by_topic: dict[str, TopicScan] = {topic.topic: topic for topic in result.topics}
    camera = by_topic["/camera/image"]
    assert (camera.messages, camera.corrupt, camera.duplicate) == (12, 1, 1)
    assert camera.out_of_order == 2
    assert camera.stale == 1
    assert by_topic["/clean"].problems == {"missing": 2}
    assert by_topic["/clean"].rate_hz == pytest.approx(10)
    assert by_topic["/clean"].longest_gap_s == pytest.approx(0.3)
    assert result.messages == len(calls) == 20
    assert result.duration_s == pytest.approx(0.9, abs=1e-6)
    assert result.sha256 == bag.sha256()


def test_an_intact_drive_has_no_problem(drive: Path) -> None:
    result = scan(Bag(drive))
    assert all(not topic.problems for topic in result.topics)
    assert result.damages == ()
    assert {topic.topic: topic.messages for topic in result.topics} == {
        "/tf_static": 1,
        "/camera/camera_info": 10,
        "/lidar/points": 10,
        "/camera/image": 10,
        "/gt/depth": 10,
    }

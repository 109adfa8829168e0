"""Matching by stamps, over whichever message_filters is installed."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from std_msgs.msg import Header

from ros_xai.ros.synchronizers import Synchronizer, nanoseconds


class Stamped:
    def __init__(self, milliseconds: int, name: str = "") -> None:
        stamp = Time(sec=milliseconds // 1000, nanosec=milliseconds % 1000 * 10**6)
        self.header = Header(stamp=stamp, frame_id=name)
        self.milliseconds = milliseconds


class Recorder:
    """A synchroniser of image, info and points, and what came out of it."""

    def __init__(self, **options: Any) -> None:
        self.sets: list[tuple[int, ...]] = []
        self.sync = Synchronizer(("image", "info", "points"), self.on_set, **options)

    def on_set(self, *messages: Stamped) -> None:
        self.sets.append(tuple(m.milliseconds for m in messages))

    def add(self, name: str, *milliseconds: int) -> None:
        for stamp in milliseconds:
            self.sync.add(name, Stamped(stamp))


def test_nanoseconds_of_a_stamp() -> None:
    assert nanoseconds(Time(sec=3, nanosec=25)) == 3_000_000_025


@pytest.mark.parametrize("slop", [0.0, 0.02])
def test_equal_stamps_match_in_the_order_of_the_inputs(slop: float) -> None:
    r = Recorder(slop=slop)
    for stamp in (100, 200, 300):
        r.add("points", stamp)
        r.add("image", stamp)
        r.add("info", stamp)
    assert r.sets == [(100,) * 3, (200,) * 3, (300,) * 3]
    assert (r.sync.matched, r.sync.unmatched("image"), r.sync.jumps) == (3, 0, 0)


def test_near_stamps_match_only_with_slop() -> None:
    for slop, sets in ((0.0, []), (0.02, [(100, 100, 110)])):
        r = Recorder(slop=slop)
        r.add("image", 100)
        r.add("info", 100)
        r.add("points", 110)
        assert r.sets == sets
        assert r.sync.unmatched("points") == 1 - len(sets)


def test_the_nearest_of_several_is_taken() -> None:
    r = Recorder(slop=0.05)
    r.add("points", 70, 95, 120)
    r.add("info", 100)
    r.add("image", 100)
    assert r.sets == [(100, 100, 95)]


def test_no_set_is_wider_than_the_slop() -> None:
    r = Recorder(slop=0.05)
    r.add("points", 70)
    r.add("info", 130)
    r.add("image", 100)
    assert r.sets == []


def test_a_faster_input_waits_in_a_bounded_queue_and_still_matches() -> None:
    r = Recorder(slop=0.01, queue_size=5)
    for stamp in range(0, 10_000, 100):
        r.add("image", stamp, stamp + 33, stamp + 66)
        r.add("info", stamp, stamp + 33, stamp + 66)
        r.add("points", stamp)
    assert [s[0] for s in r.sets] == list(range(0, 10_000, 100))
    assert r.sync.unmatched("image") == 200


def test_out_of_order_stamps_match() -> None:
    r = Recorder(slop=0.02)
    r.add("image", 200, 100, 300)
    r.add("info", 300, 200, 100)
    r.add("points", 100, 300, 200)
    assert sorted(r.sets) == [(100,) * 3, (200,) * 3, (300,) * 3]


def test_duplicates_are_matched_once() -> None:
    r = Recorder(slop=0.02)
    r.add("image", 100, 100, 100)
    r.add("info", 100, 100)
    r.add("points", 100)
    assert r.sets == [(100,) * 3]


@pytest.mark.parametrize("slop", [0.0, 0.02])
def test_a_bag_played_in_a_loop_matches_every_time(slop: float) -> None:
    """With queues full of what never matched, as at the end of every loop."""
    r = Recorder(slop=slop, queue_size=5)
    for _ in range(3):
        r.add("image", *range(9_033, 10_000, 100))
        for stamp in range(0, 5_000, 100):
            r.add("image", stamp, stamp + 33)
            r.add("info", stamp)
            r.add("points", stamp)
    assert [s[0] for s in r.sets] == list(range(0, 5_000, 100)) * 3
    assert r.sync.jumps == 3 + 2 + 2


@pytest.mark.parametrize("slop", [0.0, 0.02])
def test_stamps_from_the_future_do_not_block(slop: float) -> None:
    r = Recorder(slop=slop, queue_size=3)
    r.add("points", *(10**9 + i for i in range(10)))
    for stamp in (100, 200):
        r.add("image", stamp)
        r.add("info", stamp)
        r.add("points", stamp)
    assert r.sets == [(100,) * 3, (200,) * 3]


def test_a_callback_may_raise_and_add() -> None:
    sync: Synchronizer
    seen = []

    def on_set(image: Stamped, points: Stamped) -> None:
        seen.append(image.milliseconds)
        if image.milliseconds == 100:
            sync.add("image", Stamped(200))
            sync.add("points", Stamped(200))
            raise ValueError("of the callback")

    sync = Synchronizer(("image", "points"), on_set)
    sync.add("image", Stamped(100))
    with pytest.raises(ValueError, match="of the callback"):
        sync.add("points", Stamped(100))
    sync.add("image", Stamped(300))
    sync.add("points", Stamped(300))
    assert seen == [100, 200, 300]


def test_an_unknown_input_is_an_error() -> None:
    with pytest.raises(KeyError):
        Recorder().add("cloud", 100)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["image", "info", "points"]), st.integers(0, 400)), max_size=60
    ),
    st.sampled_from([0.0, 0.015, 0.05]),
)
def test_any_traffic_gives_sets_within_slop_and_each_message_at_most_once(
    traffic: list[tuple[str, int]], slop: float
) -> None:
    used: list[int] = []

    def on_set(*messages: Stamped) -> None:
        stamps = [m.milliseconds for m in messages]
        assert max(stamps) - min(stamps) <= 1000 * slop
        assert [m.header.frame_id for m in messages] == ["image", "info", "points"]
        used.extend(id(m) for m in messages)

    sync = Synchronizer(("image", "info", "points"), on_set, slop=slop)
    messages = [Stamped(stamp, name) for name, stamp in traffic]
    for message in messages:
        sync.add(message.header.frame_id, message)
    assert len(used) == len(set(used)) == 3 * sync.matched

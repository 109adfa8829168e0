from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.ros.pairing import Pairing, PairingTimes

MS = 1_000_000
TIMES = PairingTimes(slop=50 * MS, patience=200 * MS, absence=500 * MS, horizon=1000 * MS)


class Log:
    """A Pairing of times in ms, that writes down what comes out."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.out: list[tuple[int, int | None]] = []
        self.pairing: Pairing[int, int] = Pairing(
            ("image", "points"), lambda: TIMES, lambda reason: self.drops.update([reason])
        )

    def image(self, *stamps: int) -> Log:
        for stamp in stamps:
            self.pairing.add_trigger(stamp * MS, stamp)
            self.out += self.pairing.take()
        return self

    def points(self, *stamps: int) -> Log:
        for stamp in stamps:
            self.pairing.add_partner(stamp * MS, stamp)
            self.out += self.pairing.take()
        return self


def test_equal_stamps_pair_whichever_comes_first():
    assert Log().image(0).points(0).points(100).image(100).out == [(0, 0), (100, 100)]


def test_the_nearest_of_the_fitting_partners_is_taken():
    assert Log().points(60, 130, 145).image(100).out == [(100, 130)]


def test_a_partner_just_outside_the_slop_does_not_fit():
    log = Log().image(100).points(49)
    assert log.out == []
    assert log.points(50).out == [(100, 50)]


def test_one_partner_serves_several_triggers():
    assert Log().points(0).image(0, 33).out == [(0, 0), (33, 0)]


def test_a_trigger_that_partners_passed_by_goes_out_alone():
    log = Log().image(0)
    assert log.out == []
    assert log.points(60).out == [(0, None)]


def test_a_trigger_goes_out_alone_when_triggers_got_patience_newer():
    log = Log().image(0, 200)
    assert log.out == []
    assert log.image(201).out == [(0, None)]


def test_triggers_do_not_wait_for_a_partner_that_has_been_silent():
    log = Log().points(0).image(0, 400, 500)
    assert log.out == [(0, 0)]
    assert log.image(501).out == [(0, 0), (400, None), (500, None), (501, None)]
    assert log.image(600).out[-1] == (600, None)
    assert log.points(700).image(700).out[-1] == (700, 700)


def test_without_any_partner_the_first_trigger_counts_as_the_start():
    log = Log().image(*range(0, 501, 100))
    assert [stamp for stamp, _ in log.out] == [0, 100, 200]
    assert Counter(log.image(600, 700).out) == Counter((t, None) for t in range(0, 701, 100))


def test_a_paired_trigger_takes_the_older_ones_along_so_that_order_is_kept():
    log = Log().image(0, 100)
    assert log.points(140).out == [(0, None), (100, 140)]


def test_duplicates_and_older_triggers_are_dropped_by_name():
    log = Log().points(100).image(100, 100, 40)
    assert log.out == [(100, 100)]
    assert log.drops == {"image.duplicate": 1, "image.out_of_order": 1}


def test_a_duplicate_partner_is_dropped_by_name():
    log = Log().points(100, 100)
    assert log.drops == {"points.duplicate": 1}


def test_a_partner_from_the_future_neither_pairs_nor_speaks_for_its_sensor():
    log = Log().image(0).points(3_600_000)
    assert log.out == []
    assert log.image(100).drops == {"points.from_future": 1}
    assert log.points(0, 100).out == [(0, 0), (100, 100)]


def test_a_loop_of_the_bag_starts_a_new_time_line():
    log = Log().image(5000).points(5000).image(5100)
    log.points(0).image(0)
    assert log.drops == {"image.clock_jump": 1}
    assert log.out == [(5000, 5000), (0, 0)]
    assert log.image(100).points(100).out[-1] == (100, 100)


def test_reset_forgets_partners_and_stamps():
    log = Log().points(100).image(200)
    log.pairing.reset("inactive")
    assert log.drops == {"image.inactive": 1}
    assert log.image(100).out == []  # not out of order, and the old partner at 100 is gone


def test_expire_drops_what_waited_longer_than_patience_only():
    log = Log()
    for stamp in (0, 100, 201):
        log.pairing.add_trigger(stamp * MS, stamp)
    log.pairing.expire("no_camera_info")
    assert log.drops == {"image.no_camera_info": 1}
    assert len(log.pairing) == 2


def test_the_queue_is_bounded_and_the_oldest_goes():
    log = Log()
    for stamp in range(12):
        log.pairing.add_trigger(stamp * MS, stamp)
    assert len(log.pairing) == 10
    assert log.drops == {"image.queue_full": 2}
    assert [stamp for stamp, _ in log.points(2).out] == list(range(2, 12))


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=60)


@given(steps)
def test_every_trigger_has_one_end_and_pairs_are_within_the_slop(steps):
    log = Log()
    for is_image, stamp in steps:
        (log.image if is_image else log.points)(stamp)
    images = sum(is_image for is_image, _ in steps)
    dropped = sum(n for reason, n in log.drops.items() if reason.startswith("image."))
    assert images == len(log.out) + dropped + len(log.pairing)
    assert all(abs(a - b) <= 50 for a, b in log.out if b is not None)
    assert len(log.pairing._partners) <= 10


@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.randoms())
def test_in_any_order_of_arrival_equal_stamps_pair_when_both_are_in_time(slots, random):
    """Image and cloud of a 10 Hz pair arrive in either order: all pair, as stamps increase."""
    log = Log()
    for slot in sorted(slots):
        first, second = random.sample([log.image, log.points], 2)
        first(slot * 100)
        second(slot * 100)
    pairs = dict(log.out)
    late = {stamp for stamp, partner in pairs.items() if partner is None}
    assert all(partner in (None, stamp) for stamp, partner in pairs.items())
    # An image goes alone only where clouds had been silent for longer than `absence`.
    gaps = {b * 100 for a, b in zip(sorted(slots), sorted(slots)[1:]) if (b - a) * 100 > 500}
    assert late <= gaps


@pytest.mark.parametrize("seed", range(3))
def test_the_same_messages_give_the_same_pairs(seed):
    import random

    messages = [(i % 3 > 0, stamp) for i, stamp in enumerate(range(0, 3000, 35))]
    random.Random(seed).shuffle(messages)
    runs = []
    for _ in range(2):
        log = Log()
        for is_image, stamp in messages:
            (log.image if is_image else log.points)(stamp)
        runs.append((log.out, log.drops))
    assert runs[0] == runs[1]

"""Which beams have fallen silent."""

import tracemalloc

import numpy as np

from ros_xai.core.beams import SilentBeams


def ring(*beams):
    return np.repeat(np.array(beams, dtype=np.int64), 3)


def test_a_beam_is_silent_after_the_patience_and_speaks_again_at_once():
    watch = SilentBeams(patience=3)
    watch.see(ring(0, 1, 2, -1))
    for _ in range(2):
        watch.see(ring(0, 2))
        assert watch.silent() == []
    watch.see(ring(0, 2))
    assert watch.silent() == [1] and watch.expected() == 3
    watch.see(ring(0, 1, 2))
    assert watch.silent() == []


def test_beams_that_are_asked_for_are_missed_though_never_seen_and_others_are_not():
    watch = SilentBeams(patience=2)
    for _ in range(2):
        watch.see(ring(8, 24, 30), asked=(8, 24, 40))
    assert watch.silent() == [40] and watch.expected() == 3
    watch.see(ring(8), asked=(8,))
    assert watch.silent() == [] and watch.expected() == 1


def test_a_cloud_without_any_point_counts_against_all():
    watch = SilentBeams(patience=1)
    watch.see(ring(3, 5))
    watch.see(np.zeros(0, np.int64))
    assert watch.silent() == [3, 5]


def test_a_nonsense_number_is_no_beam_and_costs_no_memory():
    watch = SilentBeams(patience=1)
    tracemalloc.start()
    watch.see(ring(3, 2**16 - 1, 2**24))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert watch.expected() == 2
    assert peak < 2**21

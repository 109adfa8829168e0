"""Motions are kept by what they were estimated from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ros_xai.data.depth import Loaded
from ros_xai.training.motions import cached_motions, estimate_motions
from tests.training.test_depth import RINGS, drive


@pytest.mark.parametrize("changed", ["backwards", "shorter", "points", "intrinsics"])
def test_another_drive_of_the_same_name_has_its_own_motions(tmp_path, changed):
    samples = drive(3).samples
    kept = cached_motions(Loaded("wall", samples), 1, RINGS, tmp_path)
    others = {
        "backwards": samples[::-1],
        "shorter": samples[:2],
        "points": tuple(replace(s, points=s.points * np.float32(2)) for s in samples),
        "intrinsics": tuple(replace(s, intrinsics=s.intrinsics * [[2], [2], [1]]) for s in samples),
    }
    other = Loaded("wall", others[changed])
    found, expected = cached_motions(other, 1, RINGS, tmp_path), estimate_motions(other, 1, RINGS)
    assert np.array_equal(found.T_source_target, expected.T_source_target)
    assert not np.array_equal(found.T_source_target, kept.T_source_target)


def test_returns_that_are_not_used_do_not_matter(tmp_path):
    few = RINGS[:3]
    cached_motions(drive(3), 1, few, tmp_path)
    cached_motions(Loaded("wall", tuple(s.beams(few) for s in drive(3).samples)), 1, few, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1

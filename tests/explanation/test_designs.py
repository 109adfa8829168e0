"""The matrices of a Sobol design."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from ros_xai.explanation.designs import FROM_A, FROM_B, SAMPLERS, draw, points_at


def test_unscrambled_order_is_the_authors() -> None:
    """First rows of the public code's design for 4 variables and 8 designs."""
    A, B = draw(4, 8, "sobol_unscrambled")
    np.testing.assert_array_equal(A[:3], [[0] * 4, [0.5] * 4, [0.75, 0.25, 0.25, 0.25]])
    np.testing.assert_array_equal(B[:2], [[0] * 4, [0.5] * 4])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_column_is_uniform_and_seeded(sampler: str) -> None:
    A, B = draw(6, 256, sampler, seed=3)
    assert A.shape == B.shape == (256, 6)
    for column in np.concatenate([A, B], axis=1).T:
        assert kstest(column, "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(A, draw(6, 256, sampler, seed=3)[0])
    if sampler != "sobol_unscrambled":
        assert not np.array_equal(A, draw(6, 256, sampler, seed=4)[0])


def test_latin_hypercube_puts_one_point_in_every_stratum() -> None:
    A, B = draw(5, 16, "latin_hypercube", seed=0)
    strata = np.sort(np.floor(np.concatenate([A, B], axis=1) * 16), axis=0)
    np.testing.assert_array_equal(strata, np.repeat(np.arange(16)[:, None], 10, axis=1))


def test_mixed_rows_differ_from_a_in_one_column_taken_from_b() -> None:
    A, B = draw(3, 4, seed=0)
    rows, slots = np.array([0, 1, 2, 3]), np.array([FROM_A, FROM_B, 0, 2])
    points = points_at(A, B, rows, slots)
    expected = [A[0], B[1], [B[2, 0], A[2, 1], A[2, 2]], [A[3, 0], A[3, 1], B[3, 2]]]
    np.testing.assert_array_equal(points, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 12, "sobol"), "got 12 designs: take 16"),
        ((4, 8, "sobel"), "expected a sampler of sobol, .*got 'sobel'"),
        ((0, 8, "halton"), "at least 1 dimension"),
    ],
)
def test_errors_say_what_to_do(arguments: tuple[int, int, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(*arguments)

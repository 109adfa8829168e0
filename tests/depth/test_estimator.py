"""What the estimator refuses, and that it says why."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.depth.estimator import DepthEstimator

K = np.array([[300.0, 0, 48], [0, 300, 32], [0, 0, 1]])
IMAGE = np.zeros((64, 96, 3), np.uint8)
SPARSE = np.zeros((64, 96), np.float32)


class NoEngine:
    """Stands for one that must not be asked."""

    def __call__(self, inputs):
        raise AssertionError("the inputs were to be refused")


@pytest.mark.parametrize(
    ("image", "sparse", "intrinsics", "text"),
    [
        (IMAGE[..., 0], SPARSE, K, "rgb image"),
        (IMAGE.astype(np.float32), SPARSE, K, "got float32"),
        (IMAGE[:0], SPARSE[:0], K, r"got uint8 \[0, 96, 3\]"),
        (IMAGE, SPARSE[:-1], K, r"image's \[64, 96\]; got \[63, 96\]"),
        (IMAGE, SPARSE, K.ravel(), "intrinsics"),
        (IMAGE, SPARSE, np.zeros((3, 3)), "focal lengths above 0"),
        (IMAGE, SPARSE, K * np.nan, "finite intrinsics"),
        (IMAGE, SPARSE, np.diag([-300.0, 300, 1]), "focal lengths above 0"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(image, sparse, intrinsics, text):
    with pytest.raises(ValueError, match=text):
        DepthEstimator(NoEngine())(image, sparse, intrinsics)

"""Images of fewer rows or columns than the network's coarsest map can have."""

import numpy as np
import pytest

from ros_xai.depth.estimator import DepthEstimator, network_size


@pytest.mark.parametrize(("height", "width"), [(20, 300), (40, 40), (63, 400), (300, 20)])
def test_a_small_image_is_answered_at_its_size(height: int, width: int) -> None:
    intrinsics = np.array([[370.0, 0.0, width / 2], [0.0, 370.0, height / 2], [0.0, 0.0, 1.0]])
    assert min(network_size(height, width, intrinsics)) >= 64
    image = np.zeros((height, width, 3), np.uint8)
    depth = DepthEstimator.load()(image, np.zeros((height, width), np.float32), intrinsics)
    assert depth.shape == (height, width)
    assert np.isfinite(depth).all() and (depth > 0).all()

"""Correspondences between two grey images: LiDAR pixels tracked, SIFT matched, corners tracked."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Pixels = NDArray[np.float64]


def track(
    target: Gray, source: Gray, pixels: Pixels, max_forward_backward: float
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Pyramidal Lucas-Kanade of pixels [N, 2] from target to source.

    Returns their places [N, 2] and which came back to within ``max_forward_backward`` px.
    """
    if len(pixels) == 0:
        return np.empty((0, 2)), np.empty(0, dtype=bool)
    options = {"winSize": (21, 21), "maxLevel": 4}
    starts = pixels.astype(np.float32)[:, None]
    there, seen, _ = cv2.calcOpticalFlowPyrLK(target, source, starts, None, **options)
    back, seen_back, _ = cv2.calcOpticalFlowPyrLK(source, target, there, None, **options)
    error = np.linalg.norm((back - starts)[:, 0], axis=-1)
    height, width = source.shape
    ends = there[:, 0].astype(np.float64)
    inside = ((ends >= 0) & (ends <= (width - 1, height - 1))).all(-1)
    return ends, (seen & seen_back).ravel().astype(bool) & inside & (error < max_forward_backward)


def corners(image: Gray, rows: int = 8, columns: int = 16, per_cell: int = 4) -> Pixels:
    """Pixels [N, 2] worth tracking, spread over a grid so that no textured object dominates."""
    height, width = image.shape
    found = []
    for top, bottom in _spans(height, rows):
        for left, right in _spans(width, columns):
            cell = image[top:bottom, left:right]
            points = cv2.goodFeaturesToTrack(cell, per_cell, 0.05, 5)
            if points is not None:
                found.append(points[:, 0] + (left, top))
    return np.concatenate(found).astype(np.float64) if found else np.empty((0, 2))


def sift_matches(target: Gray, source: Gray, features: int, ratio: float) -> tuple[Pixels, Pixels]:
    """Pixels [N, 2] in both images of SIFT features whose best match beats the second (Lowe)."""
    sift = cv2.SIFT_create(features)
    keys_target, descriptors_target = sift.detectAndCompute(target, None)
    keys_source, descriptors_source = sift.detectAndCompute(source, None)
    if min(len(keys_target), len(keys_source)) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    pairs = cv2.BFMatcher().knnMatch(descriptors_target, descriptors_source, k=2)
    kept = [best for best, second in pairs if best.distance < ratio * second.distance]
    at = np.array([keys_target[m.queryIdx].pt for m in kept], dtype=np.float64)
    to = np.array([keys_source[m.trainIdx].pt for m in kept], dtype=np.float64)
    return at.reshape(-1, 2), to.reshape(-1, 2)


def borrow_depth(
    at: Pixels, pixels: Pixels, depth: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Depth [N] at features ``at`` [N, 2] from LiDAR pixels [M, 2] within ``radius`` px.

    The nearest surface wins, as an edge's feature lies on the foreground; inf without a pixel.
    """
    if not len(at) or not len(pixels):
        return np.full(len(at), np.inf)
    near = np.linalg.norm(at[:, None] - pixels[None], axis=-1) <= radius
    return np.asarray(np.where(near, depth, np.inf).min(1))


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, length, parts + 1).astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist()))

"""A clip of KITTI raw as a bag with a few-beam LiDAR and the whole sweep as ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ros_xai.core.geometry import invert, pose
from ros_xai.core.pointcloud import keep_rings
from ros_xai.data.kitti import RINGS, KittiClip
from ros_xai.world.bag_writer import BagWriter

# The clip has no clock; its frames are laid on the day the drive was recorded, 2011-09-26.
START_NS = 1_317_000_000_000_000_000
LIDAR_HEIGHT = 1.73  # metres above the road (Geiger et al., IJRR 2013, figure 3)


def convert(
    clip: KittiClip,
    path: Path | str,
    rings: Sequence[int] = RINGS,
    seen: Callable[[], None] = lambda: None,
) -> None:
    """Write the bag: /lidar/points holds the beams `rings`, /gt/points all; `seen` once a frame.

    Raises:
        ValueError: none of the clip's points belongs to one of `rings`.
    """
    with BagWriter(path) as bag:
        T_base_lidar = pose(np.eye(3), [0, 0, LIDAR_HEIGHT])
        T_lidar_camera = invert(clip.T_camera_lidar)
        chain = [("base_link", "lidar", T_base_lidar), ("lidar", "camera_optical", T_lidar_camera)]
        bag.transforms("/tf_static", START_NS, chain)
        for index in range(len(clip)):
            stamp_ns = START_NS + round(index * 1e9 / clip.rate_hz)
            image = clip.image(index)
            height, width = image.shape[:2]
            bag.camera_info(
                "/camera/camera_info", stamp_ns, "camera_optical", clip.intrinsics, width, height
            )
            xyz, ring, intensity = clip.scan(index)
            reflectance = intensity.astype(np.float32) / 255
            kept = keep_rings(ring, rings)
            if not kept.any():
                raise ValueError(
                    f"no point of frame {index} belongs to rings {list(rings)}: "
                    f"expected some of {ring.min()} to {ring.max()}"
                )
            for topic, chosen in (("/lidar/points", kept), ("/gt/points", slice(None))):
                fields = {"ring": ring[chosen].astype(np.uint16), "intensity": reflectance[chosen]}
                bag.points(topic, stamp_ns, "lidar", xyz[chosen], **fields)
            bag.image("/camera/image", stamp_ns, "camera_optical", image, "rgb8")
            seen()

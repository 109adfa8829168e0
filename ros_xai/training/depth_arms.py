"""The arms that LiDARTouch is compared with: what each network sees and what it learns from.

Names follow the experiments of the authors' code; all share network widths, data and steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ros_xai.depth.network import SMALL, NetworkConfig
from ros_xai.training.depth import DepthRecipe, Objective, PoseConfig
from ros_xai.training.depth_batches import Beams

SMALL_POSE = PoseConfig(widths=(16, 16, 32, 64, 128), blocks=1, hidden=64)
CAMERA = replace(SMALL, architecture="monodepth2")
COMPLETION = replace(SMALL, architecture="sparse_to_dense")
WITH_PRIOR = replace(SMALL, prior=True)

SELF_SUPERVISED = Objective(pose="network", lidar=0.0)
NAIVE = Objective(photometric=0.0)
DENSE = Objective(photometric=0.0, smooth=0.0, lidar=0.0, dense=1.0)
# What is ours beside the paper's: the motion mask, the interpolation as prior, hidden returns.
HIDING = Beams(drop_returns=0.3, drop_beam=0.3)


@dataclass(frozen=True)
class Arm:
    """A recipe and the returns its network sees; ``scaled``: judge it by its median too."""

    recipe: DepthRecipe
    beams: Beams
    scaled: bool = False


def _arm(
    network: NetworkConfig, objective: Objective, beams: Beams | None = None, scaled: bool = False
) -> Arm:
    return Arm(DepthRecipe(network, objective, SMALL_POSE), beams or Beams(), scaled)


ARMS: dict[str, Arm] = {
    "posenet": _arm(CAMERA, SELF_SUPERVISED, scaled=True),
    "posenet_gps": _arm(CAMERA, replace(SELF_SUPERVISED, velocity=0.05)),
    "input_only": _arm(SMALL, SELF_SUPERVISED),
    "naive_lidar": _arm(SMALL, NAIVE),
    "pnp_without_lidar": _arm(SMALL, Objective(lidar=0.0)),
    "lidartouch": _arm(SMALL, Objective()),
    "lidartouch_completion": _arm(COMPLETION, Objective()),
    "dense_supervision": _arm(SMALL, DENSE),
    "naive_lidar_prior": _arm(WITH_PRIOR, NAIVE, HIDING),
    "lidartouch_prior": _arm(WITH_PRIOR, Objective(only_static=True), HIDING),
}

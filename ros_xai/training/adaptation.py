"""Self-supervised adaptation of a depth network to a drive with camera and few beams.

No labels: LiDARTouch's losses teach, and beams that are hidden from the network judge: on frames
kept out of training one beam each, drawn at random, is withheld from the input and is the truth.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from ros_xai.data.depth import DepthSample, Drive, Loaded
from ros_xai.depth.deployed import make_engine
from ros_xai.depth.estimator import LEAST_SIDE, DepthEstimator, network_size
from ros_xai.depth.evaluation import MAX_DEPTH, MIN_DEPTH, Estimate
from ros_xai.depth.metrics import depth_metrics, mean_metrics
from ros_xai.depth.network import DepthNetwork, NetworkConfig
from ros_xai.training.checkpoint import STATE, digest
from ros_xai.training.depth import DepthLearner, DepthRecipe, Objective
from ros_xai.training.depth_batches import Augmentation, Beams, TripletBatches
from ros_xai.training.distributed import Process
from ros_xai.training.early_stop import EarlyStop
from ros_xai.training.loop import LoopConfig, Metrics, fit
from ros_xai.training.motions import cached_motions, parallax_gap


@dataclass(frozen=True)
class AdaptationConfig:
    """Careful by default: a small rate, moving things masked, normalisation frozen, and returns
    that count three times as much as the picture (chosen on KITTI's frames 3, 9, ..., 45).

    ``share``: how far from the weights at the start to the best ones it ends. Half way, what the
    drive does not show is kept (Wortsman et al., "Robust fine-tuning", CVPR 2022).
    ``validation``: every so many frames one is kept out of training. ``drop_returns`` and
    ``drop_beam`` as in Beams: what the network must not copy.
    """

    steps: int = 400
    batch: int = 4
    learning_rate: float = 2e-4
    seed: int = 0
    objective: Objective = field(
        default_factory=lambda: Objective(photometric=0.3, only_static=True, scales=2)
    )
    drop_returns: float = 0.3
    drop_beam: float = 0.5
    share: float = 0.5
    validation: int = 6
    evaluate_every: int = 50
    patience: int = 4
    scale: tuple[float, float] = (0.75, 1.0)


@dataclass(frozen=True)
class AdaptationReport:
    """Metrics of the hidden beams before and after, and what was used."""

    before: Metrics
    after: Metrics
    frames: int
    usable_motions: float
    gap: int
    steps: int


def adapt(
    network: DepthNetwork,
    architecture: NetworkConfig,
    drive: Drive,
    rings: Sequence[int],
    folder: Path,
    config: AdaptationConfig | None = None,
    process: Process = Process(),
    show: bool = True,
) -> AdaptationReport:
    """Fine-tunes ``network`` in place, part of the way to the weights of the best validation.

    ``drive``: at least 6 frames at full resolution; ``rings``: the sensor's beams, of whose
    returns alone anything is learned; ``folder``: checkpoints and motions, an interrupted run
    goes on from them.

    Raises:
        ValueError: the drive has too few frames, or no usable ego motion, or not two beams.
        AnotherRun: ``folder`` is of another drive, sensor or configuration.
    """
    config = config or AdaptationConfig()
    drive = Loaded(drive.name, tuple(drive[i].beams(rings) for i in range(len(drive))))
    if len(drive) < 6 or len(rings) < 2:
        raise ValueError(
            f"expected at least 6 frames and 2 beams to learn from and validate with; "
            f"got {len(drive)} frames and beams {list(rings)}"
        )
    held_out = range(config.validation // 2, len(drive), config.validation)
    hidden = hide_beams([drive[i] for i in held_out], rings, config.seed)
    if not hidden:
        raise ValueError(
            f"expected two of the beams {list(rings)} in a picture that validates, one to hide "
            f"and one to give; none of the frames {list(held_out)} has them"
        )
    gap = parallax_gap(drive, rings)
    motions = cached_motions(drive, gap, rings, folder / "motions")
    if not motions.usable.any():
        raise ValueError("no usable ego motion in the drive: the car must move, by day")
    first = drive[0]
    size = network_size(*first.image.shape[:2], first.intrinsics)
    batches = TripletBatches(
        [Loaded.resized(drive, size)],
        [motions.resized(*size)],
        config.batch,
        _window(size, config.scale),
        Beams(tuple(rings), tuple(rings), config.drop_returns, config.drop_beam),
        exclude=set(held_out),
    )

    learner = DepthLearner(DepthRecipe(architecture, config.objective), frozen_statistics=True)
    learner.network.load_state_dict(network.state_dict())
    start = [parameter.detach().clone() for parameter in network.parameters()]

    def validate() -> Metrics:
        network.load_state_dict(learner.network.state_dict())
        return score_hidden(DepthEstimator(make_engine(network, "torch")), hidden)

    if process.is_first and not (folder / STATE).is_file():
        shutil.rmtree(folder / "best", ignore_errors=True)  # of a run that came to no checkpoint
    process.wait()
    before = score_hidden(DepthEstimator(make_engine(network, "torch")), hidden)
    stop = EarlyStop(
        learner,
        lambda: validate()["abs_rel"],
        folder / "best",
        config.evaluate_every,
        config.steps,
        config.patience,
        process,
    )
    loop = LoopConfig(
        config.steps, config.seed, config.learning_rate, checkpoint_every=config.evaluate_every
    )
    seen = digest(*(array for s in drive.samples for array in (s.image, s.points)))
    about = {"drive": seen, "rings": list(rings), **asdict(config)}
    fit(learner, batches, loop, folder, process, stop, show, about)
    stop.restore_best()
    with torch.no_grad():
        for parameter, begun in zip(learner.network.parameters(), start):
            parameter.lerp_(begun.to(parameter), 1 - config.share)
    return AdaptationReport(
        before, validate(), len(drive), float(motions.usable.mean()), gap, max(stop.scores)
    )


Hidden = tuple[DepthSample, DepthSample]


def hide_beams(samples: Sequence[DepthSample], rings: Sequence[int], seed: int) -> list[Hidden]:
    """For each sample what the network gets and what judges it: all beams but one, and that one.

    The beam is drawn at random from those with returns in the image, when there are three or more
    not the outermost: without them nothing could be interpolated, and that is not what is learned.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for sample in samples:
        seen = sorted(r for r in rings if sample.sparse_depth([r]).any())
        if len(seen) < 2:
            continue
        hidden = int(rng.choice(seen[1:-1] or seen))
        pairs.append((sample.beams([r for r in rings if r != hidden]), sample.beams([hidden])))
    return pairs


def score_hidden(estimate: Estimate, pairs: Sequence[Hidden]) -> Metrics:
    """Un-scaled metrics on the hidden beams, per image then averaged."""
    return mean_metrics(
        depth_metrics(
            estimate(given.image, given.sparse_depth(), given.intrinsics),
            hidden.sparse_depth(),
            MIN_DEPTH,
            MAX_DEPTH,
        )
        for given, hidden in pairs
    )


def _window(size: tuple[int, int], scale: tuple[float, float]) -> Augmentation:
    """A training crop of about two thirds of the picture, multiples of 32."""
    height, width = (max(LEAST_SIDE, 32 * round(n * 2 / 3 / 32)) for n in size)
    return Augmentation(height, width, scale)

"""Compression without data: RED and RED++ (arXiv 2105.14797, 2110.01397)."""

from ros_xai.compression.baselines import l1_pruning, random_merging
from ros_xai.compression.folding import fold_batch_norm
from ros_xai.compression.hashing import HashedTensor, hash_weights
from ros_xai.compression.pruning import PrunedModel, hashed_network, red, red_pp
from ros_xai.compression.report import OutputError, Report, output_error

__all__ = [
    "HashedTensor",
    "OutputError",
    "PrunedModel",
    "Report",
    "fold_batch_norm",
    "hash_weights",
    "hashed_network",
    "l1_pruning",
    "output_error",
    "random_merging",
    "red",
    "red_pp",
]

"""Why a network answered as it did: attributions of any black box, and how faithful they are."""

from ros_xai.explanation.explainer import SobolExplainer
from ros_xai.explanation.sobol import sobol_indices, total_order

__all__ = ["SobolExplainer", "sobol_indices", "total_order"]

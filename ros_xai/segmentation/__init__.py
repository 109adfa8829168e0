"""Semantic segmentation: one network, its adaptation to new domains (MTUDA) and classes (PLOP)."""

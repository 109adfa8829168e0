"""Forecasting road users with their context (CAB, Ben-Younes et al., arXiv 2109.08048)."""

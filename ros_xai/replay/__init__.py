"""Bags in, bags out, metrics and the report."""

"""Evaluation of many bags under several configurations, on one machine or on a Ray cluster."""

"""Inference engines behind one protocol: named arrays in, named arrays out."""

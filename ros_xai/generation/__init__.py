"""Layouts of a given palette (Semantic Palette), and images in the styles of their regions."""

"""Data sets as samples of arrays, one sample type per task."""

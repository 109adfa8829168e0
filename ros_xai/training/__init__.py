"""One training loop per method and the pieces they share."""

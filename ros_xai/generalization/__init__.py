"""Training on several domains for one that was never seen: Fishr, CORAL, V-REx, IRM."""

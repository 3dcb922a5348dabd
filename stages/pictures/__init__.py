"""Draw attention heads and overlays of predictions."""

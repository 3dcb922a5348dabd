"""Draw synthetic dermoscopy-like images."""

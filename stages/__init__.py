"""The work: one verb per file, and the nouns `attention`, `imaging` and `segmentation`."""

"""Turn image files into samples with attention, one shard at a time, on this machine or on a cluster."""

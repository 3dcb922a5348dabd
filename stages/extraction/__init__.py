"""Turn image files into samples with attention, one shard at a time, on this machine or on a cluster.

- `shard` reads and computes the samples of one shard.
- `cluster` connects to a dask.distributed cluster and runs jobs on it.
- `on_cluster` runs the work of `shard` as jobs on a cluster.
"""

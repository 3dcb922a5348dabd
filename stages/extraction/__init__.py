"""Turn image files into samples with attention, one shard at a time: here, in other processes, or on a cluster.

- `shard` reads and computes the samples of one shard.
- `jobs` defines the same work as a job for another process; `by_workers` sends jobs and collects their results.
- `processes` runs jobs in processes of this machine; `cluster` and `on_cluster` run them on a dask.distributed cluster.
- `parts` divides an extraction among machines that do not talk to each other.
"""

"""Read stores in object stores and on web servers: shards are fetched, kept in a cache, and mapped like local ones.

    address     addresses such as `s3://bucket/x.zarr`
    cache       the cache on this machine: its settings, its layout, and how it stays below its size
    helper      the process that does all network traffic, and `tasks`, `clients`, `transfer`, `failures` inside it
    connection  requests to that process
    files       the files of one remote store
    array       the sharded arrays of one remote store, with `ranges` for samples that are not kept

Nothing here is imported for a local store, except `address`. Only the helper process imports a network library.
"""

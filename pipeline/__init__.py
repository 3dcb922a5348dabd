"""The `pipeline` command: read options and settings, run the work in `stages` and `store`, return an exit status."""

__version__ = "0.3.0"

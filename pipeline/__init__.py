"""The `pipeline` command: options and settings in, exit status out. The work is done in `stages` and `store`."""

__version__ = "0.1.0"

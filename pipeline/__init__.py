"""The face of the project: the `pipeline` command."""

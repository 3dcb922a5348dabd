"""Serve a store to a browser on this machine, sample by sample."""

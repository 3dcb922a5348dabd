"""Publish folders and files atomically, lock outputs, check paths."""

"""Measurements that stay: what the project claims to be faster or better at, measured side by side in one run."""

"""Benchmarks of the project's claims about speed, memory and accuracy, each measured side by side in one run."""

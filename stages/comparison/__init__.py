"""Compare ways to train: a resumable matrix of runs, and what it says."""

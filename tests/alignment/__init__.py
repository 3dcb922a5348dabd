"""Proof that image, mask and attention stay on top of each other, from the files to the prediction."""

"""Check that image, mask and attention stay aligned, from the files to the prediction."""

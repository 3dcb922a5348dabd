"""Turn the network's probabilities into the files that `predict` writes.

`inference` runs the network on one sample. `full_size` chooses the class of every pixel at the image's original size;
it enlarges one class at a time. `mask_files`, `contours`, `geojson` and `table` turn the result into the contents of
files. `outputs` names the files, protects what is already there, and writes them.
"""

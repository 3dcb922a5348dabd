"""From the network's probabilities to the files that `predict` writes.

`inference` runs the network on one sample. `full_size` decides every pixel at the image's original size, one class at a
time. `mask_files`, `contours`, `geojson` and `table` turn the result into the contents of files. `outputs` names the
files, protects what is already there, and writes them.
"""

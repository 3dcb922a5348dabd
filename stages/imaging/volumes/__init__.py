"""Read files that hold several planes, or values of more than 8 bits: scans, stacks, NumPy arrays.

    volume        what every reader offers            Volume, VolumeFacts
    readers       the table of formats                READERS, is_volume_file
    opened        open a file once, share it          open_volume
    planes        files to samples, one per plane     split_into_planes

A format is one entry in `READERS` and one file that defines a `Volume`.
"""

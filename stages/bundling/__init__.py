"""Collect all that a machine without a network needs, for `pipeline bundle`.

packages.py      the packages that are installed here, and those that an extra needs
wheels.py        get their wheels with pip, and build the one of this package
weights.py       copy the weights of transformers
manifest.py      MANIFEST.json: checksums, versions, licences
template/        the files of every bundle: verify.py, install.sh, README.txt
"""

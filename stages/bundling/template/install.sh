#!/bin/sh
# Install the packages of this bundle into a new virtual environment, without a network.
#
#     sh install.sh [FOLDER]       the folder of the environment; by default .venv
#
# PYTHON names the interpreter, by default python3.
set -eu
bundle=$(cd "$(dirname "$0")" && pwd)
folder=${1:-.venv}
python=${PYTHON:-python3}
"$python" "$bundle/verify.py"
"$python" -m venv "$folder"
PIP_CONSTRAINT=/dev/null # every version is given, whatever constraints this machine has
export PIP_CONSTRAINT
"$folder/bin/python" -m pip install --no-index --find-links "$bundle/wheels" --requirement "$bundle/requirements.txt"
echo "Installed. Next: $folder/bin/pipeline doctor --offline"

#!/usr/bin/env bash
# conda-forge does not have it; what it imports stands in pyfeat.yaml.
set -euo pipefail
python -m pip install --no-deps py-feat==2.1.5

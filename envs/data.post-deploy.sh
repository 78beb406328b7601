#!/usr/bin/env bash
# conda-forge does not have the first. Its builds of OpenCV and av need two major versions of FFmpeg, which cannot be
# installed together; the OpenCV of PyPI brings what it needs.
set -euo pipefail
python -m pip install --no-deps espeakng-loader==0.2.4 opencv-python-headless==4.14.0.94

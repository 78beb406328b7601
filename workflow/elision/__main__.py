"""``python -m elision``."""

import gc

from elision.cli import main

# What PyTorch and the text encoders import stays; looking for garbage in it each 700 objects takes up to half a second.
gc.set_threshold(10_000)
main()

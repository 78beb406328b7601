"""``python -m elision``."""

import gc

from elision.cli import main

# What PyTorch and the text encoders import stays; looking for garbage in it every 700 objects takes half a second.
gc.set_threshold(10_000)
main()

"""``python -m elision``."""

from elision.cli import main

main()

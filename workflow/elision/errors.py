"""The errors that a user can act on."""


class ElisionError(Exception):
    """A mistake in the input or the settings; the message names the file, the sample and the remedy."""


def plural(count: int, noun: str) -> str:
    """Return ``count`` and ``noun``, with an s where there is not exactly one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""Whether the times of words can be those of a clip."""

from collections.abc import Sequence

# How many there are in a second.
_UNITS = {
    "hundredths of a second": 100,
    "milliseconds": 1000,
    "samples at 8 kHz": 8000,
    "samples at 16 kHz": 16_000,
    "samples at 44.1 kHz": 44_100,
    "samples at 48 kHz": 48_000,
    "microseconds": 10**6,
    "units of 100 nanoseconds": 10**7,
    "nanoseconds": 10**9,
}
_LATE_START, _LATE_END = 0.1, 0.5  # seconds after the end of the clip, which aligners and containers round differently
_SHARE = 0.1  # of a clip that its words cover at least


def outside(words: Sequence[tuple[str, float, float]], duration: float) -> str | None:
    """Say which word lies outside of a clip, and what its times probably are; None if all words are inside.

    Parameters
    ----------
    words : sequence of (str, float, float)
        Words with start and end, which should be seconds.
    duration : float
        Of the clip, in seconds.

    Examples
    --------
    >>> outside([("well", 100, 400), ("good", 500, 1900)], 2.0)
    "'well' (100 to 400) lies outside of the clip of 2.00 s; the times are probably milliseconds: divide them by 1000"
    """
    late = [each for each in words if each[1] > duration + _LATE_START or each[2] > duration + _LATE_END]
    if not late:
        return None
    word, begin, stop = late[0]
    first, last = min(start for _, start, _ in words), max(end for _, _, end in words)
    for unit, count in _UNITS.items():
        if last / count <= duration + _LATE_END and (last - first) / count >= _SHARE * duration:
            probably = f"the times are probably {unit}: divide them by {count}"
            break
    else:
        probably = "the words are probably those of another clip"
        if first > 0 and last - first <= duration + _LATE_END:
            probably += f", or timed in a longer recording: subtract the second at which the clip begins (<= {first:g})"
    return f"{word!r} ({begin:g} to {stop:g}) lies outside of the clip of {duration:.2f} s; {probably}"

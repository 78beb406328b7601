"""The same moments missing in all modalities, as where a connection fails (NIAT's structural temporal drop)."""

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from elision.corruption.kind import Draw, Pattern, Samples, kinds
from elision.corruption.missing import generators
from elision.corruption.moments import moments
from elision.settings.fields import Length, Rated, suggestion


def _patterns() -> dict[str, Pattern]:
    return {name: kind for name, kind in kinds().items() if isinstance(kind, Pattern) and not kind.timed}


def _pattern(name: str) -> str:
    if name not in _patterns():
        raise ValueError(f"unknown pattern {name!r}; {suggestion(name, list(_patterns()))}")
    return name


class Setting(Rated):
    """The same moments missing in all modalities."""

    pattern: Annotated[str, AfterValidator(_pattern)] = Field(
        "random", description="which moments are missing together: random, block or burst"
    )
    length: Length = Field(10, description="mean length of a burst, in moments, for pattern: burst")


class Synchronous(Pattern):
    """An utterance is cut into moments, and at a missing moment all modalities are missing.

    It has as many moments of equal length as its sparsest modality has positions. A position belongs to the moment of
    its middle: by the times of frames and words where they are known, else positions share the utterance evenly.
    """

    name = "synchronous"
    rank = 55
    setting = (Setting, Setting(), "the same moments are missing in all modalities")
    training = "each sample loses the same moments in all modalities, at one of the rates of training"
    corruptions = {"synchronous": "the same moments missing"}
    caption = "The same moments missing"
    about = "The same moments are missing in all modalities. All modalities have the same rate."
    timed = True

    def numbers(self, samples: Samples, draw: Draw, setting: Setting) -> dict[str, np.ndarray]:
        """Draw a number for each moment of a sample; a position has that of its moment."""
        pattern, found = _patterns()[setting.pattern], moments(samples)
        drawn = np.zeros(found.counts.sum())
        bounds = np.cumsum(found.counts) - found.counts
        for random, start, count in zip(
            generators(draw.seed, draw.stream, self.name, names=samples.ids), bounds, found.counts, strict=True
        ):
            drawn[start : start + count] = pattern.sequence(random, int(count), setting)
        numbers = {
            name: drawn[np.repeat(bounds, samples.lengths[name]) + of] for name, of in found.of_positions.items()
        }
        return samples.with_ends(numbers)

    def trained_with(self, setting: Setting) -> Any:
        return setting.model_dump(mode="json", exclude={"rates"})

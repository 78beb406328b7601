"""Babble: the voices of other clips of the split, all at once."""

from collections.abc import Mapping
from itertools import islice
from typing import ClassVar

import numpy as np
from pydantic import Field

from elision.corruption.media._additive import Additive
from elision.corruption.media._speech import at_level_one, looped
from elision.corruption.medium import Clip, SoundKind
from elision.errors import ElisionError


class Babble(Additive):
    """Voices of equal level, each from a clip of its own, cut or repeated from a place that is drawn for it.

    Clips without sound are passed over. A split with fewer clips gives fewer voices, as ``voices`` tells.
    """

    name = "babble"
    caption = "Babble"
    about = "Voices of other clips of the same split are added to the sound."
    measured: ClassVar[Mapping[str, str]] = {**Additive.measured, "voices": "number of voices in the babble"}

    class Options(SoundKind.Options):
        """Settings of babble."""

        # Six voices mask consonants about as well as any greater number (S. A. Simpson and M. Cooke, "Consonant
        # identification in N-talker babble is a nonmonotonic function of N", J. Acoust. Soc. Am. 118, 2005).
        voices: int = Field(6, ge=1, le=100, description="number of voices, each from another clip of the split")

    options: Options

    def noise(
        self, size: int, rate: int, clip: Clip, random: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, float]]:
        heard = (at_level_one(other, rate) for other in clip.others(rate))
        voices = list(islice((other for other in heard if other is not None), self.options.voices))
        if not voices:
            raise ElisionError(
                f"corruption babble: clip {clip.id} has no other clip with sound in its split; add clips to the split, "
                "or take babble out of corruption.media"
            )
        noise = np.sum([looped(voice, size, random) for voice in voices], axis=0, dtype=np.float64)
        return noise / np.sqrt(len(voices)), {"voices": float(len(voices))}

"""Noise in place of modalities, of the noise scheduler of NMER (Fan et al., arXiv 2311.16114, section 3).

The official code draws anew whenever it reads a batch, at test time too: one step t per batch, and noise on padding.
Here step and noise belong to a sample, as masks do (``t_per_batch``: the first sample of a batch decides for it).
Neither depends on the intensity, so that the noise of one intensity is comparable with that of another.

Noise of variance 1 is many times as large as a feature that is not standardised, such as pooled hidden states of a text
encoder with a deviation of 0.2, and decides which modality a method seems to need. Noise is therefore that of the
standardised feature, in its own unit: with the mean m and the deviation s of each dimension over the observed training
frames, m + sqrt(abar) (x - m) + sqrt(1 - abar) s n. The official code adds n to whatever it reads (``scaled``).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from elision.corruption import noise
from elision.corruption.kind import Condition, Draw, Drawn, Kind, Noise, Samples, each_absence, of_modalities, whole
from elision.corruption.missing import absent_rates, subsets
from elision.settings.fields import AS_PROTOCOL, MOST_ENTRIES, Length, Section, unique
from elision.task import MODALITIES


class Setting(Section):
    """The noise scheduler of NMER."""

    kinds: Annotated[list[noise.Kind], AfterValidator(unique)] | None = Field(
        None, description=f"kinds of noise to test; {AS_PROTOCOL}"
    )
    intensities: Annotated[list[Length], AfterValidator(unique)] = Field(
        [20, 40, 60, 80, 100],
        max_length=MOST_ENTRIES,
        description="time steps of the scheduler to test; more steps are more noise",
    )
    schedule: noise.Schedule = Field("scaled_linear", description="schedule of the variance over the steps")
    first: float = Field(0.01, gt=0, lt=1, description="variance of the first step")
    last: float = Field(0.5, gt=0, lt=1, description="variance of the last step")
    t_per_batch: bool | None = Field(
        None,
        description=f"true: draw one step per modality and batch, as in NMER's code; false: per sample; {AS_PROTOCOL}",
    )
    scaled: bool | None = Field(
        None,
        description="true: noise has the deviation of each feature over the training split; false: the deviation 1, "
        f"whatever the features are, as in NMER's code, which only a protocol can say; {AS_PROTOCOL}",
    )

    @field_validator("scaled")
    @classmethod
    def _is_unscaled_by_name(cls, scaled: bool | None, info: ValidationInfo) -> bool | None:
        if scaled is False and not (info.context or {}).get("protocol"):
            raise ValueError(
                "noise of deviation 1 means nothing on features of another deviation; leave out scaled, or, to compare "
                "with numbers that were made so, write protocol: nmer, or scaled: false in a protocol of your own"
            )
        return scaled


class InPlace(Kind):
    """A noisy copy stands in place of each modality that would be absent."""

    name = "noise"
    rank = 40
    setting = (Setting, Setting(), "noise in place of modalities (NMER)")
    training = "as absent, but noise replaces the absent modalities"
    corruptions = {"gaussian": "Gaussian noise", "impulse": "impulse noise"}
    caption = "Noise in place of modalities"
    section = "Noise"
    plot = "{} (mean over the sets of modalities)"
    always = True
    level = "intensity t"
    column = "intensity"
    sets, others = "noisy", "clean"
    condition = "{} condition"
    disguised = True
    about = "A noisy copy replaces some modalities. The other modalities are clean."
    reading = (
        "Noise of intensity t",
        "Noise replaces the named modalities. A higher intensity is more noise. All methods and runs get the same "
        "noise. Noise has the deviation of each feature over the training split, except under protocol nmer. Token ids "
        "have no noise: they become [UNK].",
    )

    def conditions(self, setting: Setting, present: tuple[str, ...]) -> list[Condition]:
        sets = [subset for subset in subsets(present) if subset]
        return [
            Condition(kind, float(intensity), subset)
            for kind in setting.kinds or []
            for intensity in setting.intensities
            for subset in sets
        ]

    def rates(self, condition: Condition) -> np.ndarray:
        return of_modalities(condition.modalities, 1.0)

    def test(
        self, condition: Condition, samples: Samples, draw: Draw, numbers: dict[str, np.ndarray], setting: Setting
    ) -> Drawn:
        drawn = Drawn(self.rates(condition), numbers)
        return _noisy(drawn, samples, draw, condition.corruption, int(condition.level), setting)

    def describe(self, condition: Condition) -> str:
        kind, names = self.corruptions[condition.corruption], ", ".join(condition.modalities)
        return f"{kind} of {condition.level:g} steps on {names}"

    def trained_with(self, setting: Setting) -> Any:
        return setting.model_dump(mode="json", exclude={"kinds", "intensities"})

    def train(self, samples: Samples, draw: Draw, setting: Setting, options: Any) -> Drawn:
        complete, present = options.with_complete, samples.present
        rates = absent_rates(seed=draw.seed, stream=draw.stream, ids=samples.ids, present=present, complete=complete)
        return _noisy(whole(samples, rates), samples, draw, options.noise, options.intensity, setting)

    def validate(self, samples: Samples, draw: Draw, setting: Setting, options: Any) -> Sequence[Drawn | None]:
        """Every sample under every set of noisy modalities, as in MMIN's loader."""
        return [
            _noisy(each, samples, draw, options.noise, options.intensity, setting)
            for each in each_absence(samples, complete=options.with_complete)
        ] or [self.train(samples, draw, setting, options)]


def _noisy(drawn: Drawn, samples: Samples, draw: Draw, kind: str, intensity: int, setting: Setting) -> Drawn:
    """Put noise where the rate is 1; token ids stay [UNK]."""
    left = noise.remaining(noise.betas(setting.schedule, intensity, setting.first, setting.last))
    rates, noises = np.broadcast_to(drawn.rates, (len(samples), len(MODALITIES))), {}
    for column, name in enumerate(MODALITIES):
        some = np.flatnonzero(rates[:, column] >= 1)
        if name not in samples.present or not samples.widths[name] or not len(some):
            continue
        bounds = samples.bounds(name)
        values = np.zeros((bounds[-1], samples.widths[name]), np.float32)
        for row in some:
            part, sample = values[bounds[row] : bounds[row + 1]], samples.ids[row]
            part[:] = noise.draw(kind, seed=draw.seed, stream=draw.stream, name=sample, modality=name, shape=part.shape)
        steps = noise.times(seed=draw.seed, stream=draw.stream, ids=samples.ids, modality=name) * intensity
        noises[name] = Noise(
            values,
            left[steps.astype(np.int64)].astype(np.float32),
            bool(setting.t_per_batch),
            setting.scaled is not False,
        )
    return replace(drawn, noise=noises)


assert set(InPlace.corruptions) == set(get_args(noise.Kind))

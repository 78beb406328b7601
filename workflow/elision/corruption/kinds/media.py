"""Clips whose sound, pictures or words are corrupted before their features are extracted: see ``corruption.medium``.

Here is what the test conditions, tables and plots need. Each kind of ``corruption/media/`` is a corruption of its own,
whose levels are its severities. What the test split is under a condition is no draw: it was extracted before.
"""

from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from elision.corruption import medium
from elision.corruption.kind import Condition, Draw, Drawn, Kind, Samples
from elision.corruption.medium import MODALITY, SEVERITIES, Severity
from elision.settings.fields import Section, short, unique
from elision.task import MODALITIES

Severities = Annotated[list[Severity], AfterValidator(unique), Field(min_length=1)]


class Of(Section):
    """Severities of one kind of corrupted media. Options of the kind are further keys (docs/media.md)."""

    model_config = ConfigDict(extra="allow")

    severities: Severities = Field(
        list(SEVERITIES), description="severities to test, from 1 (mild) to 5 (strong); 0 is the clean clip"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_list(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = [value]
        if not isinstance(value, list | dict | None):
            raise ValueError(f"found {short(value)}; give severities from 1 to {SEVERITIES[-1]}, such as [1, 3, 5]")
        return {"severities": value} if isinstance(value, list) else value or {}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the kind that are set."""
        return dict(self.model_extra or {})


class Setting(Section):
    """Kinds of corrupted media to test."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Of] = Field(init=False)

    recogniser: str | None = Field(
        None,
        min_length=1,
        description="recogniser of the words of corrupted sound: pocketsphinx, or a folder or Hugging Face id of "
        "Whisper, such as openai/whisper-small; methods then read these words in place of the transcript. null: the "
        "transcript stays as it is",
    )

    @model_validator(mode="before")
    @classmethod
    def _know_kinds(cls, value: Any) -> Any:
        if isinstance(value, list):
            value = {name: {} for name in unique(value)}
        if isinstance(value, dict):
            for name in value:
                if name != "recogniser":
                    medium.known(name)
        return value

    @model_validator(mode="after")
    def _know_options(self) -> "Setting":
        for name, entry in self.kinds.items():
            medium.check_options(name, entry.options)
        if self.recogniser is not None and not any(medium.facts(name).medium == "sound" for name in self.kinds):
            raise ValueError(
                "recogniser hears corrupted sound, but no kind corrupts sound; add one, such as white_noise, or leave "
                "out recogniser"
            )
        return self

    def without(self, medium_of: str) -> "Setting | None":
        """Return the setting without the kinds of a medium; None, if no kind is left."""
        kept = {name: entry for name, entry in self.kinds.items() if medium.facts(name).medium != medium_of}
        return type(self).model_validate({**kept, "recogniser": self.recogniser}) if kept else None

    @property
    def kinds(self) -> dict[str, Of]:
        """What is set for each kind, in the order of their names."""
        return dict(sorted((self.__pydantic_extra__ or {}).items()))


class Media(Kind):
    """The conditions of all kinds of corrupted media."""

    name = "media"
    rank = 70
    setting = (
        Setting | None,
        None,
        "kinds of corruption of sound, pictures and words before extraction, with severities, such as {white_noise: "
        "[1, 3, 5]}, for datasets of clips (docs/media.md); null: none",
    )

    def parts(self) -> list[Kind]:
        """Return what tables and plots show: each kind of ``corruption/media/``."""
        return [OfMedium(self, name) for name in medium.names()]

    def conditions(self, setting: Setting | None, present: tuple[str, ...]) -> list[Condition]:
        """List a condition per kind and severity, of kinds that corrupt a modality of the dataset."""
        if not setting:
            return []
        found = []
        for name, entry in setting.kinds.items():
            changed = concerned(name, setting.recogniser, present)
            if changed:
                found += [Condition(name, float(s), changed if s else ()) for s in entry.severities]
        return found

    def rates(self, condition: Condition) -> np.ndarray:
        """Nothing is missing but what the extraction did not find."""
        return np.zeros(len(MODALITIES))

    def test(
        self, condition: Condition, samples: Samples, draw: Draw, numbers: dict[str, np.ndarray], setting: Any
    ) -> Drawn:
        return Drawn(self.rates(condition), numbers)

    def describe(self, condition: Condition) -> str:
        if not condition.level:
            return "nothing"
        fact = medium.facts(condition.corruption)
        return f"{fact.words}, severity {condition.level:g} ({fact.level_name(int(condition.level))})"


def concerned(name: str, recogniser: str | None, present: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modalities that a kind changes, of those that a dataset has; none, if it lacks the medium."""
    modality = MODALITY[medium.facts(name).medium]
    changed = {modality, "text"} if recogniser and modality == "audio" else {modality}
    return tuple(each for each in MODALITIES if each in changed and each in present) if modality in present else ()


class OfMedium(Kind):
    """One kind of corrupted media, as far as tables and plots show it: its levels are the severities."""

    level = "severity s"
    column = "severity"
    condition = "severity level"
    summaries = ("mean", "area")

    def __init__(self, source: Kind, name: str) -> None:
        self._source = source
        vars(self).update(name=name, rank=source.rank)

    @property
    def facts(self) -> medium.Facts:
        """What the kind says of itself."""
        return medium.facts(self.name)

    @property
    def measured(self) -> dict[str, str]:  # type: ignore[override]
        """What is measured of a clip; the words, too, where those of the sound are recognised."""
        recognised = medium.MEASURED["words"] if self.facts.medium == "sound" else {}
        return {**self.facts.all_measured, **recognised}

    def level_name(self, severity: int) -> str:
        """Return what a severity is, as in "5 dB"."""
        return self.facts.level_name(severity)

    @property
    def source(self) -> Kind:
        """The kind that lists the conditions."""
        return self._source

    @cached_property
    def corruptions(self) -> dict[str, str]:  # type: ignore[override]
        return {self.name: self.facts.words}

    @cached_property
    def caption(self) -> str:  # type: ignore[override]
        return self.facts.caption

    @cached_property
    def about(self) -> str:  # type: ignore[override]
        return self.facts.about

    @cached_property
    def reading(self) -> tuple[str, str]:  # type: ignore[override]
        found = self.facts
        levels = "; ".join(f"{s}: {found.level_name(s)}" for s in SEVERITIES)
        return (
            f"{found.caption}: severity s",
            f"{found.about} The features of the corrupted clips are extracted again. Severities are levels of the "
            f"{found.level} ({levels}).",
        )

"""How data lie in a batch."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class Sequence:
    """One modality of a batch, padded to the length that the dataset fixes.

    Attributes
    ----------
    values : Tensor [B, T, d] float32, or [B, T] int64 token ids
        Zeros (``[PAD]``) beyond the sequence; missing frames are zeros and missing tokens ``[UNK]``.
    valid : Tensor [B, T] bool
        Where the sequence has a position: the attention mask. Corruption does not change it.
    observed : Tensor [B, T] bool
        Where the position was neither lost nor never observed; a subset of ``valid``. A noisy position is not lost.
    known_lengths : Tensor [B] int64, or None
        Number of valid positions, on the CPU whatever the device is.
    """

    values: Tensor
    valid: Tensor
    observed: Tensor
    known_lengths: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Number of valid positions [B], int64."""
        return self.valid.sum(1)

    @property
    def lengths_on_cpu(self) -> Tensor:
        """The same on the CPU, where recurrent layers want them; where they are known, the device is not waited for."""
        return self.lengths.cpu() if self.known_lengths is None else self.known_lengths


@dataclass
class Dialogues:
    """How the utterances of a batch make dialogues, for methods that read them (``Method.reads``).

    Attributes
    ----------
    member : Tensor [D, U] int64
        The utterance of the batch at each turn of each dialogue; 0 beyond the end.
    valid : Tensor [D, U] bool
        Where a dialogue has a turn.
    place : Tensor [B] int64
        Where each utterance stands in ``member``, row by row.
    speaker : Tensor [D, U] int64
        Number of who speaks, from 0; 0 beyond the end.
    known_lengths : Tensor [D] int64
        Number of turns, on the CPU whatever the device is.
    """

    member: Tensor
    valid: Tensor
    place: Tensor
    speaker: Tensor
    known_lengths: Tensor

    @classmethod
    def of(cls, lengths: Tensor, speaker: Tensor | None = None) -> "Dialogues":
        """Make dialogues of utterances that follow each other: the first ``lengths[0]`` are the first dialogue.

        Parameters
        ----------
        lengths : Tensor [D] int64
            At least 1 each; on the CPU.
        speaker : Tensor [B] int64, optional
            On the CPU; one speaker, if left out.
        """
        turn = torch.arange(int(lengths.max()))
        valid = turn < lengths[:, None]
        member = torch.where(valid, (lengths.cumsum(0) - lengths)[:, None] + turn, 0)
        who = torch.zeros_like(member) if speaker is None else torch.where(valid, speaker[member], 0)
        return cls(member, valid, valid.flatten().nonzero().squeeze(1), who, lengths)

    @classmethod
    def alone(cls, count: int, device: torch.device | str) -> "Dialogues":
        """Make each of so many utterances a dialogue of its own."""
        place = torch.arange(count, device=device)
        member = place[:, None]
        valid, speaker = torch.ones_like(member, dtype=torch.bool), torch.zeros_like(member)
        return cls(member, valid, place, speaker, torch.ones(count, dtype=torch.int64))

    def to(self, device: torch.device | str) -> "Dialogues":
        """Move every tensor to a device."""
        return _convert(self, device)

    def padded(self, utterances: Tensor) -> Tensor:
        """Put what belongs to utterances [B, ...] into their dialogues [D, U, ...], zeros beyond the ends."""
        valid = self.valid.reshape(*self.valid.shape, *[1] * (utterances.dim() - 1))
        return utterances[self.member] * valid

    def flat(self, turns: Tensor) -> Tensor:
        """Put what belongs to turns [D, U, ...] into the order of the utterances [B, ...]."""
        return turns.flatten(0, 1)[self.place]


@dataclass
class Batch:
    """A batch of utterances.

    Attributes
    ----------
    text, audio, vision : Sequence
        A modality that the dataset does not have is one position that is not valid. ``text`` holds token ids, or
        vectors for a method that reads those (``Method.reads_text``).
    label : Tensor [B]
        float32 for regression, int64 class numbers for classification.
    index : Tensor [B] int64
        Position of each sample in its split (0 to N - 1).
    row : Tensor [B] int64
        Row of each sample in the table of the dataset.
    rate : Tensor [B, 3] float32
        The missing rate drawn for text, audio and vision: 1 for one that is absent as a whole, or noise.
    clean : Batch or None
        In training, the same samples before corruption; None under ``train.clean: hidden``, and elsewhere.
    dialogues : Dialogues or None
        For a method that reads dialogues; None, where each utterance is a dialogue of its own.
    """

    text: Sequence
    audio: Sequence
    vision: Sequence
    label: Tensor
    index: Tensor
    row: Tensor
    rate: Tensor
    clean: "Batch | None" = None
    dialogues: Dialogues | None = None

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str) -> "Batch":
        """Move every tensor to a device."""
        return _convert(self, device)


def _convert(item, device):  # noqa: ANN001, ANN202
    moved = {}
    for field in fields(item):
        value = getattr(item, field.name)
        if field.name == "known_lengths":
            continue
        if isinstance(value, Tensor):
            moved[field.name] = value.to(device)
        elif isinstance(value, Sequence | Dialogues | Batch):
            moved[field.name] = _convert(value, device)
    return replace(item, **moved)

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
    """

    text: Sequence
    audio: Sequence
    vision: Sequence
    label: Tensor
    index: Tensor
    row: Tensor
    rate: Tensor
    clean: "Batch | None" = None

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
        elif isinstance(value, Sequence | Batch):
            moved[field.name] = _convert(value, device)
    return replace(item, **moved)

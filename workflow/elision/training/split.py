"""A split of a store on a device, from which batches are gathered and corrupted."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elision import dialogues as told
from elision.batch import Batch, Dialogues, Sequence
from elision.corruption import noise as noises
from elision.corruption.kind import Draw, Drawn, Origin, Samples, kinds, vector
from elision.corruption.missing import missing
from elision.methods.base import TrainingHyperparameters
from elision.store import Sequences, Store
from elision.task import MODALITIES
from elision.training.view import Scale, View


@dataclass(frozen=True)
class _Flat:
    """Sequences of a split, end to end on the device."""

    values: Tensor
    observed: Tensor
    offsets: Tensor
    length: int
    unk: int | None

    def gather(self, index: Tensor, lost: Tensor | None, noise: "NoiseField | None" = None) -> Sequence:
        """Pad the samples ``index`` to ``length``; ``lost`` (one bool per flat position) is zero, or noisy."""
        start, stop = self.offsets[index], self.offsets[index + 1]
        position = torch.arange(self.length, device=index.device)
        valid = position < (stop - start)[:, None]
        flat = torch.where(valid, start[:, None] + position, 0)
        if not len(self.values):
            shape = (*flat.shape, *self.values.shape[1:])
            return Sequence(self.values.new_zeros(shape), valid, valid.clone())
        observed = valid & self.observed[flat]
        values = self.values[flat]
        if self.unk is None:
            if noise is not None:
                mixed = torch.where((observed & lost[flat])[..., None], noise.mix(values, index, flat), values)
                return Sequence(mixed * observed[..., None], valid, observed)
            if lost is not None:
                observed = observed & ~lost[flat]
            return Sequence(values * observed[..., None], valid, observed)
        values = values * valid
        if lost is not None:
            dropped = valid & lost[flat]
            values, observed = torch.where(dropped, self.unk, values), observed & ~dropped
        return Sequence(values, valid, observed)


def _word_ranges(store: Store, rows: np.ndarray, spans: np.ndarray) -> Tensor:
    """Frames from and up to [N, T, 2] of each position of the samples ``rows`` (see ``Store.positions``)."""
    ranges = np.zeros((len(store.samples), store.aligned_length, 2), np.int64)
    ranges[np.arange(ranges.shape[1]) < store.positions()[:, None]] = spans
    return torch.from_numpy(ranges[rows])


def _pooled_ranges(length: int, tokens: int) -> Tensor:
    """Frames from and up to [T, 2] of equal parts of a padded sequence; the last parts may reach beyond its end."""
    pool = -(-length // tokens)
    start = pool * torch.arange(tokens)
    return torch.stack([start, start + pool], 1)


def _averaged_lengths(ranges: Tensor, lengths: np.ndarray, padded: int) -> Tensor:
    """Return how many of the ranges [N, T, 2] of each sample, padded to ``padded`` frames, begin within its length."""
    start, stop = ranges.unbind(2)
    return ((stop > start) & (start.clamp(max=padded - 1) < torch.from_numpy(lengths)[:, None])).sum(1)


def _average(sequence: Sequence, ranges: Tensor, frames: int) -> Sequence:
    """Average over ranges of frames [B, T, 2], ``frames`` in all; frames beyond the end are copies of the last.

    Each mean is summed by itself and in the order of its frames: no other sample of the batch changes a bit of it.
    """
    batch, length = sequence.valid.shape
    start, stop = ranges.flatten(0, 1).unbind(1)
    count = stop - start
    first = count.cumsum(0) - count
    frame = torch.arange(frames, device=count.device) + (start - first).repeat_interleave(count, output_size=frames)
    sample = torch.arange(batch, device=count.device).repeat_interleave(ranges.shape[1])
    sample = sample.repeat_interleave(count, output_size=frames)
    flags = torch.stack([sequence.valid, sequence.observed], 2)
    values = torch.cat([sequence.values, flags], 2).flatten(0, 1)
    means = F.embedding_bag(sample * length + frame.clamp(max=length - 1), values, first, mode="mean")
    means = means.unflatten(0, (batch, -1))
    return Sequence(means[..., :-2].contiguous(), means[..., -2] > 0, means[..., -1] > 0)


@dataclass(frozen=True)
class _Turns:
    """The dialogues of a split, on the CPU.

    Attributes
    ----------
    members : list of Tensor [U] int64
        The utterances of each dialogue, in the order in which they were spoken.
    dialogue, turn, speaker : Tensor [N] int64
        Of each utterance: its dialogue, its place there, and the number of who speaks.
    """

    members: list[Tensor]
    dialogue: Tensor
    turn: Tensor
    speaker: Tensor

    @classmethod
    def of(cls, store: Store, rows: np.ndarray) -> "_Turns":
        members = [torch.from_numpy(places) for places in told.members(store.samples.iloc[rows])]
        dialogue, turn = torch.zeros(2, len(rows), dtype=torch.int64)
        for number, places in enumerate(members):
            dialogue[places], turn[places] = number, torch.arange(len(places))
        return cls(members, dialogue, turn, torch.from_numpy(told.speakers(store.samples)[rows]))

    def found(self, index: Tensor) -> Dialogues:
        """Return the dialogues that the utterances ``index`` [B] make."""
        dialogue, turn = self.dialogue[index], self.turn[index]
        begins = torch.ones(len(index), dtype=torch.bool)
        begins[1:] = (dialogue[1:] != dialogue[:-1]) | (turn[1:] <= turn[:-1])
        starts = begins.nonzero().squeeze(1)
        lengths = torch.cat([starts[1:], torch.tensor([len(index)])]) - starts
        return Dialogues.of(lengths, self.speaker[index])


class SplitData:
    """One split of a store on a device.

    Parameters
    ----------
    store : Store
    split : str
        ``train``, ``valid`` or ``test``.
    scales : dict of str to Scale
        Applied to the modalities that it names.
    view : View
    spans : dict of str to np.ndarray, optional
        Frames of each text token (see ``features.align``), for ``words``, and for corruptions that are ``timed``.
    device : torch.device
    """

    def __init__(
        self,
        store: Store,
        split: str,
        *,
        scales: dict[str, Scale],
        view: View,
        spans: dict[str, np.ndarray] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        rows = store.rows(split, view.fold)
        self._origin = Origin(store, rows, spans)
        self.ids = store.samples["id"].to_numpy()[rows]
        self.rows = torch.from_numpy(rows).to(device)
        self.labels = _labels(store, rows).to(device)
        self.device = torch.device(device)
        self.lengths: dict[str, np.ndarray] = {}
        self._flat: dict[str, _Flat] = {}
        # What the device need not be asked for: how many positions a sequence has, and frames its ranges.
        self._known: dict[str, Tensor] = {}
        self._frames: dict[str, Tensor] = {}
        self._ranges: dict[str, Tensor] = {}
        length = 1 if view.alignment == "none" else store.aligned_length
        seen = view.sequences(store)
        for name in MODALITIES:
            if name not in seen:
                tokens = name == "text" and view.reads_text != "vectors"
                self._load_absent(name, len(rows), length, tokens=tokens)
                continue
            self._load(seen[name], name, rows, scales.get(name))
            if name != "text" and view.alignment == "words":
                self._average(name, _word_ranges(store, rows, spans[name]))
            elif name != "text" and view.alignment == "pooled":
                self._average(name, _pooled_ranges(self._flat[name].length, length).expand(len(rows), -1, -1))
        self._turns = _Turns.of(store, rows) if view.dialogues else None
        self._store, self._view = store, view
        # Units of noise, as far as they were asked for: what is standardised has that of the noise.
        self._units: dict[str, Scale | None] = dict.fromkeys(scales)
        self.present = tuple(name for name in MODALITIES if self.lengths[name].any())
        # [CLS] and [SEP] are never lost; vectors of them are, with the whole text.
        self._ends = "text" in store.modalities

    def _load(self, sequences: Sequences, name: str, rows: np.ndarray, scale: Scale | None) -> None:
        lengths = sequences.lengths[rows]
        of_ids = sequences.values.ndim == 1
        values = np.empty((lengths.sum(), *sequences.values.shape[1:]), np.int64 if of_ids else np.float32)
        observed = np.ones(len(values), bool)
        end = 0
        for block in sequences.blocks(rows):
            here = slice(end, end := end + len(block))
            if of_ids:
                values[here] = block
                continue
            observed[here] = ~np.isnan(block).any(1)
            block = block.astype(np.float32, copy=False)
            if scale:
                block = (block - scale.mean) / scale.std
            values[here] = np.where(observed[here, None], block, np.float32(0))
        unk = sequences.header.settings["unk"] if of_ids else None
        self._put(name, values, observed, lengths, sequences.header.length, unk)

    def _load_absent(self, name: str, count: int, length: int, *, tokens: bool) -> None:
        values = np.zeros(0, np.int64) if tokens else np.zeros((0, 1), np.float32)
        self._put(name, values, np.zeros(0, bool), np.zeros(count, np.int64), length, 0 if tokens else None)

    def _put(
        self, name: str, values: np.ndarray, observed: np.ndarray, lengths: np.ndarray, length: int, unk: int | None
    ) -> None:
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tensors = (torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in (values, observed, offsets))
        self._flat[name] = _Flat(*tensors, length, unk)
        self.lengths[name] = lengths
        self._known[name] = torch.from_numpy(lengths.astype(np.int64))

    def _average(self, name: str, ranges: Tensor) -> None:
        self._known[name] = _averaged_lengths(ranges, self.lengths[name], self._flat[name].length)
        self._frames[name] = (ranges[..., 1] - ranges[..., 0]).sum(1)
        self._ranges[name] = ranges.to(self.device)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dialogues(self) -> bool:
        """Whether the utterances of a dialogue are read together."""
        return self._turns is not None

    @property
    def units(self) -> int:
        """How many dialogues there are, for a method that reads dialogues; else how many utterances."""
        return len(self._turns.members) if self._turns else len(self)

    def members(self, units: Tensor) -> Tensor:
        """Return the utterances of the dialogues ``units``, one dialogue after the other; else ``units`` themselves."""
        return torch.cat([self._turns.members[unit] for unit in units.tolist()]) if self._turns else units

    @property
    def samples(self) -> Samples:
        """What draws depend on."""
        widths = {name: 0 if flat.unk is not None else flat.values.shape[1] for name, flat in self._flat.items()}
        padded = {name: flat.length for name, flat in self._flat.items()}
        return Samples(self.ids, self.lengths, padded, widths, self._ends, self._origin)

    def corrupted(self, drawn: Drawn | None) -> "Corrupted | None":
        """Put what was drawn for the whole split on its device; None: nothing is missing."""
        if drawn is None:
            return None
        rates = np.broadcast_to(drawn.rates, (len(self), len(MODALITIES)))
        lost = {}
        for column, name in enumerate(MODALITIES):
            if name in drawn.numbers and self.lengths[name].any():
                rate = np.repeat(rates[:, column], self.lengths[name])
                gone = missing(drawn.numbers[name], rate)
                if self._flat[name].unk is None:
                    gone |= rate >= 1
                lost[name] = torch.from_numpy(gone).to(self.device)
        fields = {
            name: NoiseField(
                torch.from_numpy(noise.values).to(self.device),
                torch.from_numpy(noise.left).to(self.device),
                noise.per_batch,
                *self._unit(name, scaled=noise.scaled),
            )
            for name, noise in drawn.noise.items()
        }
        return Corrupted(torch.tensor(rates, dtype=torch.float32, device=self.device), lost, fields)

    def _unit(self, name: str, *, scaled: bool) -> tuple[Tensor, Tensor] | tuple[()]:
        """Mean and deviation [d] of a modality over the training split; nothing for noise that is to keep its own."""
        if name not in self._units:
            self._units[name] = Scale.of(self._store, self._view.stored[name], self._view.fold, constant=0.0)
        unit = self._units[name] if scaled else None
        return () if unit is None else tuple(torch.from_numpy(v).to(self.device) for v in (unit.mean, unit.std))

    def training_corruption(self, mixture: "Mixture", *, seed: int, stream: str) -> "Corrupted | None":
        """Draw a training corruption for the whole split; None for complete data."""
        kind = kinds()[mixture.kind]
        return self.corrupted(kind.train(self.samples, mixture.draw(seed, stream), mixture.setting, mixture.options))

    def validation_corruptions(self, mixture: "Mixture", *, seed: int) -> "list[Corrupted | None]":
        """Draw what the split is validated under: as the kind says, or all at one rate, if the mixture has one."""
        samples, draw = self.samples, mixture.draw(seed, "valid")
        if mixture.validation_rate is not None:
            rates = vector(mixture.validation_rate)
            return [self.corrupted(kinds()[mixture.kind].at(rates, samples, draw, mixture.setting))]
        drawn = kinds()[mixture.kind].validate(samples, draw, mixture.setting, mixture.options)
        return list(map(self.corrupted, drawn))

    def batch(self, index: Tensor, corrupted: "Corrupted | None", *, with_clean: bool = False) -> Batch:
        """Gather the samples ``index`` [B], which is on the CPU, corrupted or complete.

        For a method that reads dialogues, utterances of one dialogue that follow each other in ``index``, in the order
        in which they were spoken, are read together.
        """
        clean = self._gather(index, None) if with_clean or corrupted is None else None
        if corrupted is None:
            return Batch(**{**vars(clean), "clean": clean if with_clean else None})
        batch = self._gather(index, corrupted)
        batch.clean = clean
        return batch

    def _gather(self, chosen: Tensor, corrupted: "Corrupted | None") -> Batch:
        sequences, index = {}, chosen.to(self.device, non_blocking=True)
        for name, flat in self._flat.items():
            lost, noise = (corrupted.lost.get(name), corrupted.noise.get(name)) if corrupted else (None, None)
            sequences[name] = flat.gather(index, lost, noise)
            if name in self._ranges:
                frames = int(self._frames[name][chosen].sum())
                sequences[name] = _average(sequences[name], self._ranges[name][index], frames)
            sequences[name].known_lengths = self._known[name][chosen]
        rate = corrupted.rates[index] if corrupted else torch.zeros(len(index), len(MODALITIES), device=self.device)
        dialogues = self._turns.found(chosen).to(self.device) if self._turns else None
        return Batch(
            **sequences, label=self.labels[index], index=index, row=self.rows[index], rate=rate, dialogues=dialogues
        )


def _labels(store: Store, rows: np.ndarray) -> Tensor:
    """Scores [N] float32, or numbers of classes [N] int64; of samples without a label, nan or -1."""
    labels = store.samples["label"].to_numpy()[rows]
    if not store.classes:
        return torch.tensor(labels.astype(np.float32))
    numbers = {name: number for number, name in enumerate(store.classes)}
    return torch.tensor([numbers.get(label, -1) for label in labels], dtype=torch.int64)


@dataclass(frozen=True)
class Mixture:
    """How training data are corrupted.

    Attributes
    ----------
    kind : str
        Name of a kind of corruption.
    setting : object
        Its entry in the section ``corruption`` of the params; None, if it has none.
    options : TrainingHyperparameters
        Of the method.
    mask_seed : int or None
        Seed of shared numbers (``Draw.shared``).
    validation_rate : float, dict of str to float, or None
        Missing rate of the validation split, or one for each modality; None: it is corrupted as in training.
    """

    kind: str
    setting: Any = None
    options: Any = field(default_factory=TrainingHyperparameters)
    mask_seed: int | None = None
    validation_rate: float | dict[str, float] | None = None

    def draw(self, seed: int, stream: str) -> Draw:
        """Return how numbers are drawn."""
        return Draw(seed, stream, self.mask_seed)


@dataclass(frozen=True)
class NoiseField:
    """Noise of one modality of a split.

    Attributes
    ----------
    values : Tensor [sum of lengths, d]
        Zero for samples that keep the modality.
    left : Tensor [N]
        Share of the variance of each sample's signal that is left (abar).
    per_batch : bool
        The first sample of a batch decides for all.
    mean, deviation : Tensor [d] or None
        Of the signal that the noise is meant for; None: 0 and 1, as of a signal that is standardised.
    """

    values: Tensor
    left: Tensor
    per_batch: bool
    mean: Tensor | None = None
    deviation: Tensor | None = None

    def mix(self, signal: Tensor, index: Tensor, flat: Tensor) -> Tensor:
        """Mix the signal [B, T, d] of the samples ``index``, which lies at the positions ``flat`` [B, T]."""
        left = self.left[index[:1].expand_as(index) if self.per_batch else index][:, None, None]
        return noises.noisy(signal, self.values[flat], left, mean=self.mean, deviation=self.deviation)


@dataclass(frozen=True)
class Corrupted:
    """What is missing in a split.

    Attributes
    ----------
    rates : Tensor [N, 3]
    lost : dict of str to Tensor [sum of lengths] bool
    noise : dict of str to NoiseField
        What stands there instead of zeros.
    """

    rates: Tensor
    lost: dict[str, Tensor]
    noise: dict[str, NoiseField] = field(default_factory=dict)

    @property
    def of_batches(self) -> bool:
        """Whether the first sample of a batch decides for others."""
        return any(noise.per_batch for noise in self.noise.values())

    @property
    def identity(self) -> bytes | None:
        """Digest of what is missing: under corruptions of one identity, batches are equal. Empty for nothing.

        None with noise, which is not compared.
        """
        if self.noise:
            return None
        lost = {name: gone.cpu().numpy() for name, gone in sorted(self.lost.items())}
        told = [name.encode() + np.packbits(gone).tobytes() for name, gone in lost.items() if gone.any()]
        rates = self.rates.cpu().numpy()
        return sha256(b"".join([rates.tobytes(), *told])).digest() if told or rates.any() else b""

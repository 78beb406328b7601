"""A split of a store on a device, from which batches are gathered and corrupted."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.corruption.missing import lnln_rates, missing, uniforms
from elision.store import Store
from elision.task import MODALITIES, DataSpec


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the observed training frames of one modality, each [d] float32."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, store: Store, modality: str) -> "Scale":
        """Measure a modality; a dimension that does not vary, or is never observed, is only centred."""
        sequences = store.modalities[modality]
        frames = [sequences[row] for row in store.rows("train")]
        values = np.concatenate(frames).astype(np.float64)
        values = values[~np.isnan(values).any(1)]
        if not len(values):
            return cls(np.zeros(sequences.width, np.float32), np.ones(sequences.width, np.float32))
        std = values.std(0)
        return cls(values.mean(0).astype(np.float32), np.where(std < 1e-6, 1.0, std).astype(np.float32))


def scales(store: Store, *, standardise: bool) -> dict[str, Scale]:
    """Measure audio and vision of the training split, or nothing when ``standardise`` is off."""
    return {m: Scale.of(store, m) for m in ("audio", "vision") if standardise and m in store.modalities}


def spec(store: Store, corpus: str, modalities: tuple[str, ...] = MODALITIES, *, alignment: str = "none") -> DataSpec:
    """Return the sizes of a dataset, as a method that sees ``modalities`` in an ``alignment`` is built for them."""
    seen = {name: sequences for name, sequences in store.modalities.items() if name in modalities}
    length = {name: seen[name].header.length if name in seen else 1 for name in MODALITIES}
    return DataSpec(
        corpus=corpus,
        audio=seen["audio"].width if "audio" in seen else 1,
        vision=seen["vision"].width if "vision" in seen else 1,
        length=length if alignment == "none" else dict.fromkeys(MODALITIES, _text_length(store)),
        samples=len(store.rows("train")),
        encoder=store.modalities["text"].header.extractor if "text" in store.modalities else "minilm",
    )


def _text_length(store: Store) -> int:
    return store.modalities["text"].header.length if "text" in store.modalities else 1


@dataclass(frozen=True)
class _Flat:
    """Sequences of a split, end to end on the device."""

    values: Tensor
    observed: Tensor
    offsets: Tensor
    length: int
    unk: int | None

    def gather(self, index: Tensor, lost: Tensor | None) -> Sequence:
        """Pad the samples ``index`` to ``length``; ``lost`` (one bool per flat position) is corrupted."""
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
            if lost is not None:
                observed = observed & ~lost[flat]
            return Sequence(values * observed[..., None], valid, observed)
        values = values * valid
        if lost is not None:
            dropped = valid & lost[flat]
            values, observed = torch.where(dropped, self.unk, values), observed & ~dropped
        return Sequence(values, valid, observed)


def _word_ranges(store: Store, rows: np.ndarray, spans: np.ndarray) -> Tensor:
    """Frames from and up to [N, T, 2] of each token of the samples ``rows``; none, where there is no token."""
    count = len(store.samples)
    tokens = store.modalities["text"].lengths if "text" in store.modalities else np.zeros(count, np.int64)
    ranges = np.zeros((count, _text_length(store), 2), np.int64)
    ranges[np.arange(ranges.shape[1]) < tokens[:, None]] = spans
    return torch.from_numpy(ranges[rows])


def _pooled_ranges(length: int, tokens: int) -> Tensor:
    """Frames from and up to [T, 2] of equal parts of a padded sequence; the last parts may reach beyond its end."""
    pool = -(-length // tokens)
    start = pool * torch.arange(tokens)
    return torch.stack([start, start + pool], 1)


def _average(sequence: Sequence, ranges: Tensor) -> Sequence:
    """Average over ranges of frames [B, T, 2]; frames beyond the end are copies of the last.

    Each mean is summed by itself and in the order of its frames: no other sample of the batch changes a bit of it.
    """
    batch, length = sequence.valid.shape
    start, stop = ranges.flatten(0, 1).unbind(1)
    count = stop - start
    first = count.cumsum(0) - count
    frame = torch.arange(int(count.sum()), device=count.device) + (start - first).repeat_interleave(count)
    sample = torch.arange(batch, device=count.device).repeat_interleave(ranges.shape[1]).repeat_interleave(count)
    flags = torch.stack([sequence.valid, sequence.observed], 2)
    frames = torch.cat([sequence.values, flags], 2).flatten(0, 1)
    means = F.embedding_bag(sample * length + frame.clamp(max=length - 1), frames, first, mode="mean")
    means = means.unflatten(0, (batch, -1))
    return Sequence(means[..., :-2].contiguous(), means[..., -2] > 0, means[..., -1] > 0)


class SplitData:
    """One split of a store on a device.

    Parameters
    ----------
    store : Store
    split : str
        ``train``, ``valid`` or ``test``.
    scales : dict of str to Scale
        Applied to the modalities that it names.
    modalities : tuple of str
        The modalities that are seen; the rest is left out.
    alignment : str
        What becomes of audio and vision, after corruption. ``none``: they keep their own frames. ``words``: for each
        text token the mean of its frames. ``pooled``: with L their padded length and T that of the text, for each of T
        positions the mean of L / T padded frames, rounded up, whatever the length of the sample; where the frames do
        not suffice, the last one is repeated. In either alignment all modalities have length T; a position is valid, or
        observed, if one of its frames is.
    spans : dict of str to np.ndarray, optional
        Frames of each text token (see ``features.align``), for ``words``.
    device : torch.device
    """

    def __init__(
        self,
        store: Store,
        split: str,
        *,
        scales: dict[str, Scale],
        modalities: tuple[str, ...] = MODALITIES,
        alignment: str = "none",
        spans: dict[str, np.ndarray] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        rows = store.rows(split)
        self.ids = store.samples["id"].to_numpy()[rows]
        self.labels = torch.tensor(store.samples["label"].to_numpy()[rows], dtype=torch.float32, device=device)
        self.device = torch.device(device)
        self.lengths: dict[str, np.ndarray] = {}
        self._flat: dict[str, _Flat] = {}
        self._ranges: dict[str, Tensor] = {}
        length = 1 if alignment == "none" else _text_length(store)
        for name in (*MODALITIES, "text_features"):
            kind = "text" if name == "text_features" else name
            if name in store.modalities and kind in modalities:
                self._load(store, name, rows, scales.get(name))
                if kind != "text" and alignment == "words":
                    self._ranges[name] = _word_ranges(store, rows, spans[name]).to(self.device)
                elif kind != "text" and alignment == "pooled":
                    pooled = _pooled_ranges(self._flat[name].length, length).to(self.device)
                    self._ranges[name] = pooled.expand(len(rows), -1, -1)
            elif name in MODALITIES:
                self._load_absent(name, len(rows), length)

    def _load(self, store: Store, name: str, rows: np.ndarray, scale: Scale | None) -> None:
        sequences = store.modalities[name]
        lengths = sequences.lengths[rows]
        values = np.concatenate([sequences[row] for row in rows]) if len(rows) else sequences.values[:0]
        if values.ndim == 1:
            unk, observed, values = (
                sequences.header.settings["unk"],
                np.ones(len(values), bool),
                values.astype(np.int64),
            )
        else:
            unk, observed = None, ~np.isnan(values).any(1)
            values = values.astype(np.float32)
            if scale:
                values = (values - scale.mean) / scale.std
            values = np.where(observed[:, None], values, np.float32(0))
        self._put(name, values, observed, lengths, sequences.header.length, unk)

    def _load_absent(self, name: str, count: int, length: int) -> None:
        values = np.zeros(0, np.int64) if name == "text" else np.zeros((0, 1), np.float32)
        self._put(name, values, np.zeros(0, bool), np.zeros(count, np.int64), length, 0 if name == "text" else None)

    def _put(
        self, name: str, values: np.ndarray, observed: np.ndarray, lengths: np.ndarray, length: int, unk: int | None
    ) -> None:
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tensors = (torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in (values, observed, offsets))
        self._flat[name] = _Flat(*tensors, length, unk)
        if name in MODALITIES:
            self.lengths[name] = lengths

    def __len__(self) -> int:
        return len(self.ids)

    def corruption(self, *, rates: np.ndarray, uniform: dict[str, np.ndarray]) -> "Corrupted":
        """Fix what is missing in the whole split.

        Parameters
        ----------
        rates : np.ndarray [shape=(N, 3) or (3,), dtype=float32]
            Missing rate per sample of text, audio and vision.
        uniform : dict of str to np.ndarray [shape=(sum of lengths,)]
            Uniform numbers of the positions of each modality.
        """
        rates = np.broadcast_to(rates, (len(self), len(MODALITIES)))
        lost = {}
        for column, name in enumerate(MODALITIES):
            if name in uniform and self.lengths[name].any():
                drawn = missing(uniform[name], np.repeat(rates[:, column], self.lengths[name]))
                lost[name] = torch.from_numpy(drawn).to(self.device)
        return Corrupted(torch.tensor(rates, device=self.device), lost)

    def training_corruption(self, kind: str, *, seed: int, stream: str) -> "Corrupted | None":
        """Draw a training mixture for the whole split: ``lnln``, or None for ``complete``."""
        if kind == "complete":
            return None
        uniform = {
            name: uniforms(seed=seed, stream=stream, ids=self.ids, lengths=lengths, modality=name)
            for name, lengths in self.lengths.items()
        }
        return self.corruption(rates=lnln_rates(seed=seed, stream=stream, ids=self.ids), uniform=uniform)

    def batch(self, index: Tensor, corrupted: "Corrupted | None", *, with_clean: bool = False) -> Batch:
        """Gather the samples ``index`` [B], corrupted or complete."""
        index = index.to(self.device)
        clean = self._gather(index, None) if with_clean or corrupted is None else None
        if corrupted is None:
            return Batch(**{**vars(clean), "clean": clean if with_clean else None})
        batch = self._gather(index, corrupted)
        batch.clean = clean
        return batch

    def _gather(self, index: Tensor, corrupted: "Corrupted | None") -> Batch:
        sequences = {}
        for name, flat in self._flat.items():
            kind = "text" if name == "text_features" else name
            sequences[name] = flat.gather(index, corrupted.lost.get(kind) if corrupted else None)
            if name in self._ranges:
                sequences[name] = _average(sequences[name], self._ranges[name][index])
        rate = corrupted.rates[index] if corrupted else torch.zeros(len(index), len(MODALITIES), device=self.device)
        return Batch(**sequences, label=self.labels[index], index=index, rate=rate)


@dataclass(frozen=True)
class Corrupted:
    """What is missing in a split.

    Attributes
    ----------
    rates : Tensor [N, 3]
    lost : dict of str to Tensor [sum of lengths] bool
    """

    rates: Tensor
    lost: dict[str, Tensor]

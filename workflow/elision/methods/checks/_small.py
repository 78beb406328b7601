"""Small data and a small text encoder, with which a method is trained in a moment."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from elision.batch import Batch, Dialogues, Sequence
from elision.methods.base import Method, TrainingHyperparameters
from elision.methods.checks._bert import TinyBert
from elision.methods.layers.text_encoder import TextEncoder
from elision.task import MODALITIES, DataSpec, TaskKind

SPEC = DataSpec(
    corpus="demo", audio=5, vision=4, length={"text": 10, "audio": 12, "vision": 9}, samples=16, encoder="tiny"
)
CLASSES = replace(SPEC, task=TaskKind.CLASSIFICATION, classes=("sad", "neutral", "happy"))
VOCABULARY, PAD, UNK, CLS, SEP = 32, 0, 1, 2, 3


def tiny_encoder(seed: int = 0, *, dropout: float = 0.1, pooler: bool = False) -> TextEncoder:
    """Return a BERT of two layers with random weights, which depend on ``seed`` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TextEncoder(TinyBert(vocabulary=VOCABULARY, dropout=dropout), pooler=pooler)


def recording(hyperparameters: TrainingHyperparameters) -> tuple[TrainingHyperparameters, set[str]]:
    """Return the same hyperparameters, and a set that takes the names of those that are read."""
    kind, read = type(hyperparameters), set()

    def get(self: TrainingHyperparameters, name: str) -> object:
        if name in kind.model_fields:
            read.add(name)
        return kind.__getattribute__(self, name)

    recorded = type(kind.__name__, (kind,), {"__getattribute__": get})(**hyperparameters.model_dump())
    read.clear()  # what its own checks have read
    return recorded, read


def learn(
    method: Method, batches: list[Batch], optimizers: list[torch.optim.Optimizer], *, epoch: int
) -> dict[str, Tensor]:
    """Train for an epoch, as the trainer does; returns the last terms of the loss."""
    method.on_epoch_start(epoch)
    terms = {}
    for number, count in enumerate(method.passes(len(batches))):
        method.on_pass_start(number)
        for step, batch in enumerate(batches[:count]):
            terms |= method.update(batch, optimizers, step)
    return terms


def make_labels(score: Tensor, spec: DataSpec) -> Tensor:
    """Return scores from -2 to 2 as labels of a task: as they are, or as numbers of classes, in rising order."""
    if spec.task is TaskKind.REGRESSION:
        return score
    return torch.bucketize(score, torch.linspace(-2, 2, len(spec.classes) + 1)[1:-1])


def make_batch(
    size: int = 6,
    *,
    spec: DataSpec = SPEC,
    lost: float = 0.5,
    lengths: Mapping[str, int] | None = None,
    absent: Collection[str] = (),
    seed: int = 0,
    tokens: range = range(4, VOCABULARY),
    unknown: int = UNK,
) -> Batch:
    """Make random utterances of random length of which a share is lost, with the complete ones beside them.

    Where ``spec`` has several speakers, three utterances each are a dialogue, in which two speakers take turns.

    Parameters
    ----------
    size : int
        Number of utterances.
    spec : DataSpec
    lost : float in [0, 1]
        Probability that a position is lost.
    lengths : dict of str to int, optional
        Number of valid positions of modalities; random for the others.
    absent : collection of str
        Modalities that are lost as a whole.
    seed : int
    tokens : range
        Ids of tokens.
    unknown : int
        Id of a lost token.
    """
    random = torch.Generator().manual_seed(seed)
    rate = torch.tensor([1.0 if name in absent else lost for name in MODALITIES]).repeat(size, 1)
    clean, corrupted = {}, {}
    for name in MODALITIES:
        longest = spec.length[name]
        valid = torch.arange(longest) < torch.randint(1, longest + 1, (size, 1), generator=random)
        if lengths and name in lengths:
            valid = (torch.arange(longest) < lengths[name]).expand(size, -1)
        kept = valid & (torch.rand(size, longest, generator=random) >= lost) & (name not in absent)
        if name == "text" and not spec.text:
            values = torch.randint(tokens.start, tokens.stop, (size, longest), generator=random) * valid
            dropped = torch.where(valid & ~kept, unknown, values)
        else:
            values = torch.randn(size, longest, getattr(spec, name), generator=random) * valid[..., None]
            dropped = values * kept[..., None]
        clean[name] = Sequence(values, valid, valid.clone())
        corrupted[name] = Sequence(dropped, valid, kept)
    label = make_labels(torch.rand(size, generator=random) * 4 - 2, spec)
    index = torch.randperm(max(spec.samples, size), generator=random)[:size]
    same = {"label": label, "index": index, "row": index + 100}
    if spec.speakers > 1:
        lengths = torch.tensor([3] * (size // 3) + [size % 3] * (size % 3 > 0))
        same["dialogues"] = Dialogues.of(lengths, torch.arange(size) % 2)
    complete = Batch(**clean, **same, rate=torch.zeros(size, 3))
    return Batch(**corrupted, **same, rate=rate, clean=complete)


def rows(batch: Batch, index: Tensor) -> Batch:
    """Return some samples of a batch, each a dialogue of its own."""

    def pick(sequence: Sequence) -> Sequence:
        return Sequence(sequence.values[index], sequence.valid[index], sequence.observed[index])

    sequences = {name: pick(getattr(batch, name)) for name in MODALITIES}
    clean = None if batch.clean is None else rows(batch.clean, index)
    tensors = {name: getattr(batch, name)[index] for name in ("label", "index", "row", "rate")}
    return replace(batch, **sequences, **tensors, clean=clean, dialogues=None)


def units(batch: Batch) -> list[Tensor]:
    """Return the utterances that are read together: those of each dialogue, or each by itself."""
    if batch.dialogues is None:
        return list(torch.arange(len(batch)).split(1))
    return [member[valid] for member, valid in zip(batch.dialogues.member, batch.dialogues.valid, strict=True)]


def chosen(batch: Batch, wholes: list[Tensor]) -> Batch:
    """Return some `units` of a batch."""
    index = torch.cat(wholes)
    found = rows(batch, index)
    if batch.dialogues is None:
        return found
    speaker = batch.dialogues.flat(batch.dialogues.speaker)[index]
    dialogues = Dialogues.of(torch.tensor([len(whole) for whole in wholes]), speaker)
    clean = None if found.clean is None else replace(found.clean, dialogues=dialogues)
    return replace(found, clean=clean, dialogues=dialogues)


def changed(batch: Batch, values: Mapping[str, Tensor]) -> Batch:
    """Return a batch with other values of some modalities, lost where the old ones are; and so its complete one."""
    lossy, clean = {}, {}
    for name, new in values.items():
        sequence, complete = getattr(batch, name), getattr(batch.clean, name)
        lossy[name] = replace(sequence, values=new * sequence.observed[..., None])
        clean[name] = replace(complete, values=new * complete.valid[..., None])
    return replace(batch, **lossy, clean=replace(batch.clean, **clean))

"""Small data and a small text encoder for the tests of the methods."""

from dataclasses import replace

import torch

from elision.batch import Batch, Sequence
from elision.methods import build, load, resolve
from elision.methods.base import TrainingHyperparameters
from elision.methods.layers.text_encoder import TextEncoder
from elision.task import MODALITIES, DataSpec, TaskKind
from tiny_bert import TinyBert

torch.set_num_threads(1)

SPEC = DataSpec(
    corpus="demo", audio=5, vision=4, length={"text": 10, "audio": 12, "vision": 9}, samples=16, encoder="tiny"
)
CLASSES = replace(SPEC, task=TaskKind.CLASSIFICATION, classes=("sad", "neutral", "happy"))
VOCABULARY, PAD, UNK, CLS, SEP = 32, 0, 1, 2, 3


def small(name: str, **overrides) -> TrainingHyperparameters:
    """The hyperparameters of a small method."""
    return resolve(name, "mosi", {**load(name).small, **overrides})[0]


def tiny_encoder(seed: int = 0, *, dropout: float = 0.1, pooler: bool = False) -> TextEncoder:
    """A BERT of two layers with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TextEncoder(TinyBert(vocabulary=VOCABULARY, dropout=dropout), pooler=pooler)


def recording(hyperparameters: TrainingHyperparameters) -> tuple[TrainingHyperparameters, set[str]]:
    """The same hyperparameters, with the names of those that were read."""
    kind, read = type(hyperparameters), set()

    def get(self, name: str):
        if name in kind.model_fields:
            read.add(name)
        return kind.__getattribute__(self, name)

    recorded = type(kind.__name__, (kind,), {"__getattribute__": get})(**hyperparameters.model_dump())
    read.clear()  # what its own checks have read
    return recorded, read


def make(
    name: str,
    *,
    spec: DataSpec | None = None,
    seed: int = 0,
    encoder: torch.nn.Module | None = None,
    hyperparameters: TrainingHyperparameters | None = None,
    **overrides,
):
    """A small method with weights that depend on the seed alone, and labels where it needs them."""
    spec = spec or spec_for(name)
    hyperparameters = hyperparameters or small(name, **overrides)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        method = build(name, hyperparameters, spec, encoder or tiny_encoder(seed, pooler=load(name).uses_pooler))
    labels = torch.linspace(-2, 2, spec.samples)
    method.start(*starting_points(name, spec))
    method.begin_training(_classes(labels) if spec.task is TaskKind.CLASSIFICATION else labels)
    method.on_epoch_start(1)
    return method


def starting_points(name: str, spec: DataSpec):
    """The teachers that a method needs, with random weights, and the database that it searches."""
    teachers = {need: make(need, spec=spec, seed=1).eval().requires_grad_(False) for need in load(name).needs}
    if not load(name).retrieves:
        return teachers, None
    from elision.methods.layers.retrieval import Database

    hidden = teachers[load(name).retrieves].hidden(make_batch(16, spec=spec, lost=0.0, seed=2))
    return teachers, Database(hidden, rows=torch.arange(100, 116), labelled=torch.arange(16) < 12)


def _classes(score: torch.Tensor) -> torch.Tensor:
    return torch.bucketize(score, torch.tensor([-0.7, 0.7]))


def spec_for(name: str, spec: DataSpec = SPEC) -> DataSpec:
    """The sizes that a method is given: audio and vision have the length of the text where it wants them aligned."""
    if load(name).reads_text == "vectors":
        spec = replace(spec, text=6)
    if small(name).alignment == "none":
        return spec
    return replace(spec, length=dict.fromkeys(MODALITIES, spec.length["text"]))


def learn(method: torch.nn.Module, batches: list[Batch], optimizers: list, *, epoch: int) -> dict[str, torch.Tensor]:
    """Train for an epoch, as the trainer does; returns the last terms of the loss."""
    method.on_epoch_start(epoch)
    terms = {}
    for number, count in enumerate(method.passes(len(batches))):
        method.on_pass_start(number)
        for step, batch in enumerate(batches[:count]):
            terms |= method.update(batch, optimizers, step)
    return terms


def make_batch(
    size: int = 6,
    *,
    spec: DataSpec = SPEC,
    lost: float = 0.5,
    lengths: dict | None = None,
    absent: tuple[str, ...] = (),
    seed: int = 0,
) -> Batch:
    """Random utterances of random length of which a share is lost, with the complete ones beside them.

    The modalities ``absent`` are lost as a whole.
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
            values = torch.randint(4, VOCABULARY, (size, longest), generator=random) * valid
            dropped = torch.where(valid & ~kept, UNK, values)
        else:
            values = torch.randn(size, longest, getattr(spec, name), generator=random) * valid[..., None]
            dropped = values * kept[..., None]
        clean[name] = Sequence(values, valid, valid.clone())
        corrupted[name] = Sequence(dropped, valid, kept)
    label = torch.rand(size, generator=random) * 4 - 2
    label = _classes(label) if spec.task is TaskKind.CLASSIFICATION else label
    index = torch.randperm(spec.samples, generator=random)[:size]
    same = {"label": label, "index": index, "row": index + 100}
    complete = Batch(**clean, **same, rate=torch.zeros(size, 3))
    return Batch(**corrupted, **same, rate=rate, clean=complete)


def rows(batch: Batch, index: torch.Tensor) -> Batch:
    """Some samples of a batch."""

    def pick(sequence: Sequence) -> Sequence:
        return Sequence(sequence.values[index], sequence.valid[index], sequence.observed[index])

    sequences = {name: pick(getattr(batch, name)) for name in MODALITIES}
    clean = None if batch.clean is None else rows(batch.clean, index)
    tensors = {name: getattr(batch, name)[index] for name in ("label", "index", "row", "rate")}
    return replace(batch, **sequences, **tensors, clean=clean)


def assert_counts(method: torch.nn.Module, expected: dict[str, int]) -> None:
    """Compare parameter counts: keys are attribute paths of the method, several joined by a space; "" is the total."""
    parameters = {key: p.numel() for key, p in method.named_parameters()}
    for paths, count in expected.items():
        within = [tuple(path.split(".")) for path in paths.split(" ")] if paths else [()]
        found = [n for key, n in parameters.items() if any(tuple(key.split("."))[: len(w)] == w for w in within)]
        assert sum(found) == count, paths

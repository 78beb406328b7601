"""Small data and a small text encoder for the tests of the methods."""

from dataclasses import replace

import torch
from transformers import BertConfig, BertModel

from elision.batch import Batch, Sequence
from elision.methods import build, resolve
from elision.methods.layers.text_encoder import TextEncoder
from elision.task import MODALITIES, DataSpec

torch.set_num_threads(1)

SPEC = DataSpec(
    corpus="demo", audio=5, vision=4, length={"text": 10, "audio": 12, "vision": 9}, samples=16, encoder="tiny"
)
VOCABULARY, PAD, UNK, CLS, SEP = 32, 0, 1, 2, 3

# What makes the large methods small; the rest of their hyperparameters is as published.
DEPTHS = ("embedding", "completeness", "generator", "language", "fusion", "reconstructor")
SMALL = {
    "lnln": {"width": 16, "tokens": 2, **{f"{module}_depth": 1 for module in DEPTHS}},
    "self_mm": {"accumulate": 1},
}


def tiny_encoder(seed: int = 0, *, dropout: float = 0.1) -> TextEncoder:
    """A BERT of one layer with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        return TextEncoder(BertModel(config))


def make(name: str, *, spec: DataSpec = SPEC, seed: int = 0, encoder: torch.nn.Module | None = None, **overrides):
    """A small method with weights that depend on the seed alone, and labels where it needs them."""
    hyperparameters, _ = resolve(name, "mosi", {**SMALL.get(name, {}), **overrides})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        method = build(name, hyperparameters, spec, encoder or tiny_encoder(seed))
    method.begin_training(torch.linspace(-2, 2, spec.samples))
    method.on_epoch_start(1)
    return method


def make_batch(
    size: int = 6, *, spec: DataSpec = SPEC, lost: float = 0.5, lengths: dict | None = None, seed: int = 0
) -> Batch:
    """Random utterances of random length of which a share is lost, with the complete ones beside them."""
    random = torch.Generator().manual_seed(seed)
    clean, corrupted = {}, {}
    for name in MODALITIES:
        longest = spec.length[name]
        valid = torch.arange(longest) < torch.randint(1, longest + 1, (size, 1), generator=random)
        if lengths and name in lengths:
            valid = (torch.arange(longest) < lengths[name]).expand(size, -1)
        kept = valid & (torch.rand(size, longest, generator=random) >= lost)
        if name == "text":
            values = torch.randint(4, VOCABULARY, (size, longest), generator=random) * valid
            dropped = torch.where(valid & ~kept, UNK, values)
        else:
            values = torch.randn(size, longest, getattr(spec, name), generator=random) * valid[..., None]
            dropped = values * kept[..., None]
        clean[name] = Sequence(values, valid, valid.clone())
        corrupted[name] = Sequence(dropped, valid, kept)
    label = torch.rand(size, generator=random) * 4 - 2
    index = torch.randperm(spec.samples, generator=random)[:size]
    complete = Batch(**clean, label=label, index=index, rate=torch.zeros(size, 3))
    return Batch(**corrupted, label=label, index=index, rate=torch.full((size, 3), lost), clean=complete)


def rows(batch: Batch, index: torch.Tensor) -> Batch:
    """Some samples of a batch."""

    def pick(sequence: Sequence) -> Sequence:
        return Sequence(sequence.values[index], sequence.valid[index], sequence.observed[index])

    sequences = {name: pick(getattr(batch, name)) for name in MODALITIES}
    clean = None if batch.clean is None else rows(batch.clean, index)
    tensors = {name: getattr(batch, name)[index] for name in ("label", "index", "rate")}
    return replace(batch, **sequences, **tensors, clean=clean)

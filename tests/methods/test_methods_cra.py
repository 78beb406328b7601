import pytest
import torch
from test_methods_ae import HEADS, ORDER, absent_in_turn, official
from tiny_methods import CLASSES, assert_counts, make, spec_for

from elision.batch import Batch, Sequence
from elision.methods import resolve
from elision.methods.ae import mean_over_time
from elision.task import MODALITIES, DataSpec, TaskKind

BLOCK = 263168  # (384 + 1) * 256 + (256 + 1) * 128 and back
CONDITIONS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.bool)


def fused(method, batch: Batch) -> torch.Tensor:
    return torch.cat([method.encoders[name](mean_over_time(getattr(batch, name))) for name in ORDER], 1)


def small(**overrides):
    return make("cra", spec=spec_for("cra", CLASSES), initialisation="kaiming", **overrides).eval()


def test_parameter_counts_equal_the_official_ones():
    assert_counts(official("cra", blocks=2), HEADS | {"autoencoder": 822016, "": 1843076})
    assert_counts(official("cra"), HEADS | {"autoencoder": 822016 + 3 * BLOCK, "": 1843076 + 3 * BLOCK})


def test_it_is_ae_but_for_the_cascade():
    cra, ae = (resolve(name, "iemocap")[0].model_dump() for name in ("cra", "ae"))
    assert cra == ae | {"blocks": 5}


def test_one_block_adds_its_correction_once():
    method, batch = small(blocks=1), absent_in_turn()
    h, core = fused(method, batch), method.autoencoder
    expected = core.transition(h + core.decoders[0](core.encoders[0](h)))
    torch.testing.assert_close(method.predict(batch).representation, expected)


def test_a_block_reads_what_the_blocks_before_have_corrected():
    method, batch = small(blocks=3), absent_in_turn()
    core, u, d = method.autoencoder, fused(method, batch), 0
    for encode, decode in zip(core.encoders, core.decoders, strict=True):
        u = u + d
        d = decode(encode(u))
    torch.testing.assert_close(method.predict(batch).representation, core.transition(u + d))


def test_blocks_without_a_correction_leave_the_vector_as_it_is():
    method, batch = small(), absent_in_turn()
    for decode in method.autoencoder.decoders:
        torch.nn.init.zeros_(decode[-1].weight)
    expected = method.autoencoder.transition(fused(method, batch))
    torch.testing.assert_close(method.predict(batch).representation, expected)


def test_the_prediction_reads_the_output_of_the_cascade_which_nothing_bypasses():
    method, batch = small(), absent_in_turn()
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.output, method.classifier(prediction.representation))
    torch.nn.init.zeros_(method.autoencoder.transition[-1].weight)
    silenced = method.predict(batch)
    assert not silenced.representation.any()
    torch.testing.assert_close(silenced.output, silenced.output[:1].expand(6, 3))


def three_views(size: int, *, width: int = 8) -> Batch:
    """Utterance vectors of which each is a linear view of the same two numbers; the class is a sign of each."""
    random = torch.Generator().manual_seed(0)
    latent = torch.randn(size, 2, generator=random)
    valid = torch.ones(size, 1, dtype=torch.bool)
    views = {}
    for name in MODALITIES:
        values = latent @ torch.randn(2, width, generator=random) + 0.1 * torch.randn(size, width, generator=random)
        views[name] = Sequence(values[:, None] / values.std(0), valid, valid)
    label = (latent > 0).long() @ torch.tensor([1, 2])
    return Batch(**views, label=label, index=torch.arange(size), row=torch.arange(size), rate=torch.zeros(size, 3))


def without(clean: Batch, index: torch.Tensor, kept: torch.Tensor) -> Batch:
    """The utterances ``index`` with only the modalities ``kept`` [B, 3], complete ones beside them."""

    def pick(observed: torch.Tensor) -> dict:
        sequences = {}
        for column, name in enumerate(MODALITIES):
            whole, there = getattr(clean, name), observed[:, column, None]
            sequences[name] = Sequence(whole.values[index] * there[..., None], whole.valid[index], there)
        return {**sequences, "label": clean.label[index], "index": index, "row": index, "rate": (~observed).float()}

    return Batch(**pick(kept), clean=Batch(**pick(torch.ones_like(kept))))


@pytest.mark.parametrize("name", ["ae", "cra"])
def test_training_rebuilds_an_absent_modality_better_than_its_mean(name):
    train, size = 192, 256
    data = three_views(size)
    widths = {"text": 8, "audio": 8, "vision": 8, "length": dict.fromkeys(MODALITIES, 1)}
    spec = DataSpec(
        "iemocap", **widths, samples=train, encoder="none", task=TaskKind.CLASSIFICATION, classes=tuple("abcd")
    )
    official_start = {"initialisation": "normal", "beta1": 0.5, "batch_size": 64}
    method = make(name, spec=spec, **official_start).train()
    (optimizer,) = method.optimizers()
    torch.manual_seed(0)
    for step in range(70):
        drawn = CONDITIONS[torch.randint(6, (64,))]
        method.update(without(data, torch.randint(train, (64,)), drawn), [optimizer], step)
    method.eval()
    for kept in CONDITIONS:
        batch = without(data, torch.arange(train, size), kept.expand(size - train, 3))
        completed = method.predict(batch).representation
        for lost in (name for name, there in zip(MODALITIES, kept, strict=True) if not there):
            vectors = getattr(data, lost).values[:, 0]
            error = (method.decoders[lost](completed) - vectors[train:]).square().mean()
            assert error < 0.8 * (vectors[:train].mean(0) - vectors[train:]).square().mean()

"""What DiCMoR and IMDer share: projections of missing modalities are recovered, and the rest is MulT."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import SPEC, make, make_batch, starting_points, tiny_encoder

from elision.batch import Sequence
from elision.errors import ElisionError
from elision.methods import build, resolve
from elision.methods.layers.crossmodal import Convolution
from elision.methods.layers.recovery import SOURCES, ChannelBlock, Refinement, squared_error, windows
from elision.task import MODALITIES
from elision.training.checkpoint import load_run_weights, merge_weights, save_weights

METHODS = ("dicmor", "imder")
ALIGNED = SPEC.aligned("words")


def whole(absent: dict[int, tuple[str, ...]], size: int = 4):
    """A batch in which some samples miss some modalities, and nothing else is lost."""
    batch = make_batch(size, spec=ALIGNED, lost=0.0, lengths=dict.fromkeys(MODALITIES, 8))
    sequences = {}
    for name in MODALITIES:
        sequence = getattr(batch, name)
        kept = torch.tensor([name not in absent.get(n, ()) for n in range(size)])[:, None]
        if name == "text":  # the ends of a text are never lost
            place = torch.arange(sequence.valid.shape[1])
            kept = kept | (place == 0) | (place == 7)
            values = torch.where(kept, sequence.values, 1)
        else:
            values = sequence.values * kept[..., None]
        sequences[name] = Sequence(values, sequence.valid, sequence.valid & kept)
    return replace(batch, **sequences)


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def test_a_refinement_weighs_the_channels_of_each_residual_block_by_their_means():
    torch.manual_seed(0)
    block, x = ChannelBlock(8, 2), torch.randn(2, 8, 5)
    changed = array(block.convolutions[2](block.convolutions[0](x).relu()))
    means = changed.mean(2)
    first, second = block.attention[0], block.attention[2]
    inner = np.maximum(means @ array(first.weight)[:, :, 0].T + array(first.bias), 0)
    weight = 1 / (1 + np.exp(-(inner @ array(second.weight)[:, :, 0].T + array(second.bias))))
    np.testing.assert_allclose(array(block(x)), array(x) + changed * weight[..., None], atol=1e-6)

    refinement, x = Refinement(4, 2, 4), torch.randn(2, 5, 4)
    assert x.shape == refinement(x).shape
    for layer in refinement.blocks[:-1]:
        torch.nn.init.zeros_(layer.convolutions[2].weight)
        torch.nn.init.zeros_(layer.convolutions[2].bias)
    wide = refinement.expand(x.transpose(1, 2))
    torch.testing.assert_close(refinement(x), refinement.contract(wide + refinement.blocks[-1](wide)).transpose(1, 2))


@pytest.mark.parametrize(("length", "kernel"), [(6, 3), (6, 1), (2, 5)])
def test_a_position_counts_if_its_convolution_reads_something(length, kernel):
    valid = torch.rand(20, length, generator=torch.Generator().manual_seed(0)) < 0.3
    sequence = Sequence(torch.randn(20, length, 2), valid, valid)
    shape = Convolution(2, 3, kernel)(sequence.values).shape[:2]
    expected = [[bool(row[t : t + kernel].any()) for t in range(shape[1])] for row in valid]
    assert windows(sequence, kernel).tolist() == expected


def test_the_error_of_a_sequence_is_the_mean_over_what_counts_whatever_lies_elsewhere():
    x, y = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    x[0, 2] = torch.inf
    counted = torch.tensor([[True, True, False], [False, False, False]])
    assert squared_error(x * 1, y * 3, counted).tolist() == [9.0, 0.0]


@pytest.mark.parametrize("name", METHODS)
def test_a_text_of_which_only_its_ends_are_left_is_missing(name):
    method, batch = make(name), whole({1: ("text",), 2: ("audio", "vision")})
    assert batch.text.observed[1].any()
    expected = [[True, True, True], [False, True, True], [True, False, False], [True, True, True]]
    assert method.given(batch).tolist() == expected


@pytest.mark.parametrize("name", METHODS)
def test_only_what_is_missing_is_recovered_and_never_read(name):
    method, batch = make(name).eval(), whole({1: ("text",), 2: ("audio", "vision"), 3: MODALITIES})
    with torch.no_grad():
        projected = method.projected(batch)
        completed = method.completed(projected, batch)
        same = {n: [torch.equal(completed[n][i], projected[n][i]) for i in range(4)] for n in MODALITIES}
        assert same == {  # a sample without anything is left as it is
            "text": [True, False, True, True],
            "audio": [True, True, False, True],
            "vision": [True, True, False, True],
        }
        before = method.predict(batch).output
        torch.testing.assert_close(method.predict_from(completed).output, before)
        noise = batch.audio.values + 5 * torch.tensor([0.0, 0, 1, 0])[:, None, None]
        changed = replace(batch, audio=replace(batch.audio, values=noise))
        torch.testing.assert_close(method.predict(changed).output, before)


@pytest.mark.parametrize("name", METHODS)
def test_a_modality_of_which_something_is_observed_is_not_recovered(name):
    method, batch = make(name).eval(), whole({1: ("audio",)})
    batch.audio.observed[1, 3] = True
    with torch.no_grad():
        projected = method.projected(batch)
        completed = method.completed(projected, batch)
    assert all(torch.equal(completed[n], projected[n]) for n in MODALITIES)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("both", [True, False])
def test_two_sources_are_merged_and_one_is_taken_as_it_is(name, both):
    method = make(name)
    sources = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    given = {source: torch.ones(2, 1, 1, dtype=torch.bool) for source in MODALITIES}
    first, second = SOURCES["audio"]
    given[first][:] = both
    merged = method.merge("audio", sources, given)
    expected = method.join["audio"](torch.cat(sources, 2)) if both else sources[1]
    torch.testing.assert_close(merged, expected)
    if not both:
        given[first][:], given[second][:] = True, False
        torch.testing.assert_close(method.merge("audio", sources, given), sources[0])


@pytest.mark.parametrize("name", METHODS)
def test_a_modality_that_the_dataset_does_not_have_is_not_recovered(name):
    method = make(name, spec=replace(ALIGNED, vision=1))
    assert method.recovered == ["text", "audio"]
    assert set(method.refine) == {"text", "audio"}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_starts_from_its_teacher_and_keeps_text_encoder_and_projections(name):
    method = make(name)
    (teacher,) = starting_points(name, ALIGNED)[0].values()
    expected, found = teacher.state_dict(), method.state_dict()
    shared = [key for key in expected if not key.startswith("plateau.")]
    assert all(torch.equal(expected[key], found[key]) for key in shared)
    assert {key.partition(".")[0] for key in shared} == {
        *("encoder", "projections", "crossmodal", "memory", "residual", "out")
    }
    frozen = {key.partition(".")[0] for key, p in method.named_parameters() if not p.requires_grad}
    assert frozen - {"scores"} == {"encoder", "projections"}  # of a score network, the frequencies
    assert all(p.requires_grad for p in make(name, finetune_text_encoder=True).encoder.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_the_text_encoder_of_the_teacher_is_stored_with_the_weights(name, tmp_path):
    method, batch = make(name).eval(), whole({1: ("audio",)})
    save_weights(tmp_path / "best.safetensors", method)
    merge_weights({"valid": tmp_path / "best.safetensors"}, tmp_path / "model.safetensors")
    # Before an evaluation there is no teacher, and the text encoder is the one that everybody has.
    evaluated = build(name, method.hyperparameters, ALIGNED, tiny_encoder(7)).eval()
    with torch.no_grad():
        before = evaluated.projected(batch)["text"]
        load_run_weights(tmp_path / "model.safetensors", "valid", evaluated)
        torch.testing.assert_close(evaluated.predict(batch).output, method.predict(batch).output)
        assert not torch.allclose(evaluated.projected(batch)["text"], before)


@pytest.mark.parametrize("name", METHODS)
def test_a_teacher_of_another_size_is_refused(name):
    teachers, _ = starting_points(name, ALIGNED)
    with pytest.raises(ElisionError, match=rf"{name}: crossmodal has other sizes .* under teachers\.{name}_teacher"):
        make(name, layers=2).start(teachers, None)


@pytest.mark.parametrize("name", [*METHODS, *(f"{name}_teacher" for name in METHODS)])
def test_kernels_of_different_sizes_are_refused(name):
    for kernels in ({"text_kernel": 1}, {"audio_kernel": 1}, {"vision_kernel": 1}):
        with pytest.raises(ElisionError, match=f"{name}: vision_kernel: .*kernels of different sizes"):
            resolve(name, "mosi", kernels)
    assert resolve(name, "mosi", {"text_kernel": 1, "audio_kernel": 1, "vision_kernel": 1})


@pytest.mark.parametrize("name", METHODS)
def test_features_of_the_width_of_the_projections_are_projected_all_the_same(name):
    method = make(name, spec=replace(ALIGNED, audio=8))
    assert {x.shape for x in method.projected(make_batch(3, spec=replace(ALIGNED, audio=8))).values()} == {
        (3, ALIGNED.length["text"] + 1 - method.hyperparameters.text_kernel, 8)
    }


@pytest.mark.parametrize("name", METHODS)
def test_padding_counts_in_losses_only_where_it_is_said_to(name):
    batch = make_batch(5, spec=ALIGNED, lengths=dict.fromkeys(MODALITIES, 3), absent=("audio",), lost=0.0)
    values = batch.clean.audio.values.clone()
    values[:, 8:] = 3.0  # no projection of a valid position reads them
    other = replace(batch, clean=replace(batch.clean, audio=replace(batch.clean.audio, values=values)))
    for masked in (True, False):
        method = make(name, mask_padding=masked).eval()
        terms = []
        for each in (batch, other):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                terms.append({key: value.item() for key, value in method.loss(each).items()})
        assert (terms[0]["reconstruction"] == pytest.approx(terms[1]["reconstruction"], rel=1e-5)) == masked
        assert terms[0]["sentiment"] == pytest.approx(terms[1]["sentiment"])


@pytest.mark.parametrize("name", METHODS)
def test_the_text_encoder_learns_from_the_error_alone(name):
    method = make(name, finetune_text_encoder=True, mask_padding=False).train()
    batch = make_batch(6, spec=ALIGNED, lost=0.0, absent=("audio",))
    terms = method.loss(batch)
    weight = method.encoder.model.embeddings.word_embeddings.weight
    for key, term in terms.items():
        gradient = None
        if term.grad_fn is not None:
            (gradient,) = torch.autograd.grad(term, [weight], retain_graph=True, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) == (key == "sentiment"), key


def test_learning_rates_halve_after_a_plateau():
    for name, patience in (("dicmor", 5), ("imder", 24)):
        method = make(name)
        for _ in range(patience + 2):
            assert method.learning_rate_factor(1) == 1
            method.on_epoch_end(1.0)
        assert method.learning_rate_factor(1) == 0.5


def test_teachers_learn_from_complete_data_with_their_text_encoder():
    for name in METHODS:
        teacher, batch = make(f"{name}_teacher").train(), make_batch(7, spec=ALIGNED, lost=0.0)
        (terms,) = (teacher.loss(batch),)
        assert set(terms) == {"sentiment"}
        terms["sentiment"].backward()
        assert teacher.encoder.model.embeddings.word_embeddings.weight.grad.any()
        assert teacher.projections["audio"].weight.grad.any()
        assert teacher.corruption == "complete"
        assert {encoder.positions for encoder in [*teacher.crossmodal.values(), *teacher.memory.values()]} == {True}

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_methods import assert_counts
from torch.optim.lr_scheduler import ReduceLROnPlateau

from elision.methods.layers.batch_norm import BatchNorm
from elision.methods.layers.crossmodal import (
    CrossmodalEncoder,
    CrossmodalLayer,
    Job,
    encode,
    pairwise,
    sinusoids,
    summarised,
)
from elision.methods.layers.plateau import Plateau
from elision.task import MODALITIES

DROPOUTS = ("attention_dropout", "relu_dropout", "residual_dropout", "embedding_dropout")
LENGTHS = [(4, 4), (3, 7), (7, 3), (1, 5), (5, 1), (1, 1)]


def encoder(width: int = 6, heads: int = 3, layers: int = 2, **settings) -> CrossmodalEncoder:
    """An encoder in double precision, with biases and norms that are not those of the start."""
    torch.manual_seed(0)
    built = CrossmodalEncoder(width, heads, layers, **settings).double().eval()
    with torch.no_grad():
        for p in built.parameters():
            if p.ndim == 1:
                p += 0.3 * torch.randn_like(p)
    return built


def sequences(*lengths: int, width: int = 6) -> list[torch.Tensor]:
    """Two samples of every length."""
    random = torch.Generator().manual_seed(1)
    return [torch.randn(2, length, width, dtype=torch.float64, generator=random) for length in lengths]


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def plain_norm(x: np.ndarray, norm: torch.nn.LayerNorm) -> np.ndarray:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scaled * array(norm.weight) + array(norm.bias)


def plain_linear(x: np.ndarray, linear: torch.nn.Linear) -> np.ndarray:
    return x @ array(linear.weight).T + array(linear.bias)


def plain_layer(layer: CrossmodalLayer, x: np.ndarray, source: np.ndarray, *, heads: int, causal: bool) -> np.ndarray:
    """One sample, position by position and head by head."""
    width = x.shape[1]
    part = width // heads
    query = plain_linear(plain_norm(x, layer.norm), layer.project)[:, :width]
    key, value = np.split(plain_linear(plain_norm(source, layer.norm), layer.project)[:, width:], 2, axis=1)
    attended = np.zeros_like(x)
    for i in range(len(x)):
        seen = [j for j in range(len(source)) if not causal or j <= i + abs(len(x) - len(source))]
        for head in range(heads):
            of_head = slice(head * part, (head + 1) * part)
            weights = np.array([math.exp(query[i, of_head] @ key[j, of_head] / math.sqrt(part)) for j in seen])
            weights /= weights.sum()
            attended[i, of_head] = sum(w * value[j, of_head] for w, j in zip(weights, seen, strict=True))
    x = x + plain_linear(attended, layer.out)
    hidden = np.maximum(plain_linear(plain_norm(x, layer.norm_feed_forward), layer.expand), 0)
    return x + plain_linear(hidden, layer.contract)


def plain_positions(x: np.ndarray) -> np.ndarray:
    """One sample, value by value."""
    length, width = x.shape
    half, table = width // 2, np.zeros_like(x)
    for t in range(length):
        for k in range(half):
            angle = (t + 1) * 10000 ** (-k / max(half - 1, 1))
            if x[t, 0] != 0:
                table[t, k], table[t, half + k] = math.sin(angle), math.cos(angle)
    return table


def plain_encoder(built: CrossmodalEncoder, x: torch.Tensor, source: torch.Tensor | None) -> np.ndarray:
    """Sample by sample; the source is embedded once, and never changes."""
    outputs = []
    for i in range(len(x)):
        embedded = []
        for one in (x[i], None if source is None else source[i]):
            if one is not None:
                scaled = math.sqrt(one.shape[1]) * array(one)
                embedded.append(scaled + plain_positions(scaled) if built.positions else scaled)
        state = embedded[0]
        for layer in built.layers:
            attended = state if source is None else embedded[1]
            state = plain_layer(layer, state, attended, heads=built.heads, causal=built.causal)
        outputs.append(plain_norm(state, built.norm))
    return np.stack(outputs)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("length", "others"), LENGTHS)
def test_crossmodal_attention_equals_the_plain_loops(length, others, causal):
    built = encoder(causal=causal)
    x, source = sequences(length, others)
    np.testing.assert_allclose(array(built(x, source)), plain_encoder(built, x, source), atol=1e-10)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 5])
def test_self_attention_equals_the_plain_loops(length, causal):
    built, (x,) = encoder(causal=causal), sequences(length)
    np.testing.assert_allclose(array(built(x)), plain_encoder(built, x, None), atol=1e-10)


@pytest.mark.parametrize("width", [4, 5, 6, 7])
def test_positions_are_added_to_both_sequences_after_the_scale(width):
    built = encoder(width, heads=1, positions=True)
    x, source = sequences(4, 6, width=width)
    source[0, 2, 0] = 0
    np.testing.assert_allclose(array(built(x, source)), plain_encoder(built, x, source), atol=1e-5)
    assert not torch.allclose(built(x, source), encoder(width, heads=1)(x, source), atol=1e-3)


@pytest.mark.parametrize(("length", "others"), LENGTHS)
def test_a_step_sees_as_far_ahead_as_the_sequences_differ_in_length(length, others):
    built, (x, source) = encoder(layers=1), sequences(length, others)
    before = built(x, source)
    for j in range(others):
        changed = source.clone()
        changed[:, j, ::2] += 1
        moved = (built(x, changed) - before).abs().amax((0, 2)) > 1e-9
        assert moved.tolist() == [j <= i + abs(length - others) for i in range(length)]


def test_self_attention_is_causal_through_all_layers():
    built, (x,) = encoder(layers=3), sequences(5)
    before = built(x)
    for j in range(5):
        changed = x.clone()
        changed[:, j, ::2] += 1
        moved = (built(changed) - before).abs().amax((0, 2)) > 1e-9
        assert moved.tolist() == [j <= i for i in range(5)]


def test_a_sequence_that_attends_to_its_own_copy_attends_to_itself_in_the_first_layer_alone():
    (x,) = sequences(4)
    torch.testing.assert_close(encoder(layers=1)(x, x), encoder(layers=1)(x))
    assert not torch.allclose(encoder(layers=2)(x, x), encoder(layers=2)(x))


@pytest.mark.parametrize("width", [1, 2, 3, 6, 7])
def test_sinusoids_are_those_of_the_formula_and_zero_where_the_first_channel_is(width):
    torch.manual_seed(0)
    x = torch.randn(2, 5, width)
    x[0, 1] = 0
    x[1, 4, 0] = 0
    expected = np.stack([plain_positions(array(one)) for one in x])
    np.testing.assert_allclose(array(sinusoids(x)), expected, atol=1e-5)
    assert not sinusoids(x)[0, 1].any() and not sinusoids(x)[1, 4].any()
    if width % 2:
        assert not sinusoids(x)[..., -1].any()


def test_known_sinusoids():
    table = sinusoids(torch.ones(1, 2, 5))[0]
    expected = [[math.sin(t), math.sin(t / 1e4), math.cos(t), math.cos(t / 1e4), 0] for t in (1, 2)]
    torch.testing.assert_close(table, torch.tensor(expected))


@pytest.mark.parametrize(("width", "heads", "layers"), [(50, 10, 4), (30, 6, 4), (100, 10, 3), (7, 1, 1)])
def test_the_number_of_parameters_follows_from_width_and_layers(width, heads, layers):
    with torch.device("meta"):
        built = CrossmodalEncoder(width, heads, layers)
    assert_counts(built, {"": layers * (12 * width**2 + 13 * width) + 2 * width, "norm": 2 * width})


def test_weights_start_xavier_uniform_as_one_packed_projection_and_biases_at_zero():
    torch.manual_seed(0)
    layer = CrossmodalEncoder(64, 4, 1).layers[0]
    for linear in (layer.project, layer.out, layer.expand, layer.contract):
        bound = math.sqrt(6 / sum(linear.weight.shape))
        assert 0.95 * bound < linear.weight.abs().max() <= bound
        assert not linear.bias.any()


@pytest.mark.parametrize("name", DROPOUTS)
def test_every_dropout_acts_in_training_alone(name):
    x, source = sequences(4, 6)
    with_dropout, without = encoder(**{name: 0.5}), encoder()
    torch.testing.assert_close(with_dropout(x, source), without(x, source))
    torch.testing.assert_close(without.train()(x, source), without.eval()(x, source))
    assert not torch.allclose(with_dropout.train()(x, source), without(x, source))


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="4 heads do not divide a width of 6"):
        CrossmodalEncoder(6, 4, 1)


def test_a_plateau_is_counted_from_the_best_score():
    plateau = Plateau(factor=0.1, patience=1)
    multipliers = []
    for score in (1.0, 0.9, 0.95, 0.92, 0.91, 0.89, 0.88995, 0.9):
        plateau.step(score)
        multipliers.append(plateau.multiplier)
    assert multipliers == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01])


scores = st.lists(
    st.floats(width=32) | st.floats(0, 2, width=32) | st.sampled_from([1.0, 0.999755859375, 0.99993896484375]),
    max_size=40,
)


@given(scores, st.sampled_from([0.1, 0.3, 0.5]), st.integers(0, 4), st.integers(0, 40))
def test_the_plateau_is_that_of_pytorch_also_after_an_interruption(scores, factor, patience, interruption):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, eps=0.0)
    plateau = Plateau(factor=factor, patience=patience)
    for number, score in enumerate(scores):
        if number == interruption:
            state = copy.deepcopy(plateau.state_dict())
            plateau = Plateau(factor=factor, patience=patience)
            plateau.load_state_dict(state)
        plateau.step(score)
        reference.step(score)
        assert plateau.multiplier == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_batch_norm_is_that_of_pytorch_for_more_than_one_row():
    torch.manual_seed(0)
    ours, reference = BatchNorm(3), torch.nn.BatchNorm1d(3)
    for _ in range(2):
        x = torch.randn(5, 3)
        assert torch.equal(ours(x), reference(x))
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in reference.state_dict().items())
    assert torch.equal(ours.eval()(x[:2]), reference.eval()(x[:2]))


def test_a_single_row_is_normalised_by_the_running_statistics_and_leaves_them():
    norm = BatchNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.5, -0.5]))
        norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.running_var.copy_(torch.tensor([4.0, 1.0, 9.0]))
    before = copy.deepcopy(norm.state_dict())
    x = torch.tensor([[5.0, 3.0, 0.0]], requires_grad=True)
    for mode in (True, False):
        torch.testing.assert_close(norm.train(mode)(x), torch.tensor([[2.0, 2.5, -3.5]]))
    norm.train()(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.5, 2.0, 1.0]]))
    torch.testing.assert_close(norm.weight.grad, torch.tensor([2.0, 1.0, -1.0]))
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


def test_keys_and_values_are_dropped_independently():
    built, (x, source) = encoder(layers=1, embedding_dropout=0.5).train(), sequences(4, 6)
    seen = []
    built.embedding_dropout.register_forward_hook(lambda _dropout, _inputs, output: seen.append(output))
    built(x, source)
    key, value = ((one == 0).flatten().tolist() for one in seen if one.shape[1] == 12)
    assert any(key) and any(value) and key != value


def several(**settings) -> list[Job]:
    """Encoders of two widths, with and without a source and positions, over sequences of several lengths."""
    x, same, short, long = sequences(4, 4, 3, 9)
    (wide,) = sequences(4, width=8)
    cases = [(x, short), (x, same), (long, x), (x, long), (short, None), (same, None), (x, x), (long, short)]
    jobs = [
        Job(encoder(positions=number % 3 == 0, attention_dropout=0.1 * (number % 2), **settings), *case)
        for number, case in enumerate(cases)
    ]
    return [*jobs, Job(encoder(8, 2, **settings), wide, x @ x.new_ones(6, 8)), Job(encoder(layers=1, **settings), x)]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_encoders_at_once_equal_one_after_the_other_and_so_do_their_gradients(last, causal):
    jobs = several(causal=causal)
    for number, job in enumerate(jobs):
        torch.manual_seed(number)
        for p in job.encoder.parameters():
            p.data += 0.1 * torch.randn_like(p)
    expected = [job.encoder(job.x, job.source)[:, -1 if last else 0 :] for job in jobs]
    found = encode(jobs, last=last)
    weights = [p for job in jobs for p in job.encoder.parameters()]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    gradients = [torch.autograd.grad(sum((y**3).sum() for y in ys), weights) for ys in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_encoders_at_once_draw_every_dropout_apart():
    torch.manual_seed(0)
    x, source = (one[:1].expand(2, -1, -1) for one in sequences(4, 6))
    built = encoder(attention_dropout=0.5).train()
    first, second = encode([Job(built, x, source)] * 2)
    outputs = [*first, *second]
    assert not any(torch.equal(outputs[i], outputs[j]) for i in range(4) for j in range(i))


def test_encoders_of_one_length_and_kind_share_their_operations(monkeypatch):
    multiplied, product = [], torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda *arguments: multiplied.append(1) or product(*arguments))
    x, source = sequences(4, 4)
    counts = []
    for number in (1, 5):
        multiplied.clear()
        encode([Job(encoder(), x, source) for _ in range(number)])
        counts.append(len(multiplied))
    assert counts[0] == counts[1] > 0


def test_appended_steps_follow_what_came_of_the_others_before_a_sequence_attends_to_itself():
    crossmodal = pairwise(lambda _: encoder())
    memory = torch.nn.ModuleDict({name: encoder(12) for name in MODALITIES})
    x = {name: torch.randn(2, length, 6).double() for name, length in zip(MODALITIES, (4, 7, 3), strict=True)}
    prompts = {name: torch.randn(2, 3, 12).double() for name in MODALITIES}
    found = summarised(crossmodal, memory, x, prompts)
    for name in MODALITIES:
        both = [crossmodal[f"{name}_from_{other}"](x[name], x[other]) for other in MODALITIES if other != name]
        steps = memory[name](torch.cat([torch.cat(both, 2), prompts[name]], 1))
        torch.testing.assert_close(found[name], steps[:, -1])

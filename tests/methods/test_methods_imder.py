import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import SPEC, assert_counts, make, make_batch
from torch import nn

from elision.methods.imder import ScoreNetwork, deviation, steps
from elision.methods.layers import transformer
from elision.task import MODALITIES

ALIGNED = SPEC.aligned("words")
# Counted on the released class.
COUNTS = {
    "mosi": {
        "": 13001809,
        **{f"scores.{name}": 3457664 for name in MODALITIES},
        **{f"refine.{name}": 522224 for name in MODALITIES},
        **{f"join.{name}": 2080 for name in MODALITIES},
        "projections.text": 73728,
        "projections.audio": 480,
        "projections.vision": 1920,
        "crossmodal": 6 * 50880,
        "memory": 3 * 200064,
        "residual.0": 37056,
        "residual.3": 37056,
        "out": 193,
    },
    "mosei": {
        "": 13462225,
        **{f"scores.{name}": 3457664 for name in MODALITIES},
        **{f"refine.{name}": 522224 for name in MODALITIES},
        "projections.text": 73728,
        "projections.audio": 7104,
        "projections.vision": 3360,
        "crossmodal": 6 * 76288,
        "memory": 3 * 300032,
        "residual.0": 37056,
        "residual.3": 37056,
        "out": 193,
    },
}


class Scores(nn.Module):
    """The score of Gaussian data that do not depend on the condition; keeps what it was asked."""

    def __init__(self, mean=0.0, spread=0.0):
        super().__init__()
        self.mean, self.spread, self.asked = mean, spread, []

    def forward(self, x, time, condition):
        self.asked.append((x, time, condition))
        return -(x - self.mean) / (self.spread**2 + deviation(time)[:, None, None] ** 2)


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    assert_counts(official_method("imder", dims), COUNTS[dims])


def test_the_noise_grows_from_0_to_its_largest_deviation():
    times = torch.tensor([0.0, 1e-5, 0.5, 1.0], dtype=torch.float64)
    expected = [math.sqrt((25 ** (2 * t) - 1) / (2 * math.log(25))) for t in times.tolist()]
    assert deviation(times).tolist() == pytest.approx(expected, rel=1e-6)
    assert expected[-1] == pytest.approx(9.8452, abs=1e-4)


@pytest.mark.parametrize("count", [2, 20, 100])
def test_steps_are_those_of_euler_and_maruyama_or_of_ancestral_sampling(count):
    times = np.linspace(1, 1e-3, count)
    length = (1 - 1e-3) / (count - 1)
    euler = np.array(steps("euler", count))
    np.testing.assert_allclose(euler[:, 0], times)
    np.testing.assert_allclose(euler[:, 1], 25 ** (2 * times) * length)
    np.testing.assert_allclose(euler[:, 2], 25**times * math.sqrt(length))
    time, gain, spread = np.array(steps("ancestral", count)).T
    np.testing.assert_allclose(time, times)
    variance = (25 ** (2 * times) - 1) / (2 * math.log(25))
    # No step takes away more than the noise that is there, and together they take all of it.
    assert (gain <= variance * (1 + 1e-12)).all()
    assert gain.sum() == pytest.approx(variance[0])
    # Of a single point, what is left after a step is the noise of the next: w^2 / v of the old, and the new.
    after = np.append(variance[1:], 0)
    np.testing.assert_allclose(after**2 / variance + spread**2, after, atol=1e-12)


@pytest.mark.parametrize(
    ("sampler", "count", "lowest", "highest"),
    [("ancestral", 20, 0.03, 0.1), ("ancestral", 100, 0.06, 0.1), ("euler", 20, 0.9, 1.2)],
)
def test_ancestral_sampling_does_not_overshoot_in_few_steps(sampler, count, lowest, highest):
    method = make("imder", sampler=sampler, sampler_steps=count).train()
    method.scores["audio"] = Scores(0.3, 0.1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = method.sample("audio", torch.zeros(40, 5, 8), torch.randn(40, 2 * count, 5, 8))
    assert found.mean().item() == pytest.approx(0.3, abs=5 * highest / math.sqrt(found.numel()))
    assert lowest < found.std().item() < highest
    assert len(method.scores["audio"].asked) == count


def test_a_sample_starts_as_noise_and_its_condition_has_the_noise_of_each_step():
    method = make("imder", sampler_steps=3).eval()
    scores = method.scores["audio"] = Scores(0.0, 0.5)
    condition, draws = torch.ones(2, 5, 8), torch.randn(2, 6, 5, 8)
    x = draws[:, 0] * deviation(torch.ones(()))
    found = method.sample("audio", condition, draws)
    for number, (time, gain, spread) in enumerate(steps("ancestral", 3)):
        seen, at, noisy = scores.asked[number]
        torch.testing.assert_close(seen, x)
        assert at.item() == pytest.approx(time)
        torch.testing.assert_close(noisy, condition + draws[:, 1 + 2 * number] * deviation(torch.tensor(time)))
        mean = x - gain * x / (0.25 + deviation(torch.tensor(time)) ** 2)
        x = mean + spread * draws[:, min(2 + 2 * number, 5)]
    torch.testing.assert_close(found, mean)  # no noise after the last step


def test_at_evaluation_noise_follows_from_row_run_and_purpose_and_global_generators_are_left_alone():
    method = make("imder").eval()
    rows = torch.tensor([7, 3, 7])
    before = torch.random.get_rng_state()

    def drawn(key="sample text", rows=rows, needed=slice(None), method=method):
        return method.noise(key, (4, 2), rows, needed)

    found = drawn()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], drawn(rows=rows[1:2])[0])
    assert torch.equal(found[1], drawn(needed=torch.tensor([1]))[0])
    other = make("imder", seed=1).eval()
    different = found[1], drawn("sample audio")[0], drawn(method=other)[0]
    assert not any(torch.equal(found[0], each) for each in different)
    other.load_state_dict(method.state_dict())
    assert torch.equal(drawn(method=other), found)


def test_in_training_the_noise_of_a_sample_is_the_same_whatever_others_need():
    method, rows = make("imder").train(), torch.arange(4)
    found = []
    for needed in (slice(None), torch.tensor([0, 3])):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found.append(method.noise("a", (3, 2), rows, needed))
    assert torch.equal(found[0][[0, 3]], found[1])


@pytest.mark.parametrize("absent", [{}, {"audio"}])
def test_a_gpu_and_a_cpu_learn_the_same(absent, monkeypatch):
    batch = make_batch(7, spec=ALIGNED, lost=0.0, absent=absent)
    found = []
    for gpu in (False, True):
        monkeypatch.setattr(transformer, "shares", lambda _, gpu=gpu: gpu)
        method = make("imder", embedding_dropout=0.0, attention_dropout_audio=0.0).train()
        assert isinstance(method.needed(torch.ones(3, 1, 1, dtype=torch.bool)), slice) == gpu
        with torch.random.fork_rng():
            torch.manual_seed(0)
            terms = method.loss(batch)
        sum(terms.values()).backward()
        gradients = {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
        found.append({**{key: term.detach() for key, term in terms.items()}, **gradients})
    assert set(found[0]) == set(found[1])
    for key, value in found[0].items():
        torch.testing.assert_close(value, found[1][key], atol=1e-4, rtol=1e-3, msg=key)


def test_a_prediction_depends_on_row_alone_and_training_draws_anew():
    method, batch = make("imder").eval(), make_batch(3, spec=ALIGNED, lost=0.0, absent=("audio",))
    with torch.no_grad():
        output = method.predict(batch).output
        torch.manual_seed(5)
        assert torch.equal(method.predict(batch).output, output)
        assert not torch.allclose(method.predict(replace(batch, row=batch.row + 1)).output, output)
        complete = make_batch(3, spec=ALIGNED, lost=0.0)
        same = method.predict(complete).output
        assert torch.equal(method.predict(replace(complete, row=complete.row + 1)).output, same)
        method.train()
        first, second = (method.noise("a", (4,), batch.row, slice(None)) for _ in range(2))
        assert not torch.equal(first, second)


def test_noise_in_training_is_normal_and_times_are_uniform():
    method = make("imder").eval()
    drawn = method.noise("score text", (50,), torch.arange(400), slice(None))
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.03)
    scores = method.scores["text"] = Scores()
    x = torch.zeros(400, 2, 8)
    method.score_loss("text", x, x, torch.ones(400, 2, dtype=torch.bool), torch.arange(400))
    (time,) = (time for _, time, _ in scores.asked)
    assert time.min() >= 1e-5 and time.max() <= 1
    assert [(time < q).float().mean().item() for q in (0.25, 0.5, 0.75)] == pytest.approx([0.25, 0.5, 0.75], abs=0.07)


def test_the_true_score_has_no_loss_and_no_score_that_of_the_noise():
    method, rows = make("imder").eval(), torch.arange(4)
    x, counted = torch.full((4, 5, 8), 0.7), torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    method.scores["text"] = Scores(0.7)
    assert method.score_loss("text", x, x, counted, rows).item() == pytest.approx(0, abs=1e-5)
    method.scores["text"].forward = lambda x, time, condition: torch.zeros_like(x)
    z = method.noise("score text", (2, 5, 8), rows, slice(None))[:, 0]
    expected = (z.square().sum(2) * counted).sum(1).mean().item()
    assert method.score_loss("text", x, x, counted, rows).item() == pytest.approx(expected)


@pytest.mark.parametrize("noise", ["independent", "shared"])
def test_the_condition_has_noise_of_its_own_or_that_of_the_modality(noise):
    method = make("imder", condition_noise=noise).eval()
    scores = method.scores["text"] = Scores()
    x, condition = torch.randn(4, 5, 8), torch.randn(4, 5, 8)
    method.score_loss("text", x, condition, torch.ones(4, 5, dtype=torch.bool), torch.arange(4))
    ((noisy, time, told),) = scores.asked
    spread = deviation(time)[:, None, None]
    of_x, of_condition = (noisy - x) / spread, (told - condition) / spread
    same = torch.allclose(of_x, of_condition, atol=1e-3)
    assert same == (noise == "shared")
    if not same:
        assert abs(np.corrcoef(of_x.flatten(), of_condition.flatten())[0, 1]) < 0.3


def test_only_missing_modalities_have_a_score_loss_and_no_weight_learns_from_score_and_error():
    lengths = dict.fromkeys(MODALITIES, 9)
    method, batch = make("imder").train(), make_batch(7, spec=ALIGNED, lost=0.0, lengths=lengths, absent=("audio",))
    terms = method.loss(batch)
    assert set(terms) == {"sentiment", "reconstruction", *(f"score_{name}" for name in MODALITIES)}
    assert terms["score_audio"] > 0
    assert terms["score_vision"] == 0
    parameters = {key: p for key, p in method.named_parameters() if p.requires_grad}

    def learning(key):
        found = torch.autograd.grad(terms[key], list(parameters.values()), retain_graph=True, allow_unused=True)
        learnt = [key for key, g in zip(parameters, found, strict=True) if g is not None and g.any()]
        return {".".join(key.split(".")[: 2 if key.startswith(("scores", "join", "refine")) else 1]) for key in learnt}

    assert learning("score_audio") == {"scores.audio", "join.audio"}
    assert learning("reconstruction") == {"refine.audio"}
    assert learning("sentiment") == {"refine.audio", "crossmodal", "memory", "residual", "out"}


def test_the_error_of_a_sample_is_the_sum_over_what_it_has_recovered():
    errors = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 6.0], [0.0, 0.0, 0.0]])
    assert make("imder").reconstruction(errors, {}).item() == 10 / 4


def test_at_evaluation_only_the_samples_that_need_it_are_generated():
    method = make("imder").eval()
    asked = []
    network = method.scores["audio"].forward
    method.scores["audio"].forward = lambda x, *rest: asked.append(len(x)) or network(x, *rest)
    batch = make_batch(5, spec=ALIGNED, lost=0.0, lengths=dict.fromkeys(MODALITIES, 9))
    batch.audio.observed[1] = batch.audio.observed[4] = False
    with torch.no_grad():
        method.predict(batch)
        assert asked == [2] * method.hyperparameters.sampler_steps
        method.predict(make_batch(5, spec=ALIGNED, lost=0.0))
    assert asked == [2] * method.hyperparameters.sampler_steps


@pytest.mark.parametrize("length", [1, 2, 5, 8, 11])
def test_a_score_network_takes_sequences_of_any_length(length):
    torch.manual_seed(0)
    network = ScoreNetwork(8, 2, 1, channel_norm=False)
    x, condition, time = torch.randn(3, length, 8), torch.randn(3, length, 8), torch.tensor([0.1, 0.5, 0.9])
    found = network(x, time, condition)
    assert found.shape == x.shape and found.isfinite().all()
    torch.testing.assert_close(network(x[1:2], time[1:2], condition[1:2]), found[1:2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(network(x, time, condition.flip(0)), found)


@pytest.mark.parametrize("channel_norm", [True, False])
def test_a_norm_of_single_channels_takes_away_what_the_time_adds(channel_norm):
    torch.manual_seed(0)
    network = ScoreNetwork(8, 2, 1, channel_norm=channel_norm).double()
    x = torch.randn(3, 12, 8, dtype=torch.float64)
    network(x, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), x.flip(0)).square().sum().backward()
    sizes = [level.time.weight.grad.abs().max().item() for level in [*network.down, *network.up[:-1]]]
    assert sum(size < 1e-9 for size in sizes) == channel_norm
    assert (sizes[6] < 1e-9) == channel_norm


def test_official_values_are_those_of_the_released_configuration(official_method):
    mosi, mosei = (official_method("imder", dims).hyperparameters for dims in COUNTS)
    for h, values in (
        (mosi, (32, 4, 0.0, 0.2, 0.0, 0.2, 0.0, 0.0, 1.0, 24)),
        (mosei, (128, 6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 5)),
    ):
        attention = (h.attention_dropout, h.attention_dropout_audio, h.attention_dropout_vision)
        dropouts = (*attention, h.embedding_dropout, h.output_dropout, h.text_dropout)
        assert (h.batch_size, h.layers, *dropouts, h.gradient_clip, h.plateau_patience) == values
        assert (h.width, h.heads, h.text_kernel, h.audio_kernel, h.vision_kernel, h.learning_rate) == (
            *(32, 8, 3, 3, 3),
            2e-3,
        )
        assert (h.accumulate, h.patience, h.recovery_weight, h.finetune_text_encoder) == (1, 20, 0.1, False)
        assert h.sampler_steps == 20


def test_its_teacher_has_the_same_values_and_trains_the_text_encoder(official_method):
    for dims in COUNTS:
        method, teacher = (official_method(name, dims).hyperparameters for name in ("imder", "imder_teacher"))
        different = {k for k, v in teacher.model_dump().items() if v != getattr(method, k)}
        assert different == {"finetune_text_encoder", "corruption"}
        assert teacher.finetune_text_encoder

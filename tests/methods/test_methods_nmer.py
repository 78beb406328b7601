import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, rows, spec_for
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as divergence_of
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.nmer import ConditionalAutoencoder, kl_divergence
from elision.task import MODALITIES

ORDER = ("audio", "text", "vision")  # of the official code
ENCODERS = {"audio": 133120, "vision": 241664, "text": 1622528}
SPACES = {f"{space}.{name}": count for space in ("specific", "invariant") for name, count in ENCODERS.items()}
UNUSED = 448 * 384 + 384  # an official layer that nothing reads


@pytest.fixture
def batch() -> Batch:
    """Seven utterances, half of each lost."""
    return make_batch(7, spec=spec_for("nmer"))


def third(vectors: torch.Tensor, name: str) -> torch.Tensor:
    """The part of a modality in vectors side by side."""
    return vectors.chunk(3, 1)[ORDER.index(name)]


def receivers(method: nn.Module, term: torch.Tensor) -> set[str]:
    """The sub-networks that a term of the loss has a gradient for."""
    method.zero_grad()
    term.backward(retain_graph=True)
    found = {key for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    names = [*SPACES, "shared", "autoencoder.transformer", "autoencoder.mean", "autoencoder.log_variance"]
    return {name for name in [*names, "autoencoder.decoder", "classifier"] if any(k.startswith(name) for k in found)}


def test_parameter_counts_equal_the_official_ones_less_what_is_never_used(official_method):
    method = official_method("nmer", "iemocap")
    autoencoder = {"transformer": 12814720, "decoder": 107008, "mean": 49216, "log_variance": 49216}
    expected = SPACES | {f"autoencoder.{name}": count for name, count in autoencoder.items()}
    expected |= {"shared": 33024, "autoencoder": 13192576 - UNUSED, "classifier": 66820, "": 17287044 - UNUSED}
    assert_counts(method, expected)
    linear = [module for module in method.modules() if isinstance(module, nn.Linear)]
    assert (448, 384) not in [(module.in_features, module.out_features) for module in linear]


def test_parameter_counts_of_the_teacher_equal_the_official_ones_without_the_diffusion_network(official_method):
    expected = SPACES | {"shared": 33024, "classifier": 115460, "": 4143108}
    assert_counts(official_method("nmer_teacher", "iemocap"), expected)


def test_training_is_that_of_the_official_scripts(official_method):
    teacher, method = official_method("nmer_teacher", "iemocap"), official_method("nmer", "iemocap")
    for each, beta1, epochs, size, clip, corruption in (
        (teacher, 0.9, 20, 64, 0.5, "complete"),
        (method, 0.5, 80, 128, 1.0, "noise"),
    ):
        h, (optimizer,) = each.hyperparameters, each.optimizers()
        group = optimizer.param_groups[0]
        assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (beta1, 0.999), 0)
        assert (h.epochs, h.batch_size, h.clip, h.corruption) == (epochs, size, clip, corruption)
        assert (h.initialisation, h.text_dropout, h.mask_padding) == ("kaiming", 0.5, True)
        half = epochs // 2
        factors = [each.learning_rate_factor(epoch) for epoch in (1, half, half + 1, epochs)]
        assert factors == pytest.approx([1, 1, 1 - 1 / (half + 1), 1 / (half + 1)])
    assert (teacher.hyperparameters.dropout, method.hyperparameters.dropout) == (0.2, 0.1)
    assert (method.hyperparameters.noise, method.hyperparameters.intensity) == ("gaussian", 100)
    assert (method.hyperparameters.transformer_layers, method.hyperparameters.transformer_dropout) == (5, 0.1)


def test_the_gradient_of_every_official_sub_network_is_clipped_by_itself(batch):
    method = make("nmer", clip=1e-3)
    torch.stack(list(method.loss(batch).values())).sum().backward()
    method.after_backward()
    for name in [*SPACES, "shared", "autoencoder", "classifier"]:
        gradients = [p.grad for p in method.get_submodule(name).parameters()]
        assert nn.utils.get_total_norm(gradients).item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("changed", MODALITIES)
def test_vectors_lie_side_by_side_in_the_order_audio_text_vision(batch, changed):
    method = make("nmer").eval()
    sequence = getattr(batch, changed)
    other = replace(batch, **{changed: replace(sequence, values=sequence.values + sequence.valid[..., None])})
    for before, after in zip(method.encode(batch), method.encode(other), strict=True):
        assert before.shape == (7, 384)
        for name in MODALITIES:
            assert torch.equal(third(before, name), third(after, name)) == (name != changed)


def test_specific_and_invariant_encoders_are_apart_and_one_head_follows_the_invariant_ones(batch):
    method = make("nmer").eval()
    specific, invariant = method.encode(batch)
    first, _, second, _ = method.shared
    for name in ORDER:
        assert torch.equal(third(specific, name), method.specific[name](getattr(batch, name)))
        vector = method.invariant[name](getattr(batch, name))
        expected = F.leaky_relu(second(F.leaky_relu(first(vector), 0.01)), 0.01)
        torch.testing.assert_close(third(invariant, name), expected)
    assert not torch.equal(method.specific["text"].out[1].weight, method.invariant["text"].out[1].weight)


def test_the_teacher_learns_from_the_error_and_the_mean_discrepancy_of_three_pairs(batch):
    teacher = make("nmer_teacher").eval()
    terms, (_, invariant) = teacher.loss(batch), teacher.encode(batch)

    def moments(x: torch.Tensor) -> list[torch.Tensor]:
        return [x.mean(0), *(((x - x.mean(0)) ** k).mean(0) for k in (2, 3, 4, 5))]

    distances = []
    for p, q in (("text", "vision"), ("text", "audio"), ("audio", "vision")):
        pairs = zip(moments(third(invariant, p)), moments(third(invariant, q)), strict=True)
        distances.append(sum((a - b).norm() for a, b in pairs))
    assert terms["discrepancy"].item() == pytest.approx(sum(distances).item() / 3, rel=1e-4)
    error = ((teacher.predict(batch).output - batch.label) ** 2).mean()
    assert terms["emotion"].item() == pytest.approx(error.item(), rel=1e-5)
    invariant_ones = {f"invariant.{name}" for name in MODALITIES} | {"shared"}
    assert receivers(teacher, terms["discrepancy"]) == invariant_ones
    assert receivers(teacher, terms["emotion"]) == {*SPACES, "shared", "classifier"}


def by_hand(autoencoder: ConditionalAutoencoder, sequence: torch.Tensor) -> torch.Tensor:
    """A sequence [T, width] through the transformer, normalised last."""
    x = sequence
    for layer in autoencoder.transformer.layers:
        attention = layer.self_attn
        q, k, v = (F.linear(x, attention.in_proj_weight, attention.in_proj_bias)).chunk(3, 1)
        heads = [part.chunk(8, 1) for part in (q, k, v)]
        scale = math.sqrt(q.shape[1] / 8)
        mixed = torch.cat([(a @ b.T / scale).softmax(1) @ c for a, b, c in zip(*heads, strict=True)], 1)
        x = layer.norm1(x + attention.out_proj(mixed))
        x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    return x


@pytest.mark.parametrize("batch_attention", [False, True])
def test_utterances_attend_to_themselves_or_to_the_batch(batch_attention):
    torch.manual_seed(0)
    sizes = {"layers": 2, "heads": 8, "dropout": 0.1, "batch_attention": batch_attention}
    autoencoder = ConditionalAutoencoder(16, 4, 6, **sizes).eval()
    for p in autoencoder.parameters():
        nn.init.normal_(p, std=0.3)
    x, condition = torch.randn(5, 16), torch.randn(5, 16)
    joint = torch.cat([x, condition], 1)
    sequences = [joint] if batch_attention else joint[:, None]
    hidden = torch.cat([by_hand(autoencoder, sequence) for sequence in sequences])
    mean, log_variance = autoencoder.encode(x, condition)
    torch.testing.assert_close(mean, autoencoder.mean(hidden), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(log_variance, autoencoder.log_variance(hidden), atol=1e-4, rtol=1e-4)


def test_the_decoder_reads_the_latent_vector_and_the_condition_and_ends_in_a_sigmoid():
    autoencoder = ConditionalAutoencoder(16, 4, 6, layers=1, heads=8, dropout=0.0, batch_attention=False)
    latent, condition = torch.randn(5, 4), torch.randn(5, 16)
    first, _, second, _ = autoencoder.decoder
    hidden = F.leaky_relu(F.linear(torch.cat([latent, condition], 1), first.weight, first.bias), 0.01)
    torch.testing.assert_close(autoencoder.decode(latent, condition), 1 / (1 + (-second(hidden)).exp()))


@pytest.mark.parametrize("residual", [False, True])
def test_what_is_classified_is_decoded_and_added_to_the_specific_vectors_only_as_a_residual(batch, residual):
    method = make("nmer", residual=residual).eval()
    specific, invariant = method.encode(batch)
    mean, _ = method.autoencoder.encode(specific, invariant)
    expected = method.autoencoder.decode(mean, invariant) + residual * specific
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, expected)
    torch.testing.assert_close(prediction.output, method.classifier(expected).squeeze(1))
    # What is reconstructed is what is classified.
    target = method.teacher.specific(batch.clean)
    torch.testing.assert_close(method.loss(batch)["reconstruction"], F.mse_loss(expected, target))


@pytest.mark.parametrize("batch_attention", [False, True])
def test_a_prediction_depends_on_the_rest_of_the_batch_only_with_attention_over_it(batch, batch_attention):
    method = make("nmer", batch_attention=batch_attention).eval()
    some = rows(batch, torch.tensor([4, 1, 2]))
    alone, together = (method.generate(each)[2] for each in (some, batch))
    difference = (alone - together[[4, 1, 2]]).abs().max().item()
    assert difference > 1e-2 if batch_attention else difference < 1e-5
    outputs = method.predict(some).output, method.predict(batch).output[[4, 1, 2]]
    assert torch.allclose(*outputs, atol=1e-5) == method.one_by_one != batch_attention


def test_the_divergence_equals_the_closed_form_and_is_0_for_the_standard_normal():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(5, 64), torch.randn(5, 64)
    expected = divergence_of(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)
    assert not kl_divergence(torch.zeros(5, 64), torch.zeros(5, 64)).any()
    assert kl_divergence(torch.tensor([[2.0]]), torch.tensor([[math.log(4)]])).item() == pytest.approx(
        0.5 * (4 + 4 - 1) - math.log(2)
    )


@pytest.mark.parametrize(("reduction", "divisor"), [("sum", 1), ("batchmean", 7), ("mean", 7 * 384)])
def test_every_loss_term_equals_its_definition(batch, reduction, divisor):
    method = make("nmer", kl_reduction=reduction, invariant_weight=0.7, autoencoder_weight=0.4).eval()
    generated, invariant, mean, log_variance = method.generate(batch)
    specific_target, invariant_target = method.teacher.encode(batch.clean)
    divergence = divergence_of(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum()
    expected = {
        "emotion": ((method.predict(batch).output - batch.label) ** 2).mean(),
        "invariant": 0.7 * ((invariant - invariant_target) ** 2).mean(),
        "reconstruction": 0.4 * ((generated - specific_target) ** 2).mean(),
        "divergence": 0.4 * divergence / divisor,
    }
    terms = method.loss(batch)
    assert {n: t.item() for n, t in terms.items()} == pytest.approx({n: t.item() for n, t in expected.items()})
    assert not torch.equal(specific_target, method.teacher.encode(batch)[0])


def test_classes_have_the_cross_entropy():
    batch = make_batch(7, spec=spec_for("nmer", CLASSES))
    method = make("nmer", spec=spec_for("nmer", CLASSES)).eval()
    expected = F.cross_entropy(method.predict(batch).output, batch.label)
    assert method.loss(batch)["emotion"].item() == pytest.approx(expected.item())


def test_gradients_reach_what_each_term_reads_and_never_the_teacher(batch):
    method = make("nmer", text_dropout=0.0).train()
    encoded = {*SPACES, "shared", "autoencoder.transformer", "autoencoder.mean", "autoencoder.log_variance"}
    expected = {
        "emotion": {*encoded, "autoencoder.decoder", "classifier"},
        "invariant": {f"invariant.{name}" for name in MODALITIES} | {"shared"},
        "reconstruction": {*encoded, "autoencoder.decoder"},
        "divergence": encoded,
    }
    terms = method.loss(batch)
    assert {name: receivers(method, term) for name, term in terms.items()} == expected
    assert all(p.grad is None for p in method.teacher.parameters())


def test_the_latent_vector_is_drawn_in_training_and_its_mean_at_evaluation():
    method, row = make("nmer"), torch.arange(1000)
    mean, log_variance = torch.full((1000, 64), 3.0), torch.full((1000, 64), math.log(0.25))
    torch.manual_seed(0)
    drawn = method.train().draw(mean, log_variance, row)
    assert (drawn.mean().item(), drawn.std().item()) == pytest.approx((3, 0.5), abs=0.01)
    assert torch.equal(method.eval().draw(mean, log_variance, row), mean)


def test_a_draw_at_evaluation_follows_from_the_utterance_alone(batch):
    method = make("nmer", sample_at_eval=True).eval()
    mean, log_variance, row = torch.zeros(1000, 64), torch.zeros(1000, 64), torch.arange(1000)
    drawn = method.draw(mean, log_variance, row)
    assert (drawn.mean().item(), drawn.std().item()) == pytest.approx((0, 1), abs=0.01)
    correlation = torch.corrcoef(drawn[:200]) - torch.eye(200)
    assert correlation.abs().max() < 0.6  # of 19900 independent pairs in 64 dimensions
    together = method.predict(batch).output
    assert torch.equal(method.predict(batch).output, together)
    torch.testing.assert_close(method.predict(rows(batch, torch.tensor([3]))).output, together[3:4])
    assert not torch.allclose(together, make("nmer").eval().predict(batch).output)


def test_it_starts_from_the_encoders_of_the_teacher(batch):
    method = make("nmer").eval()
    for ours, its in zip(method.encode(batch), method.teacher.encode(batch), strict=True):
        assert torch.equal(ours, its)


def test_the_teacher_is_no_part_of_the_method(batch):
    method = make("nmer").train()
    teacher = method.teacher
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    optimizers = method.optimizers()
    method.update(batch, optimizers, 0)
    assert not any("teacher" in key for key in method.state_dict())
    assert not {id(p) for p in method.parameters()} & {id(p) for p in teacher.parameters()}
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())


def test_without_a_teacher_it_predicts_as_with_one_once_its_weights_are_loaded(batch):
    method = make("nmer").eval()
    other = type(method)(method.hyperparameters, method.spec, nn.Identity()).eval()
    other.start({}, None)
    assert not torch.equal(other.predict(batch).output, method.predict(batch).output)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).output, method.predict(batch).output)


@pytest.mark.parametrize("absent", MODALITIES)
def test_zeros_in_place_of_noise_move_only_the_vectors_of_what_is_absent(absent):
    batch = make_batch(5, spec=spec_for("nmer"), lost=0.0, absent=(absent,))
    method = make("nmer").eval()
    assert batch.rate[0].tolist() == [float(name == absent) for name in MODALITIES]
    for ours, target in zip(method.encode(batch), method.teacher.encode(batch.clean), strict=True):
        moved = {name for name in MODALITIES if not torch.equal(third(ours, name), third(target, name))}
        assert moved == {absent}
    assert all(term.isfinite() for term in method.loss(batch).values())


def test_noise_beyond_the_sequence_takes_part_only_where_padding_does():
    batch = make_batch(4, spec=spec_for("nmer"), lost=0.0, lengths=dict.fromkeys(MODALITIES, 6))
    noisy = {}
    for name in MODALITIES:
        sequence = getattr(batch, name)
        beyond = ~sequence.valid[..., None]
        noisy[name] = replace(sequence, values=sequence.values + 3 * beyond)
    for masks in (True, False):
        method = make("nmer", mask_padding=masks).eval()
        outputs = method.predict(batch).output, method.predict(replace(batch, **noisy)).output
        assert torch.equal(*outputs) == masks

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, spec_for

from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.mag_bert import AdaptationGate

# Of MMSA's classes, by its names: MAG, classifier.
COUNTS = {
    "mosi": {"gate": 1_222_656, "head": 769, "": 1_223_425},
    "mosei": {"gate": 1_351_680, "head": 769, "": 1_352_449},
    "sims": {"gate": 2_323_968, "head": 769, "": 2_324_737},
}
SPEC = spec_for("mag_bert")


@pytest.fixture
def batch():
    return make_batch(7, spec=SPEC)


def gate(beta: float = 1.0) -> AdaptationGate:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AdaptationGate(audio=3, vision=2, width=4, beta=beta, dropout=0.5).eval()


def inputs(scale: float = 1.0) -> list[torch.Tensor]:
    """Tokens, and audio and vision that are scaled."""
    random = torch.Generator().manual_seed(1)
    return [factor * torch.randn(2, 5, d, generator=random) for factor, d in ((1, 4), (scale, 3), (scale, 2))]


def linear(layer, x):
    return layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()


@pytest.mark.parametrize("dims", COUNTS)
def test_it_has_the_parameters_of_the_released_code(dims, official_method):
    assert_counts(official_method("mag_bert", dims), COUNTS[dims])


@pytest.mark.parametrize("beta", [1.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_token_is_shifted_by_gated_audio_and_vision_and_normalised(beta, scale):
    module, (tokens, audio, vision) = gate(beta), inputs(scale)
    adapted = module(tokens, audio, vision).detach()
    limited = 0
    for i in range(2):
        for t in range(5):
            token, a, v = (x[i, t].double().numpy() for x in (tokens, audio, vision))
            shift = np.maximum(linear(module.gate_vision, np.concatenate([v, token])), 0) * linear(
                module.shift_vision, v
            ) + np.maximum(linear(module.gate_audio, np.concatenate([a, token])), 0) * linear(module.shift_audio, a)
            length = np.sqrt((shift**2).sum()) or 1.0
            alpha = min(np.sqrt((token**2).sum()) / (length + 1e-6) * beta, 1)
            limited += alpha < 1
            shifted = token + alpha * shift
            expected = (shifted - shifted.mean()) / np.sqrt(shifted.var() + 1e-5)
            np.testing.assert_allclose(adapted[i, t].numpy(), expected, rtol=1e-4, atol=1e-4)
    assert limited or (beta, scale) == (1.0, 1.0)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_long_shift_is_shortened_to_the_length_of_the_token_times_beta(beta):
    module, (tokens, audio, vision) = gate(beta), inputs()
    shift = 1000 * module.shift(tokens, audio, vision)
    shift = shift[shift.norm(dim=2) > 0][None]
    tokens = tokens.reshape(1, -1, 4)[:, : shift.shape[1]]
    limited = module.limit(shift, tokens)
    torch.testing.assert_close(limited.norm(dim=2), beta * tokens.norm(dim=2))
    torch.testing.assert_close(torch.cosine_similarity(limited, shift, dim=2), torch.ones(shift.shape[:2]))


def test_a_short_shift_is_left_as_it_is():
    tokens = inputs()[0]
    assert torch.equal(gate().limit(0.1 * tokens, tokens), 0.1 * tokens)


def test_the_limit_is_differentiated():
    module, tokens = gate(), inputs()[0]
    shift = (5 * torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3))).requires_grad_()
    module.limit(shift, tokens).square().sum().backward()
    assert shift.grad.abs().max() < 1e-4  # a longer shift is cut to the same length


def test_no_shift_stays_none_and_has_the_gradient_of_a_short_one():
    shift = torch.zeros(2, 5, 4, requires_grad=True)
    limited = gate().limit(shift, inputs()[0])
    limited.sum().backward()
    assert not limited.any() and torch.equal(shift.grad, torch.ones(2, 5, 4))


def test_tokens_are_adapted_before_the_first_layer_and_the_first_token_is_pooled():
    batch = make_batch(3, spec=SPEC, lengths={"text": 10})
    method = make("mag_bert").eval()
    model = method.encoder.model
    hidden = method.gate(model.embeddings(batch.text.values), batch.audio.values, batch.vision.values)
    for layer in model.encoder.layer:
        hidden = layer(hidden)
    representation = torch.tanh(model.pooler.dense(hidden[:, 0]))
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, representation)
    torch.testing.assert_close(prediction.output, method.head[1](representation).squeeze(1))


def test_lost_audio_and_vision_shift_a_token_by_what_the_biases_say():
    module, (tokens, audio, vision) = gate(), inputs(0.0)
    assert module.shift(tokens, audio, vision).any()
    for layer in (module.shift_audio, module.shift_vision):
        torch.nn.init.zeros_(layer.bias)
    assert not module.shift(tokens, audio, vision).any()


def test_the_loss_is_the_mean_absolute_error_or_the_cross_entropy_of_classes(batch):
    method = make("mag_bert").eval()
    (loss,) = method.loss(batch).values()
    errors = [abs(o - y) for o, y in zip(method.predict(batch).output.tolist(), batch.label.tolist(), strict=True)]
    assert loss.item() == pytest.approx(np.mean(errors))

    spec = spec_for("mag_bert", CLASSES)
    method, batch = make("mag_bert", spec=spec).eval(), make_batch(7, spec=spec)
    logits = method.predict(batch).output.detach().double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.mean([np.log(chances[i, y]) for i, y in enumerate(batch.label)])
    assert method.loss(batch)["sentiment"].item() == pytest.approx(expected, rel=1e-5)


def test_adam_trains_the_text_encoder_with_its_embeddings_and_pooler_like_the_rest():
    method = make("mag_bert")
    (optimizer,) = method.optimizers()
    assert type(optimizer) is torch.optim.Adam
    settings = [(group["lr"], group["weight_decay"], group["eps"]) for group in optimizer.param_groups]
    assert settings == [(2e-5, 0.0, 1e-8)] * 2
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in method.encoder.parameters()} < held
    assert id(method.encoder.model.pooler.dense.weight) in held


def test_nothing_clips_the_gradient(batch):
    method = make("mag_bert").eval()
    method.loss(batch)["sentiment"].mul(1000).backward()
    before = [p.grad.clone() for p in method.parameters()]
    method.after_backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(method.parameters(), before, strict=True))


def test_new_weights_are_drawn_like_those_of_bert_and_biases_are_zero():
    for std in (0.02, 0.2):
        method = make("mag_bert", initial_std=std)
        layers = [m for n, m in method.named_modules() if isinstance(m, torch.nn.Linear) and n[:8] != "encoder."]
        assert not any(layer.bias.any() for layer in layers)
        weights = torch.cat([layer.weight.flatten() for layer in layers])
        assert weights.std().item() == pytest.approx(std, rel=0.1) and abs(weights.mean().item()) < std / 10


def test_dropout_follows_the_gate_and_the_pooler():
    torch.manual_seed(0)
    tokens, audio, vision = inputs()
    assert 0.1 < (gate().train()(tokens, audio, vision) == 0).float().mean() < 0.9
    method = make("mag_bert", gate_dropout=0.25, dropout=0.4)
    assert (method.gate.dropout.p, method.head[0].p) == (0.25, 0.4)


def test_it_reads_one_row_of_audio_and_vision_per_token():
    assert [resolve("mag_bert", corpus)[0].alignment for corpus in ("mosi", "mosei", "simsv2", "demo")] == [
        "words",
        "words",
        "pooled",
        "words",
    ]
    with pytest.raises(ElisionError, match="mag_bert: alignment: Input should be 'words' or 'pooled'"):
        resolve("mag_bert", "mosi", {"alignment": "none"})


def test_the_official_values_differ_between_corpora():
    keys = ("learning_rate", "weight_decay", "gate_dropout", "beta", "batch_size", "patience")
    official = {dims: [getattr(resolve("mag_bert", dims)[0], key) for key in keys] for dims in COUNTS}
    assert official == {
        "mosi": [2e-5, 0.0, 0.3, 1.0, 32, 8],
        "mosei": [1e-5, 0.0, 0.2, 1.0, 32, 8],
        "sims": [5e-5, 0.0, 0.1, 1.0, 32, 8],
    }

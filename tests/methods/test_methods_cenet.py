import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch

from elision.methods import resolve
from elision.methods.cenet import Enhancement

# Of MMSA's classes, by its names: CE, classifier.
COUNTS = {
    "mosi": {"enhancement": 5_925_888, "head out": 591_361, "": 6_517_249},
    "mosei": {"enhancement": 5_990_400, "head out": 591_361, "": 6_581_761},
    "sims": {"enhancement": 6_476_544, "head out": 591_361, "": 7_067_905},
}


def enhancement(scale: float = 8.0) -> Enhancement:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Enhancement(audio=3, vision=2, width=4, scale=scale)


def linear(layer, x):
    return layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()


def found(attention, token, frames, scale):
    """What one token finds among frames, one frame at a time."""
    query, scores, values = linear(attention.query, token), [], []
    for frame in frames:
        hidden = linear(attention.embedding[2], np.maximum(linear(attention.embedding[0], frame), 0))
        scores.append(scale * query @ linear(attention.key, hidden))
        values.append(linear(attention.value, hidden))
    weights = np.exp(np.array(scores) - max(scores))
    return weights / weights.sum() @ np.array(values)


@pytest.mark.parametrize("dims", COUNTS)
def test_it_has_the_parameters_of_the_released_code(dims, official_method):
    assert_counts(official_method("cenet", dims), COUNTS[dims])


@pytest.mark.parametrize("scale", [8.0, 0.5])
def test_a_token_is_shifted_by_what_it_finds_in_vision_and_audio(scale):
    module, random = enhancement(scale), torch.Generator().manual_seed(1)
    tokens, audio, vision = (torch.randn(*shape, generator=random) for shape in ((2, 3, 4), (2, 6, 3), (2, 5, 2)))
    shifted = module(tokens, audio, vision).detach()
    for i in range(2):
        for t in range(3):
            token = tokens[i, t].double().numpy()
            seen = found(module.vision, token, vision[i].double().numpy(), scale)
            heard = found(module.audio, token, audio[i].double().numpy(), scale)
            expected = token + linear(module.shift, np.concatenate([seen, heard]))
            np.testing.assert_allclose(shifted[i, t].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_large_scale_picks_one_frame_and_a_small_one_takes_their_mean():
    frames, tokens = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(2)), torch.ones(1, 1, 4)
    single, mean = enhancement(1e6).audio, enhancement(1e-6).audio
    values = single.value(single.embedding(frames))
    best = (single.query(tokens) @ single.key(single.embedding(frames)).transpose(1, 2)).argmax()
    torch.testing.assert_close(single(tokens, frames)[0, 0], values[0, best])
    torch.testing.assert_close(mean(tokens, frames)[0, 0], values[0].mean(0), atol=1e-5, rtol=0)


def test_tokens_are_enhanced_between_the_first_and_the_second_layer():
    batch = make_batch(3, lengths={"text": 10})
    method = make("cenet").eval()
    model = method.encoder.model
    first, second = model.encoder.layer
    tokens = first(model.embeddings(batch.text.values))
    tokens = method.enhancement(tokens, batch.audio.values, batch.vision.values)
    representation = torch.tanh(method.head[1](second(tokens)[:, 0]))
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, representation)
    torch.testing.assert_close(prediction.output, method.out[1](representation).squeeze(1))


def test_the_loss_is_the_mean_absolute_error_or_the_cross_entropy_of_classes(batch):
    method = make("cenet").eval()
    (loss,) = method.loss(batch).values()
    errors = [abs(o - y) for o, y in zip(method.predict(batch).output.tolist(), batch.label.tolist(), strict=True)]
    assert loss.item() == pytest.approx(np.mean(errors))

    method, batch = make("cenet", spec=CLASSES).eval(), make_batch(7, spec=CLASSES)
    logits = method.predict(batch).output.detach().double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.mean([np.log(chances[i, y]) for i, y in enumerate(batch.label)])
    assert method.loss(batch)["sentiment"].item() == pytest.approx(expected, rel=1e-5)


def test_biases_and_layer_norms_decay_only_in_the_enhancement():
    method = make("cenet")
    (optimizer,) = method.optimizers()
    names = {id(p): name for name, p in method.named_parameters()}
    held = {g["name"]: {names[id(p)] for p in g["params"]} for g in optimizer.param_groups}
    assert type(optimizer) is torch.optim.Adam
    assert [g["weight_decay"] for g in optimizer.param_groups] == [1e-4, 1e-4, 0.0]
    assert {(g["lr"], g["eps"]) for g in optimizer.param_groups} == {(1e-5, 3e-8)}
    assert held["enhancement"] == {f"enhancement.{name}" for name, _ in method.enhancement.named_parameters()}
    layer = "encoder.model.encoder.layer.0.output."
    assert {"head.1.bias", "out.1.bias", layer + "LayerNorm.weight", layer + "LayerNorm.bias", layer + "dense.bias"} < (
        held["biases and layer norms"]
    )
    assert {"head.1.weight", "out.1.weight", layer + "dense.weight"} < held["weights"]


def test_the_text_encoder_trains_except_its_embeddings(batch):
    for train_embeddings in (False, True):
        method = make("cenet", train_embeddings=train_embeddings).train()
        before = {name: p.clone() for name, p in method.named_parameters()}
        method.update(batch, method.optimizers(), 0)
        changed = {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}
        for name in before:
            if name.startswith("encoder.") and not name.endswith("key.bias"):
                assert (name in changed) == (train_embeddings or ".embeddings." not in name), name


def test_a_frozen_text_encoder_has_frozen_embeddings():
    method = make("cenet", finetune_text_encoder=False, train_embeddings=True)
    assert not any(p.requires_grad for p in method.encoder.parameters())


def test_the_gradient_is_clipped_to_a_norm(batch):
    for clip in (2.0, 1e-3):
        method = make("cenet", gradient_clip=clip).eval()  # no dropout
        method.loss(batch)["sentiment"].mul(100).backward()
        trained = [p for p in method.parameters() if p.grad is not None]
        assert torch.stack([p.grad.norm() for p in trained]).norm() > clip
        method.after_backward()
        assert torch.stack([p.grad.norm() for p in trained]).norm().item() == pytest.approx(clip, rel=1e-3)


def test_new_weights_are_drawn_like_those_of_bert_and_biases_are_zero():
    for std in (0.02, 0.2):
        method = make("cenet", initial_std=std)
        new = [(n, p) for n, p in method.named_parameters() if not n.startswith("encoder.")]
        assert not any(p.any() for n, p in new if n.endswith("bias"))
        weights = torch.cat([p.flatten() for n, p in new if n.endswith("weight")])
        assert weights.std().item() == pytest.approx(std, rel=0.05) and abs(weights.mean().item()) < std / 20


def test_the_official_values_differ_between_corpora():
    keys = ("learning_rate", "weight_decay", "adam_epsilon", "batch_size", "attention_scale", "patience")
    official = {dims: [getattr(resolve("cenet", dims)[0], key) for key in keys] for dims in COUNTS}
    assert official == {
        "mosi": [1e-5, 1e-4, 3e-8, 64, 8.0, 8],
        "mosei": [1e-5, 1e-4, 1e-8, 64, 8.0, 8],
        "sims": [2e-6, 0.0, 2e-8, 32, 8.0, 8],
    }

import math

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch
from torch.optim.lr_scheduler import CosineAnnealingLR

from elision.batch import Batch

# Counted on the released classes (Haoyu-ha/ALMT), text encoder left out.
COUNTS = {
    "mosi": {
        "": 2603649,
        "hyper": 1024,
        "embedding.text": 403200,
        "embedding.audio": 347136,
        "embedding.vision": 365056,
        "language_encoder": 593664,
        "hyper_modality": 298368,
        "fusion": 595072,
        "head": 129,
    },
    "mosei": {
        "": 3223041,
        "hyper": 1024,
        "embedding.text": 403200,
        "embedding.audio": 371968,
        "embedding.vision": 366976,
        "language_encoder": 593664,
        "hyper_modality": 298368,
        "fusion": 1187712,
        "head": 129,
    },
    "sims": {
        "": 3232897,
        "hyper": 1024,
        "embedding.text": 401792,
        "embedding.audio": 353920,
        "embedding.vision": 396288,
        "language_encoder": 593664,
        "hyper_modality": 298368,
        "fusion": 1187712,
        "head": 129,
    },
}


class Reference:
    """The released network for one utterance, in plain NumPy: it is given the weights of ours."""

    def __init__(self, method):
        self.weights = {name: p.detach().double().numpy() for name, p in method.named_parameters()}
        self.depths = {
            "embedding": len(method.embedding["text"][1].blocks),
            "language": len(method.language_encoder.blocks),
            "fusion": len(method.fusion.blocks),
        }

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)

    def norm(self, name, x):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attend(self, query, key, value, heads=8):
        answers = []
        for q, k, v in zip(*(np.split(x, heads, axis=1) for x in (query, key, value)), strict=True):
            scores = np.exp(q @ k.T / math.sqrt(q.shape[1]))
            answers.append(scores / scores.sum(1, keepdims=True) @ v)
        return np.concatenate(answers, 1)

    def block(self, name, x, source):
        query = self.linear(f"{name}.query", self.norm(f"{name}.norm_query", x))
        key = self.linear(f"{name}.key", self.norm(f"{name}.norm_key", source))
        value = self.linear(f"{name}.value", self.norm(f"{name}.norm_value", source))
        x = x + self.linear(f"{name}.out", self.attend(query, key, value))
        hidden = self.linear(f"{name}.feed_forward.1", self.norm(f"{name}.feed_forward.0", x))
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        return x + self.linear(f"{name}.feed_forward.3", hidden)

    def embed(self, name, x):
        tokens = self.weights[f"embedding.{name}.1.tokens"][0]
        x = np.concatenate([tokens, self.linear(f"embedding.{name}.0", x)])
        x = x + self.weights[f"embedding.{name}.1.positions"][0, : len(x)]
        for i in range(self.depths["embedding"]):
            x = self.block(f"embedding.{name}.1.blocks.{i}", x, x)
        return x[: len(tokens)]

    def hyper_modality(self, name, language, audio, vision, hyper):
        query = self.linear(f"{name}.query", self.norm(f"{name}.norm_language", language))
        answer = 0
        for modality, x in (("audio", audio), ("vision", vision)):
            x = self.norm(f"{name}.norm_{modality}", x)
            key, value = (self.linear(f"{name}.{modality}_{part}", x) for part in ("key", "value"))
            answer = answer + self.attend(query, key, value)
        return self.norm(f"{name}.norm_hyper", hyper) + self.linear(f"{name}.out", answer)

    def __call__(self, text, audio, vision):
        language, audio, vision = self.embed("text", text), self.embed("audio", audio), self.embed("vision", vision)
        scales = [language + self.weights["language_encoder.positions"][0]]
        for i in range(self.depths["language"]):
            scales.append(self.block(f"language_encoder.blocks.{i}", scales[-1], scales[-1]))
        hyper = self.weights["hyper"][0]
        for i, scale in enumerate(scales):
            hyper = self.hyper_modality(f"hyper_modality.{i}", scale, audio, vision, hyper)
        token = self.weights["fusion.token"][0]
        source = np.concatenate([token, hyper]) + self.weights["fusion.source_positions"][0]
        target = np.concatenate([token, scales[-1]]) + self.weights["fusion.target_positions"][0]
        for i in range(self.depths["fusion"]):
            target = self.block(f"fusion.blocks.{i}", target, source)
        return target[0], self.linear("head", target[0])[0]


def shaken(**overrides):
    """A method of which no weight is 0 or 1, as those of layer norms and learned tokens are at first."""
    method = make("almt", **overrides).eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in method.named_parameters():
            if not name.startswith("encoder."):
                p += 0.1 * torch.randn(p.shape, generator=random)
    return method


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones(official_method, dims):
    assert_counts(official_method("almt", dims), COUNTS[dims])


def test_the_network_is_the_released_one(batch: Batch):
    method = shaken(tokens=3, embedding_depth=2, language_depth=2, fusion_depth=2)
    reference, prediction = Reference(method), method.predict(batch)
    text = method.encoder(batch.text)
    for i in range(len(batch)):
        inputs = (x[i].detach().double().numpy() for x in (text, batch.audio.values, batch.vision.values))
        representation, output = reference(*inputs)
        np.testing.assert_allclose(prediction.representation[i].detach(), representation, atol=1e-4)
        np.testing.assert_allclose(prediction.output[i].item(), output, atol=1e-4)


def test_the_hyper_modality_starts_at_one_and_learned_tokens_at_zero():
    method = make("almt")
    assert torch.equal(method.hyper, torch.ones(1, 2, 16))
    tokens = [method.fusion.token, *(embedding[1].tokens for embedding in method.embedding.values())]
    assert not any(token.any() for token in tokens)


def test_the_loss_is_the_squared_error_alone(batch):
    method = make("almt").eval()
    errors = [(method.predict(batch).output[i].item() - batch.label[i].item()) ** 2 for i in range(len(batch))]
    terms = method.loss(batch)
    assert set(terms) == {"sentiment"}
    assert terms["sentiment"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_classes_are_learnt_with_cross_entropy():
    batch = make_batch(7, spec=CLASSES)
    method = make("almt", spec=CLASSES).eval()
    likelihood = method.predict(batch).output.detach().softmax(1)
    expected = -sum(math.log(likelihood[i, batch.label[i]]) for i in range(7)) / 7
    assert method.loss(batch)["sentiment"].item() == pytest.approx(expected, rel=1e-5)


def test_padded_frames_are_ordinary_tokens():
    method, batch = make("almt").eval(), make_batch(3, lengths={"audio": 4}, lost=0.0)
    before = method.predict(batch).output
    batch.audio.values[:, 8] = 1.0
    assert (method.predict(batch).output - before).abs().max() > 1e-6
    assert SPEC.length["audio"] > 8


def test_the_text_encoder_is_trained_by_adamw_like_the_rest():
    method = make("almt")
    (optimizer,) = method.optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    settings = [(group["lr"], group["weight_decay"], group["betas"]) for group in optimizer.param_groups]
    assert settings == [(1e-4, 1e-4, (0.9, 0.999))] * 2
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(method.parameters()))


@pytest.mark.parametrize("epochs", [200, 37, 8, 1])
def test_learning_rates_warm_up_from_0_and_follow_the_cosine_of_pytorch(epochs):
    method = make("almt", epochs=epochs)
    factors = [method.learning_rate_factor(epoch) for epoch in range(1, epochs + 1)]
    warm = math.floor(epochs / 10) + 1
    np.testing.assert_allclose(factors[:warm], np.arange(warm) / (epochs / 10))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    cosine = CosineAnnealingLR(optimizer, T_max=0.9 * epochs)
    for factor in factors[warm:]:
        assert factor == pytest.approx(cosine.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        cosine.step()


def test_official_values_are_those_of_the_released_configurations(official_method):
    mosi, mosei, sims = (official_method("almt", dims).hyperparameters for dims in ("mosi", "mosei", "sims"))
    for h in (mosi, mosei, sims):
        assert (h.epochs, h.batch_size, h.accumulate, h.patience) == (200, 64, 1, None)
        assert (h.learning_rate, h.weight_decay) == (1e-4, 1e-4)
        assert (h.width, h.tokens, h.embedding_depth, h.language_depth) == (128, 8, 1, 2)
    assert [h.fusion_depth for h in (mosi, mosei, sims)] == [2, 4, 4]

from dataclasses import replace

import torch
from tiny_methods import make, make_batch


def test_it_reads_the_mean_of_the_valid_tokens():
    method, batch = make("text_only").eval(), make_batch(3, lengths={"text": 4})
    mean = method.encoder(batch.text)[:, :4].mean(1)
    torch.testing.assert_close(method.predict(batch).representation, mean)
    torch.testing.assert_close(method.predict(batch).output, method.head(mean).squeeze(1))


def test_without_text_it_predicts_its_bias():
    method = make("text_only").eval()
    output = method.predict(make_batch(2, lengths={"text": 0})).output
    assert torch.equal(output, method.head.bias.expand(2))


def test_audio_and_vision_change_nothing():
    method, batch = make("text_only").eval(), make_batch(3)
    deaf = replace(batch, audio=make_batch(3, seed=1).audio, vision=make_batch(3, seed=1).vision)
    assert torch.equal(method.predict(batch).output, method.predict(deaf).output)


def test_it_learns_what_the_words_say():
    batch = make_batch(16, lost=0.0, lengths={"text": 5})
    sign = torch.tensor([-1.0, 1.0] * 8)
    batch.text.values[:, 2] = torch.where(sign > 0, 20, 21)
    batch = replace(batch, label=2 * sign)
    method = make("text_only", learning_rate=1e-2, learning_rate_text_encoder=3e-3).train()
    optimizers = method.optimizers()
    torch.manual_seed(0)
    for _ in range(60):
        method.update(batch, optimizers, 0)
    assert (method.eval().predict(batch).output - batch.label).abs().mean() < 0.3

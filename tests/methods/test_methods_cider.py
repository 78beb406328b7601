"""CIDer: attention within sets of modalities against loops, prototypes, classes of scores, the two steps of a batch."""

from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, SPEC, UNK, assert_counts, learn, make, make_batch, rows, tiny_encoder
from torch.nn import functional as F

from elision.methods import build, resolve
from elision.methods.cider import (
    SUBSETS,
    CIDer,
    CompositionLayer,
    Compression,
    Pooling,
    divergence,
)
from elision.methods.layers.reconstruction import reconstruction_error
from elision.methods.layers.text_encoder import StubEncoder, words_of
from elision.task import MODALITIES, OFFICIAL_SPECS

MOSI = {
    "project": 24_576 + 160 + 640,
    "compress.audio": 4_224,
    "compress.vision": 4_224,
    "recurrent": 3 * 6_336,
    "layers norm": 97_504,
    "pool": 3 * 1_089,
    "rebuild.text": 25_344,
    "lengthen.audio rebuild.audio": 19_290,
    "lengthen.vision rebuild.vision": 26_160,
    "joint": 2 * 9_312,
    "code.text": 26_720,
    "code.audio": 2_304,
    "code.vision": 2_784,
    "classifiers": 1_737,
}


def official(corpus: str, classes: int, **overrides) -> CIDer:
    hyperparameters = resolve("cider", corpus, {"score_classes": classes, **overrides})[0]
    sizes = OFFICIAL_SPECS[corpus].aligned(hyperparameters.alignment)
    with torch.device("meta"):
        return build("cider", hyperparameters, sizes, StubEncoder(768))


@pytest.mark.parametrize(
    ("corpus", "classes", "total"),
    [("mosi", 3, 276_566), ("mosi", 7, 284_286), ("mosei", 3, 291_089), ("mosei", 7, 298_809)],
)
def test_parameter_counts_equal_the_official_ones(corpus, classes, total):
    assert_counts(official(corpus, classes), {"": total, **(MOSI if (corpus, classes) == ("mosi", 3) else {})})


def test_aligned_sequences_need_no_compression():
    assert_counts(official("mosi", 3, alignment="words"), {"": 237_041 - 2 * 4_224})


def test_attention_within_each_set_of_modalities_equals_a_loop():
    torch.manual_seed(0)
    layer, length = CompositionLayer(8, 2, 0.0, 0.0).eval(), 3
    x = torch.randn(2, 9, 8)
    attended = torch.tensor([[True, True, False], [True, True, True]]).repeat(1, 3)
    _, scores = layer(x, attended)
    value = layer.project(layer.norm(x)).chunk(3, 2)[2]
    found = layer.attend(scores, value.unflatten(2, (2, 4)).transpose(1, 2), attended)
    for sample in range(2):
        for row in range(9):
            name, made = MODALITIES[row // length], []
            for subset in SUBSETS:
                if name not in subset.split():
                    continue
                inside = [
                    column
                    for column in range(9)
                    if MODALITIES[column // length] in subset.split() and attended[sample, column]
                ]
                heads = []
                for head in range(2):
                    weights = scores[sample, head, row, inside].softmax(0)
                    heads.append(weights @ value[sample, inside, 4 * head : 4 * head + 4])
                made.append(layer.of_subset[subset](torch.cat(heads)))
            expected = layer.out(layer.summary[name](torch.cat(made)))
            torch.testing.assert_close(found[sample, row], expected)


def test_scores_are_scaled_products_of_queries_and_keys():
    layer, x = CompositionLayer(8, 2, 0.0, 0.0).eval(), torch.randn(1, 6, 8)
    query, key, _ = layer.project(layer.norm(x)).chunk(3, 2)
    _, scores = layer(x, torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(scores[0, 1], query[0, :, 4:] @ key[0, :, 4:].T / 2)


def test_only_words_attend_to_frames_and_only_to_valid_ones():
    compression = Compression(4)
    text, frames = torch.randn(1, 5, 4), torch.randn(1, 3, 4)
    words = words_of(torch.tensor([[True, True, True, True, False]]))
    assert words.tolist() == [[False, True, True, False, False]]
    made = compression(text, frames, words, torch.tensor([[True, True, False]]))
    query, key, value = (
        F.linear(x, w, b)
        for x, w, b in zip(
            (text, frames, frames), compression.project.weight.chunk(3), compression.project.bias.chunk(3), strict=True
        )
    )
    weights = (query[0, 1] @ key[0, :2].T / 2).softmax(0)
    torch.testing.assert_close(made[0, 1], compression.out(weights @ value[0, :2]))
    for place in (0, 3, 4):
        torch.testing.assert_close(made[0, place], compression.out.bias)


def test_pooling_is_a_weighted_mean_of_the_attended_steps():
    pooling, x = Pooling(4), torch.randn(2, 3, 4)
    made = pooling(x, torch.tensor([[True, False, True], [False] * 3]))
    weights = pooling.score(x[0, [0, 2]]).squeeze(1).softmax(0)
    torch.testing.assert_close(made[0], weights @ x[0, [0, 2]])
    assert not made[1].any()


@pytest.mark.parametrize(
    ("count", "classes"), [(3, [0, 0, 1, 2, 2, 2, 2]), (7, [0, 3, 3, 3, 4, 5, 6])], ids=["three", "seven"]
)
def test_scores_have_classes(count, classes):
    method = make("cider", score_classes=count)
    assert method.classes_of(torch.tensor([-3.2, -0.4, 0.0, 0.3, 1.2, 1.5, 2.6])).tolist() == classes


def test_classes_of_a_narrow_range_lie_in_the_whole_range():
    spec = replace(SPEC, corpus="sims")
    assert make("cider", spec=spec).classes_of(torch.tensor([-1.0, 0.2, 0.6, 1.0])).tolist() == [0, 4, 5, 6]


def test_training_labels_give_frequencies_and_the_score_of_each_class():
    method = make("cider")
    method.begin_training(torch.tensor([-3.0, 0.2, 0.4, 1.0]))
    torch.testing.assert_close(method.frequencies, torch.tensor([0.25, 0, 0, 0.5, 0.25, 0, 0]))
    torch.testing.assert_close(method.class_scores[[0, 3, 4]], torch.tensor([-3.0, 0.3, 1.0]))


def test_a_class_without_a_sample_keeps_its_middle_as_score():
    method = build("cider", resolve("cider", "mosi", {"score_classes": 7})[0], SPEC, tiny_encoder())
    method.begin_training(torch.tensor([0.5]))
    torch.testing.assert_close(method.class_scores, torch.tensor([-3.0, -2, -1, 0.5, 1, 2, 3]))


def test_a_score_is_the_mean_of_the_class_scores_by_their_probability():
    method, batch = make("cider").eval(), make_batch(7)
    probability = method.view(batch, batch.text).log_probabilities.exp()
    torch.testing.assert_close(probability.sum(1), torch.ones(7))
    torch.testing.assert_close(method.predict(batch).output, (probability * method.class_scores).sum(1))


def collected(base=SPEC, **overrides):
    method = make("cider", spec=base, **overrides).train()
    batches = [make_batch(5, spec=base, seed=1), make_batch(3, spec=base, seed=2)]
    learn(method, batches, method.optimizers(), epoch=1)
    return method, batches


@pytest.mark.parametrize("base", [SPEC, CLASSES], ids=["regression", "classification"])
def test_prototypes_are_class_means_of_complete_vectors_and_of_the_encoder_as_it_starts(base):
    method, batches = collected(base)
    encoder = tiny_encoder().eval()
    vectors, classes = [], []
    for batch in batches:
        for i in range(len(batch)):
            clean = rows(batch.clean, torch.tensor([i]))
            values = (encoder(clean.text), clean.audio.values, clean.vision.values)
            parts = zip(values, (clean.text, clean.audio, clean.vision), strict=True)
            vectors.append(torch.cat([x[0, sequence.valid[0]].mean(0) for x, sequence in parts]))
            classes.append(int(method.classes_of(batch.label)[i]))
    for number, prototype in enumerate(method.prototypes):
        members = [v for v, c in zip(vectors, classes, strict=True) if c == number]
        expected = torch.stack(members).mean(0) if members else torch.zeros_like(prototype)
        torch.testing.assert_close(prototype, expected.detach(), atol=1e-5, rtol=1e-4)


def test_the_pass_for_prototypes_changes_no_weight_and_later_epochs_have_none():
    method, batch = make("cider").train(), make_batch(7)
    method.on_epoch_start(1)
    assert method.passes(4) == [4, 4]
    before = {name: p.clone() for name, p in method.named_parameters()}
    method.on_pass_start(0)
    assert method.update(batch, method.optimizers(), 0) == {}
    assert all(torch.equal(p, before[name]) for name, p in method.named_parameters())
    assert method.encoder.training
    method.on_epoch_start(2)
    assert method.passes(4) == [4]


def test_answers_are_averaged_with_the_prototypes_by_class_and_blindly_in_evaluation():
    method, _ = collected()
    joint, widths = torch.randn(4, 96), list(method.widths.values())
    used = method.frequencies > 0
    mean = method.prototypes[used].mean(0)
    for training in (True, False):
        method.train(training)
        expected = torch.zeros(4, 7)
        for number, classifier in enumerate(method.classifiers):
            share = method.frequencies[number] if training else used[number] / used.sum()
            parts = (method.prototypes[number] if training else mean).split(widths)
            codes = [code(part) for code, part in zip(method.code.values(), parts, strict=True)]
            answer = classifier(torch.cat([joint, torch.cat(codes).expand(4, -1)], 1)).softmax(1)
            expected = expected + share * answer
        torch.testing.assert_close(method.adjust(joint).exp(), expected)


def test_positions_count_time_and_the_released_code_counts_the_batch():
    x = torch.zeros(4, 30, 32)
    time, batch = make("cider"), make("cider", positions="batch")
    table = time._positions(x, 10)
    assert table.shape == (1, 30, 32)
    step, channel = 17, 6
    assert table[0, step, channel] == pytest.approx(
        torch.tensor(step * 10000 ** (-channel / 32)).sin().item(), abs=1e-5
    )
    assert table[0, step, channel + 1] == pytest.approx(
        torch.tensor(step * 10000 ** (-channel / 32)).cos().item(), abs=1e-5
    )
    assert torch.equal(batch._positions(x, 10)[:, 0], table[0, :4])
    assert time.one_by_one
    assert not batch.one_by_one
    samples = make_batch(4)
    turned = rows(samples, torch.arange(4).flip(0))
    for method, same in ((time, True), (batch, False)):
        method.eval()
        first, second = method.predict(samples).output, method.predict(turned).output.flip(0)
        assert torch.allclose(first, second, atol=1e-6) is same


def test_the_released_code_attends_to_padding():
    lengths = {"text": 6, "audio": 8, "vision": 5}
    batch = make_batch(3, lengths=lengths)
    text = batch.text.values.clone()
    text[:, 6:] = 7
    other = replace(batch, text=replace(batch.text, values=text))
    for masked in (True, False):
        method = make("cider", mask_padding=masked).eval()
        assert torch.allclose(method.predict(batch).output, method.predict(other).output, atol=1e-6) is masked


def test_the_divergence_is_summed_over_steps_and_averaged_over_utterances_and_heads():
    scores, target = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    everywhere = torch.ones(2, 4, dtype=torch.bool)
    expected = F.kl_div(scores.log_softmax(3).flatten(0, 1), target.softmax(3).flatten(0, 1), reduction="batchmean")
    torch.testing.assert_close(divergence(scores, target, everywhere), expected)
    part = everywhere.clone()
    part[:, 3] = False
    cut = divergence(scores[:, :, :3, :3], target[:, :, :3, :3], everywhere[:, :3])
    torch.testing.assert_close(divergence(scores, target, part), cut)


def test_the_reconstruction_counts_what_is_lost_alone():
    made, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    lost = torch.tensor([[True, False, False], [False, True, True]])
    torch.testing.assert_close(
        reconstruction_error(made, target, lost), F.smooth_l1_loss(made[lost], target[lost]), rtol=1e-4, atol=1e-6
    )
    assert reconstruction_error(made, target, torch.zeros_like(lost)) == 0


def test_complete_input_has_nothing_to_rebuild_and_no_distance_from_itself():
    method, batch = make("cider").eval(), make_batch(5, lost=0.0)
    terms = method.loss(batch)
    assert terms["joint"].item() == pytest.approx(0, abs=1e-6)
    assert terms["attention"].item() == pytest.approx(0, abs=1e-6)
    assert [terms[f"{name}_reconstruction"].item() for name in MODALITIES] == [0, 0, 0]
    torch.testing.assert_close(terms["complete"], terms["incomplete"])


@pytest.mark.parametrize("keeps", [False, True])
def test_the_second_step_follows_its_own_gradient_or_both(keeps):
    method, batch = make("cider", keep_gradient=keeps, finetune_text_encoder=False).eval(), make_batch(5)
    method.encoder.eval()
    optimizers = [torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)]
    own = {name: p.clone() for name, p in method.named_parameters() if p.requires_grad}

    def gradient(terms):
        method.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in method.named_parameters()}

    def move(gradients):
        with torch.no_grad():
            for name in own:
                method.get_parameter(name).sub_(0.1 * gradients[name])

    whole = method.view(batch.clean, batch.clean.text)
    first = gradient(method.complete_terms(whole, batch))
    move(first)
    second = gradient(method.incomplete_terms(whole, batch))
    move({name: second[name] + (first[name] if keeps else 0) for name in own})
    expected = {name: method.get_parameter(name).clone() for name in own}
    with torch.no_grad():
        for name, value in own.items():
            method.get_parameter(name).copy_(value)
    method.zero_grad()
    method.update(batch, optimizers, 0)
    for name, value in expected.items():
        torch.testing.assert_close(method.get_parameter(name).detach(), value.detach())


def counterfactual(**overrides):
    return make("cider", tau=0.5, mask_token=9, **overrides).train()


def test_biased_words_are_the_most_frequent_ones_that_classes_use_unequally():
    method, batch = counterfactual(score_classes=3, biased_words=2), make_batch(4, lost=0.0, lengths={"text": 6})
    texts = torch.tensor(
        [[2, 10, 11, 12, 14, 3], [2, 10, 11, 15, 14, 3], [2, 10, 13, 13, 14, 3], [2, 10, 16, 12, 14, 3]]
    )
    values = F.pad(texts, (0, batch.text.values.shape[1] - 6))
    batch = replace(batch, label=torch.tensor([-1.0, -2.0, 1.0, 2.0]), text=replace(batch.text, values=values))
    batch.clean = replace(batch.clean, text=batch.text, label=batch.label)
    learn(method, [batch], method.optimizers(), epoch=1)
    # 10 and 14 are in all texts, 12 in one of each sign. 11 and 13 are twice in one sign, 15 and 16 once.
    assert method.words[10].tolist() == [2, 0, 2]
    assert not method.words[[2, 3]].any()
    assert method.biased.nonzero().flatten().tolist() == [11, 13]


def test_the_counterfactual_text_keeps_biased_words_lost_words_and_the_ends():
    method = counterfactual()
    method.biased[10] = True
    batch = make_batch(1, lost=0.0, lengths={"text": 6})
    values = F.pad(torch.tensor([[2, 10, 11, UNK, 12, 3]]), (0, 4))
    observed = batch.text.observed & (values != UNK)
    text = method.counterfactual(replace(batch.text, values=values, observed=observed))
    assert text.values[0, :6].tolist() == [2, 10, 9, UNK, 9, 3]
    assert not text.values[0, 6:].any()


def test_tau_subtracts_what_biased_words_say():
    method, batch = counterfactual().eval(), make_batch(5)
    seen = method.view(batch, batch.text).log_probabilities
    words = method.view(batch, method.counterfactual(batch.text)).log_probabilities
    torch.testing.assert_close(method.predict(batch).output, (seen - 0.5 * words).softmax(1) @ method.class_scores)
    plain = make("cider").eval()
    assert "biased" not in plain.state_dict()
    torch.testing.assert_close(
        plain.predict(batch).output, plain.view(batch, batch.text).log_probabilities.exp() @ plain.class_scores
    )


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="5 heads do not divide a width of 32"):
        CIDer.Hyperparameters(heads=5)

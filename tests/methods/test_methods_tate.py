from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch, spec_for
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.errors import ElisionError
from elision.methods import build, resolve
from elision.methods.tate import divergence
from elision.methods.tate_teacher import AttentionBlock, SigmoidAttention
from elision.task import MODALITIES, OFFICIAL_SPECS, TaskKind

# By the shapes of the variables in the released code.
COUNTS = {
    "project.vision": 212_700,
    "project.audio": 9_900,
    "project.text": 230_400,
    **{f"within.{name}": 992_700 for name in MODALITIES},
    "shared": 3 * 45_000,
    "joint": 1_019_312,
    "pool": 185_136,
    "dense": 91_200,
}
# Vision, audio and text that are absent, and the tag.
TAGS = {
    "": (1, 0, 0, 0),
    "vision": (0, 1, 0, 0),
    "audio": (0, 0, 1, 0),
    "text": (0, 0, 0, 1),
    "text audio": (0, 0, 1, 1),
    "text vision": (0, 1, 0, 1),
    "audio vision": (0, 1, 1, 0),
    "text audio vision": (0, 1, 1, 1),
}


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=spec_for("tate"))


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x: np.ndarray, norm: torch.nn.LayerNorm) -> np.ndarray:
    deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-8)
    return (x - x.mean(-1, keepdims=True)) / deviation * array(norm.weight) + array(norm.bias)


@pytest.mark.parametrize(("name", "total"), [("tate", 5_881_963), ("tate_teacher", 5_881_963 - 1_019_312)])
def test_parameters_of_three_classes_are_as_many_as_in_the_released_code(name, total):
    spec = replace(OFFICIAL_SPECS["sims"], task=TaskKind.CLASSIFICATION, classes=("a", "b", "c"), text=768)
    with torch.device("meta"):
        method = build(name, resolve(name, "sims")[0], spec)
    assert_counts(method, {**COUNTS, "": total, "head": 903, **({"decoder": 1_019_312} if name == "tate" else {})})


@pytest.mark.parametrize("absent", TAGS)
def test_the_tag_says_which_modalities_are_absent(absent):
    batch = make_batch(3, spec=spec_for("tate"), lost=0.0, absent=absent.split())
    for name, constant in (("tate", (0, 1, 1, 0)), ("tate_teacher", (0, 0, 0, 1))):
        found = make(name).encode(batch)
        assert found.tag.tolist() == [list(TAGS[absent])] * 3
        assert torch.equal(found.joint[:, 0, -4:], found.tag) and torch.equal(found.joint[:, -1, -4:], found.tag)
        assert make(name, tag="constant").encode(batch).tag.tolist() == [list(constant)] * 3


def test_a_block_is_the_masked_attention_of_the_released_code():
    torch.manual_seed(0)
    block = AttentionBlock(8, 2, 0.5).eval()
    for p in (*block.norm.parameters(), *block.norm_feed_forward.parameters()):
        torch.nn.init.normal_(p)
    x = torch.randn(3, 5, 8)
    x[0, 3:], x[1] = 0, 0
    seen = (x != 0).any(2)
    mixed = np.zeros((3, 5, 8))
    for b in range(3):
        q, k, v = (array(x)[b] @ array(m.weight).T for m in (block.query, block.key, block.value))
        for columns in (slice(0, 4), slice(4, 8)):
            score = q[:, columns] @ k[:, columns].T / 2
            score = np.where(array(seen)[b] > 0, score, -(2.0**32) + 1)
            mixed[b, :, columns] = softmax(score) * array(seen)[b][:, None] @ v[:, columns]
    y = layer_norm(array(x) + mixed, block.norm)
    wide, narrow = block.feed_forward[0], block.feed_forward[2]
    hidden = np.maximum(y @ array(wide.weight).T + array(wide.bias), 0)
    expected = layer_norm(y + hidden @ array(narrow.weight).T + array(narrow.bias), block.norm_feed_forward)
    np.testing.assert_allclose(array(block(x, seen)), expected, atol=1e-5)
    # A sequence of which nothing is seen gives the same step everywhere.
    assert block(x, seen)[1].std(0).max() < 1e-6


def test_the_mean_over_time_has_weights_of_gated_steps_and_leaves_out_what_is_not_seen():
    torch.manual_seed(0)
    pool, x = SigmoidAttention(6), torch.randn(2, 5, 6)
    seen = torch.tensor([[True] * 5, [True, False, True, False, False]])
    for b in range(2):
        steps = array(x[b][seen[b]])
        gate = 1 / (1 + np.exp(-steps @ array(pool.gate.weight).T))
        weight = softmax((steps @ array(pool.value.weight).T * gate) @ array(pool.score.weight)[0])
        np.testing.assert_allclose(array(pool(x, seen)[b]), weight @ steps, atol=1e-6)


def test_two_modalities_share_a_projection_and_the_sequences_follow_each_other(batch):
    method = make("tate").eval()
    found, start = method.encode(batch), 0
    for name, pairs in (
        ("vision", ("audio_vision", "text_vision")),
        ("audio", ("audio_vision", "text_audio")),
        ("text", ("text_vision", "text_audio")),
    ):
        sequence = getattr(batch, name)
        x = method.within[name](method.project[name](sequence.values), sequence.observed)
        expected = torch.cat([method.shared[pair](x) for pair in pairs], 2)
        torch.testing.assert_close(found.joint[:, start : start + x.shape[1], :-4], expected)
        start += x.shape[1]
    assert start == found.joint.shape[1] == sum(SPEC.length.values())


@pytest.mark.parametrize("mask", [True, False])
def test_padding_takes_part_only_without_mask_padding(mask):
    batch = make_batch(3, spec=spec_for("tate"), lengths={"audio": 5})
    method = make("tate", mask_padding=mask).eval()
    values, (valid, observed) = (
        batch.audio.values,
        (F.pad(t, (0, 4)) for t in (batch.audio.valid, batch.audio.observed)),
    )
    longer = replace(batch, audio=Sequence(F.pad(values, (0, 0, 0, 4)), valid, observed))
    same = torch.allclose(method.predict(longer).output, method.predict(batch).output, atol=1e-5)
    assert same == mask


def test_dropout_acts_in_training_alone(batch):
    method, without = make("tate", dropout=0.5), make("tate")
    expected = without.predict(batch).output
    torch.testing.assert_close(method.eval().predict(batch).output, expected)
    assert not torch.allclose(method.train().predict(batch).output, expected)


def test_the_divergence_goes_both_ways_is_a_mean_over_steps_and_a_sum_over_samples():
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    seen = torch.tensor([[True] * 4, [True, True, False, False]])
    p, q = Categorical(logits=x), Categorical(logits=y)
    both = kl_divergence(p, q) + kl_divergence(q, p)
    torch.testing.assert_close(divergence(x, y, seen), both[0].mean() + both[1, :2].mean())
    assert divergence(x, x, seen) == 0


@pytest.mark.parametrize("spec", [SPEC, CLASSES])
def test_the_loss_is_summed_over_the_batch_and_has_the_weights_of_the_released_code(spec):
    batch, method = make_batch(7, spec=spec_for("tate", spec)), make("tate", spec=spec_for("tate", spec)).eval()
    found, terms = method.encode(batch), method.loss(batch)
    guide = method._teacher[0].encode(batch.clean).encoded
    decoded = method.decoder(found.encoded, found.seen)
    error = F.l1_loss if spec is SPEC else F.cross_entropy
    squares = sum((p**2).sum() for p in method.head.parameters())
    expected = {
        "sentiment": error(found.output, batch.label, reduction="sum"),
        "penalty": 1e-4 / 2 * squares,
        "guide": 0.1 * divergence(found.encoded, guide, found.seen),
        "reconstruction": 0.1 * divergence(decoded, found.joint, found.seen),
        "tag": 0.1 * (found.pooled[:, -4:].sigmoid() - found.tag).abs().mean(1).mean(),
    }
    assert {k: v.item() for k, v in terms.items()} == pytest.approx({k: v.item() for k, v in expected.items()}, 1e-5)


def test_the_teacher_is_trained_with_a_penalty_of_all_weights(batch):
    teacher = make("tate_teacher").eval()
    terms = teacher.loss(batch)
    assert set(terms) == {"sentiment", "penalty"}
    assert terms["penalty"].item() == pytest.approx(0.5e-4 * sum(array(p**2).sum() for p in teacher.parameters()))


def test_the_guide_is_the_teacher_for_complete_or_incomplete_data_or_the_method_itself(batch):
    methods = {guide: make("tate", guide=guide).eval() for guide in ("complete", "incomplete", "own")}
    teacher = methods["complete"]._teacher[0]
    expected = {
        "complete": teacher.encode(batch.clean).encoded,
        "incomplete": teacher.encode(batch).encoded,
        "own": methods["own"].encode(batch).encoded,
    }
    for guide, method in methods.items():
        found = method.guided(batch)
        torch.testing.assert_close(found, expected[guide])
        assert not found.requires_grad
    # Without dropout, the own output differs in nothing from itself.
    assert methods["own"].loss(batch)["guide"] == 0
    assert make("tate", guide="own", dropout=0.5).train().loss(batch)["guide"] > 0


def test_only_the_terms_that_a_part_serves_reach_the_part(batch):
    method = make("tate").train()
    for term, decoder, head in (("sentiment", False, True), ("reconstruction", True, False), ("guide", False, False)):
        method.zero_grad()
        method.loss(batch)[term].backward()
        assert (method.decoder.query.weight.grad is not None) == decoder
        assert (method.head.weight.grad is not None) == head
        assert method.joint.query.weight.grad.any() and method.project["audio"].weight.grad.any()
    assert all(p.grad is None for p in method._teacher[0].parameters())


def test_a_teacher_of_another_width_is_refused():
    method, teacher = make("tate"), make("tate_teacher", width=12)
    with pytest.raises(ElisionError, match=r"its teacher has 12; set teachers\.tate_teacher\.width: 8"):
        method.start({"tate_teacher": teacher}, None)


def test_official_values_are_those_of_the_released_code():
    mosi, iemocap = (resolve("tate", corpus)[0] for corpus in ("mosi", "iemocap"))
    assert (mosi.epochs, mosi.batch_size, mosi.learning_rate, mosi.dropout) == (15, 32, 1e-3, 0.2)
    assert (mosi.width, mosi.heads, mosi.penalty, iemocap.penalty) == (300, 4, 1e-4, 1e-5)
    assert (mosi.guide_weight, mosi.reconstruction_weight, mosi.tag_weight) == (0.1, 0.1, 0.1)
    assert mosi.corruption == "absent" and resolve("tate_teacher", "mosi")[0].corruption == "complete"
    (optimizer,) = make("tate").optimizers()
    assert type(optimizer) is torch.optim.Adam and optimizer.param_groups[0]["weight_decay"] == 0

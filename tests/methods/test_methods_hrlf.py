import copy
import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from tiny_methods import CLASSES, assert_counts, make, make_batch, rows, spec_for
from torch import nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.hrlf import HRLF, adversarial_value
from elision.methods.hrlf_teacher import Bottleneck, Factorisation, HRLFTeacher
from elision.methods.layers.information import StatisticsNetwork, information_bound
from elision.methods.layers.sequence import SequenceEncoder
from elision.task import MODALITIES

FRF = ("self_translation", "cross_translation", "reconstruction")
# What the codes and the scales are made by.
CODED = {"sequences", "factorisation.sentiment", "factorisation.modality"}
SCALED = {*CODED, "bottleneck"}
LOG2 = math.log(2)


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=spec_for("hrlf"))


@pytest.fixture
def classes_batch() -> Batch:
    return make_batch(7, spec=spec_for("hrlf", CLASSES))


def receivers(method: nn.Module, term: torch.Tensor) -> set[str]:
    """The modules that the gradient of a term reaches."""
    for p in method.parameters():
        p.grad = None
    term.backward(retain_graph=True)
    found = {key for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    names = {*SCALED, "factorisation.decoder", "head", "statistics", "discriminators"}
    return {name for name in names if any(key.startswith(name) for key in found)}


def gradients(module: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


def encoder(**changes) -> SequenceEncoder:
    torch.manual_seed(0)
    sizes = {"heads": 2, "layers": 2, "kernel": 3, "feed_forward": 16, "dropout": 0.0}
    switches = {"pre_norm": True, "bias": False, "last_index": False}
    return SequenceEncoder(5, 8, **{**sizes, **switches, **changes}).eval()


def sequence(valid: int, length: int) -> Sequence:
    torch.manual_seed(1)
    present = (torch.arange(length) < valid).expand(3, -1)
    return Sequence(torch.randn(3, length, 5) * present[..., None], present, present)


def factorisation(error: str = "mean", targets: str = "fixed") -> Factorisation:
    torch.manual_seed(0)
    return Factorisation(6, 3, 5, error=error, targets=targets)


def test_the_vector_of_a_modality_is_its_last_valid_step():
    padded, own = sequence(4, 9), sequence(9, 9)
    own = Sequence(padded.values[:, :4], padded.valid[:, :4], padded.observed[:, :4])
    torch.testing.assert_close(encoder()(padded), encoder()(own))


def test_with_last_index_it_is_the_last_step_of_the_padded_sequence():
    padded, full = sequence(4, 9), sequence(9, 9)
    torch.testing.assert_close(encoder(last_index=True)(full), encoder()(full))
    assert not torch.allclose(encoder(last_index=True)(padded), encoder()(padded), atol=1e-3)


def test_a_modality_without_a_frame_is_read_as_one_frame_of_zeros():
    none, zero = sequence(0, 9), sequence(1, 9)
    zero.values.zero_()
    torch.testing.assert_close(encoder()(none), encoder()(zero))


def test_lost_frames_are_attended_and_have_positions():
    frames = sequence(9, 9)
    one_lost, two_lost = frames.values.clone(), frames.values.clone()
    one_lost[:, 2], two_lost[:, 5] = 0, 0
    found = [encoder()(replace(frames, values=values)) for values in (frames.values, one_lost, two_lost)]
    assert not any(torch.allclose(found[i], found[j], atol=1e-4) for i, j in ((0, 1), (0, 2), (1, 2)))
    still = replace(frames, values=torch.zeros_like(frames.values))
    shorter = Sequence(*(t[:, :5] for t in (still.values, still.valid, still.observed)))
    assert not torch.allclose(encoder()(still), encoder()(shorter), atol=1e-4)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_the_encoder_is_a_convolution_positions_and_transformer_layers_of_their_own(pre_norm):
    module, frames = encoder(pre_norm=pre_norm), sequence(9, 9)
    x = F.conv1d(F.pad(frames.values.transpose(1, 2), (1, 1)), module.convolution.weight).transpose(1, 2)
    # Sines, then cosines, at 1 / 10000^(k / 3), of positions from 1.
    angle = torch.arange(1, 10)[:, None] * torch.exp(-torch.arange(4) * math.log(10000) / 3)
    x = x + torch.cat([angle.sin(), angle.cos()], 1)
    for layer in module.layers:
        attention = layer.self_attn
        y = layer.norm1(x) if pre_norm else x
        mixed = attention(y, y, y, need_weights=True)[0]
        x = x + mixed if pre_norm else layer.norm1(x + mixed)
        z = layer.norm2(x) if pre_norm else x
        z = layer.linear2(layer.linear1(z).relu())
        x = x + z if pre_norm else layer.norm2(x + z)
    expected = F.layer_norm(x, (8,))[:, -1] if pre_norm else x[:, -1]
    torch.testing.assert_close(module(frames), expected)
    first, second = module.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_a_translation_has_the_sentiment_of_one_modality_and_the_modality_of_another():
    module = factorisation()
    vectors = torch.randn(4, 3, 6)
    q, u = module(vectors)
    translated = module.translate(q, u)
    for a, name in enumerate(MODALITIES):
        torch.testing.assert_close(q[:, a], module.sentiment[name](vectors[:, a]))
        torch.testing.assert_close(u[:, a], module.modality[name](vectors[:, a]))
        for b in range(3):
            torch.testing.assert_close(translated[:, a, b], module.decoder(torch.cat([q[:, a], u[:, b]], 1)))


@pytest.mark.parametrize("error", ["mean", "sum"])
def test_the_losses_of_the_factorisation_equal_equations_1_to_3(error):
    module = factorisation(error)
    vectors = torch.randn(4, 3, 6)
    q, u = module(vectors)
    own, cross, recoded = [], [], []
    for a, name in enumerate(MODALITIES):
        for b in range(3):
            z = module.decoder(torch.cat([q[:, a], u[:, b]], 1))
            (own if a == b else cross).append(((z - vectors[:, b]) ** 2).sum(1).mean())
            carried = module.decoder(torch.cat([q[:, b], u[:, a]], 1))
            recoded.append(((module.sentiment[name](carried) - q[:, a]) ** 2).sum(1).mean())
    assert (len(own), len(cross), len(recoded)) == (3, 6, 9)
    expected = dict(zip(FRF, (sum(own) / 3, sum(cross) / 6, sum(recoded) / 9), strict=True))
    widths = dict(zip(FRF, (6, 6, 3) if error == "mean" else (1, 1, 1), strict=True))
    found = module.losses(vectors, q, u)
    assert {k: v.item() for k, v in found.items()} == pytest.approx(
        {k: v.item() / widths[k] for k, v in expected.items()}, rel=1e-5
    )


@pytest.mark.parametrize("targets", ["fixed", "learnt"])
def test_the_gradient_of_the_factorisation_reaches_what_is_to_be_met_only_if_targets_are_learnt(targets):
    module = factorisation(targets=targets)
    vectors = torch.randn(4, 3, 6)
    q, u = (code.detach() for code in module(vectors))
    vectors.requires_grad_()
    found = module.losses(vectors, q, u)
    assert found["self_translation"].requires_grad and found["cross_translation"].requires_grad
    (found["self_translation"] + found["cross_translation"]).backward()
    assert (vectors.grad is not None) == (targets == "learnt")
    # All that learnt targets add to the gradient of the reconstruction is that of -2 (ES - Q) / N.
    q.requires_grad_()
    module.losses(vectors, q, u)["reconstruction"].backward()
    through_translation, q.grad = q.grad.clone(), None
    factorisation(targets="fixed").losses(vectors, q, u)["reconstruction"].backward()
    assert torch.allclose(q.grad, through_translation) == (targets == "fixed")


@pytest.mark.parametrize("relu", [True, False])
def test_the_bottleneck_goes_down_to_d_and_up_again(relu):
    torch.manual_seed(0)
    module, joint = Bottleneck(4, relu=relu), torch.randn(5, 12)
    found = module(joint)
    assert [x.shape[1] for x in found] == [12, 8, 4, 8, 12]
    assert torch.equal(found[0], joint)
    for layer, before, after in zip(module.layers, found[:-1], found[1:], strict=True):
        expected = layer(before)
        inner = relu and after is not found[-1]
        torch.testing.assert_close(after, expected.relu() if inner else expected)
    assert (found[-1] < 0).any()


@pytest.mark.parametrize(("scales", "widths"), [("concatenated", [48, 32, 8]), ("added", [24, 16, 8])])
def test_scales_are_features_of_equal_width_side_by_side_or_their_sum(batch, scales, widths):
    method = make("hrlf_teacher", scales=scales).eval()
    found = method.represent(batch)
    assert [e.shape[1] for e in found.scales] == widths
    joint = torch.cat(found.codes, 2).flatten(1)
    first, second, third = found.scales
    _, narrow, inner, wide, refined = method.bottleneck(joint)
    pairs = [(first, joint, refined), (second, narrow, wide)]
    for scale, a, b in pairs:
        torch.testing.assert_close(scale, torch.cat([a, b], 1) if scales == "concatenated" else a + b)
    torch.testing.assert_close(third, inner)
    torch.testing.assert_close(found.output, method.head(refined).squeeze(1))
    assert torch.equal(method.predict(batch).representation, found.refined)


@pytest.mark.parametrize(("joint", "width"), [("both", 4), ("sentiment_only", 8)])
def test_the_joint_vector_has_3_d_entries_of_both_codes_or_of_the_sentiment_alone(batch, joint, width):
    method = make("hrlf_teacher", joint=joint).eval()
    found = method.represent(batch)
    q, u = found.codes
    assert q.shape == u.shape == (7, 3, width)
    each = [torch.cat([q[:, m], u[:, m]], 1) if joint == "both" else q[:, m] for m in range(3)]
    torch.testing.assert_close(found.scales[0][:, :24], torch.cat(each, 1))


@pytest.mark.parametrize("factorisation", [True, False])
def test_only_with_our_initial_weights_does_the_first_output_depend_on_the_input(factorisation):
    def deviation(initialisation: str) -> float:
        changes = {"initialisation": initialisation, "factorisation": factorisation}
        h, spec = resolve("hrlf_teacher", "iemocap", changes)[0], spec_for("hrlf_teacher", CLASSES)
        torch.manual_seed(0)
        method = HRLFTeacher(h, spec, nn.Identity()).eval()
        return method.predict(make_batch(64, spec=spec, lost=0.0)).output.std(0).mean().item()

    assert deviation("pytorch") < 0.02
    assert 0.1 < deviation("kaiming") < 3
    assert resolve("hrlf", "iemocap")[0].initialisation == "kaiming"


def test_the_teacher_learns_from_the_task_and_the_factorisation(batch):
    method = make("hrlf_teacher").eval()
    terms = method.loss(batch)
    assert set(terms) == {"sentiment", *FRF}
    error = ((method.predict(batch).output - batch.label) ** 2).mean()
    assert terms["sentiment"].item() == pytest.approx(error.item(), rel=1e-5)
    assert receivers(method, terms["sentiment"]) == {*SCALED, "head"}
    for name in FRF:
        assert receivers(method, terms[name]) == {*CODED, "factorisation.decoder"}
    assert set(make("hrlf_teacher", factorisation_loss=False).loss(batch)) == {"sentiment"}
    assert make("hrlf_teacher").hyperparameters.corruption == "complete"


def test_classes_have_the_cross_entropy(classes_batch):
    method = make("hrlf_teacher", spec=spec_for("hrlf_teacher", CLASSES)).eval()
    expected = F.cross_entropy(method.predict(classes_batch).output, classes_batch.label)
    assert method.loss(classes_batch)["sentiment"].item() == pytest.approx(expected.item())


def test_training_is_that_of_the_paper_for_each_corpus_apart_from_the_learning_rate_of_iemocap():
    published = {"mosi": (50, 128, 1e-3, 10), "mosei": (20, 16, 2e-3, 8), "iemocap": (30, 32, 1e-3, 10)}
    for corpus, expected in published.items():
        for name in ("hrlf_teacher", "hrlf"):
            h, _ = resolve(name, corpus)
            assert (h.epochs, h.batch_size, h.learning_rate, h.heads) == expected
            assert (h.width, h.kernel, h.layers, h.weight_decay, h.gradient_clip) == (40, 3, 4, 0, 1)
            assert name == "hrlf_teacher" or h.adversarial_weight == 1
            assert h.corruption == ("combined" if name == "hrlf" else "complete")
    assert {type(optimizer) for optimizer in make("hrlf").optimizers()} == {torch.optim.Adam}


def test_heads_must_divide_the_width():
    with pytest.raises(ValidationError, match="8 heads do not divide a width of 20"):
        HRLF.Hyperparameters(width=20, heads=8)


def test_parameter_counts_follow_from_the_widths(official_method):
    d, k, hidden, classes = 40, 20, 40, 4
    layer = 4 * (d * d + d) + 2 * d * 160 + 160 + d + 4 * d
    sequences = {
        name: 3 * d * inputs + 4 * layer + 2 * d for name, inputs in zip(MODALITIES, (1024, 130, 342), strict=True)
    }
    code = d * hidden + hidden + hidden * k + k
    decoder = 2 * k * hidden + hidden + hidden * d + d
    bottleneck = sum(a * b + b for a, b in ((120, 80), (80, 40), (40, 80), (80, 120)))
    expected = {f"sequences.{name}": count for name, count in sequences.items()}
    expected |= {"factorisation": 6 * code + decoder, "bottleneck": bottleneck, "head": 120 * classes + classes}
    assert_counts(official_method("hrlf_teacher", "iemocap"), {**expected, "": sum(expected.values())})
    widths = (240, 160, 40)
    expected["statistics"] = sum(2 * w * 128 + 128 + 128 * 128 + 128 + 129 for w in widths)
    expected["discriminators"] = sum(w * 128 + 128 + 129 for w in widths)
    assert_counts(official_method("hrlf", "iemocap"), {**expected, "": sum(expected.values())})


def test_the_learning_rate_is_halved_on_a_plateau_if_one_is_watched():
    steady, watching = make("hrlf_teacher"), make("hrlf_teacher", plateau_patience=1)
    for method in (steady, watching):
        for error in (1.0, 1.0, 1.0):
            method.on_epoch_end(error)
    assert (steady.learning_rate_factor(4), watching.learning_rate_factor(4)) == (1.0, 0.5)


def test_the_bound_of_the_information_has_its_known_values():
    zeros, sure = torch.zeros(5), torch.full((5,), 50.0)
    assert information_bound(zeros, zeros).item() == pytest.approx(-2 * LOG2)
    assert information_bound(sure, -sure).item() == pytest.approx(0, abs=1e-6)
    assert information_bound(-sure, sure).item() == pytest.approx(-100)
    joint, marginal = torch.tensor([1.0, -2.0]), torch.tensor([0.5])
    expected = -(math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2 - math.log(1 + math.exp(0.5))
    assert information_bound(joint, marginal).item() == pytest.approx(expected)


def test_the_value_of_the_game_has_its_known_values():
    zeros, sure = torch.zeros(5, 1), torch.full((5, 1), 50.0)
    assert adversarial_value(zeros, zeros).item() == pytest.approx(-2 * LOG2)
    assert adversarial_value(-sure, sure).item() == pytest.approx(0, abs=1e-6)
    student, teacher = torch.tensor([[1.0]]), torch.tensor([[3.0]])
    expected = math.log(1 - 1 / (1 + math.exp(-1))) + math.log(1 / (1 + math.exp(-3)))
    assert adversarial_value(student, teacher).item() == pytest.approx(expected)


@pytest.mark.parametrize("strangers", [1, 3])
def test_samples_are_paired_with_themselves_and_with_the_teachers_features_of_others(strangers):
    torch.manual_seed(0)
    net, (teacher, student) = StatisticsNetwork(4, 6), torch.randn(2, 5, 4)
    joint = torch.stack([net(teacher[i : i + 1], student[i : i + 1]) for i in range(5)])
    others = [net(teacher[(i - n) % 5][None], student[i : i + 1]) for n in range(1, strangers + 1) for i in range(5)]
    expected = -F.softplus(-joint).mean() - F.softplus(torch.stack(others)).mean()
    assert net.information(teacher, student, strangers).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_bound_rises_when_features_of_teacher_and_student_belong_together():
    torch.manual_seed(0)
    teacher = torch.randn(64, 4)
    bounds = []
    for student in (teacher.clone(), torch.randn(64, 4)):
        net = StatisticsNetwork(4, 32)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(60):
            order = torch.randperm(64)
            optimizer.zero_grad()
            (-net.information(teacher[order], student[order], 1)).backward()
            optimizer.step()
        bounds.append(net.information(teacher, student, 1).item())
    assert bounds[0] > bounds[1] + 0.3


@pytest.mark.parametrize("adversary", ["minimax", "non_saturating"])
def test_every_term_of_the_student_equals_its_definition(batch, adversary):
    switches = {"adversary": adversary, "score_distillation": "squared_error", "start_from_teacher": False}
    method = make("hrlf", **switches, adversarial_weight=0.5).eval()
    (teacher,) = method._teacher
    own, its = method.represent(batch), teacher.represent(batch.clean)
    pairs = list(zip(own.scales, its.scales, strict=True))
    bounds = [net.information(e_t, e_s, 1) for net, (e_s, e_t) in zip(method.statistics, pairs, strict=True)]
    judged = [
        (de(e_s).sigmoid(), de(e_t).sigmoid()) for de, (e_s, e_t) in zip(method.discriminators, pairs, strict=True)
    ]
    fooled = {"minimax": lambda s: (1 - s).log(), "non_saturating": lambda s: -s.log()}[adversary]
    expected = {
        "sentiment": ((method.predict(batch).output - batch.label) ** 2).mean(),
        **method.factorisation.losses(own.vectors, *own.codes),
        "information": -sum(bounds),
        "adversarial": 0.5 * sum(fooled(s).mean() for s, _ in judged),
        "discriminators": -sum((1 - s).log().mean() + t.log().mean() for s, t in judged),
        "distillation": ((own.output - its.output) ** 2).mean(),
    }
    terms = method.loss(batch)
    assert {n: t.item() for n, t in terms.items()} == pytest.approx(
        {n: t.item() for n, t in expected.items()}, rel=1e-4
    )


def test_the_output_of_classes_follows_the_teachers_by_the_divergence_from_it(classes_batch):
    method = make("hrlf", spec=spec_for("hrlf", CLASSES), start_from_teacher=False).eval()
    p = Categorical(logits=method.teach(classes_batch).output)
    q = Categorical(logits=method.predict(classes_batch).output)
    found = method.loss(classes_batch)["distillation"].item()
    assert found == pytest.approx(kl_divergence(p, q).mean().item(), rel=1e-4)
    assert found != pytest.approx(kl_divergence(q, p).mean().item(), rel=1e-4)
    assert method.distil(p.logits, p.logits).item() == pytest.approx(0, abs=1e-6)


def test_the_student_sees_the_corrupted_data_and_the_teacher_the_complete(batch):
    method = make("hrlf").eval()
    (teacher,) = method._teacher
    assert torch.equal(method.teach(batch).output, teacher.predict(batch.clean).output)
    assert not torch.allclose(method.teach(batch).output, teacher.predict(batch).output)
    assert not any(e.requires_grad for e in method.teach(batch).scales)


def test_gradients_reach_what_each_term_reads_and_never_the_teacher(batch):
    method = make("hrlf", score_distillation="squared_error").train()
    coded = {*CODED, "factorisation.decoder"}
    expected = {
        "sentiment": {*SCALED, "head"},
        **dict.fromkeys(FRF, coded),
        "information": {*SCALED, "statistics"},
        "adversarial": SCALED,
        "discriminators": {"discriminators"},
        "distillation": {*SCALED, "head"},
    }
    terms = method.loss(batch)
    assert {name: receivers(method, term) for name, term in terms.items()} == expected
    assert all(p.grad is None for p in method._teacher[0].parameters())


def test_a_reversed_gradient_plays_both_sides_of_the_game_at_once(batch):
    reversing, alternating = (
        make("hrlf", adversary=kind, adversarial_weight=1.0, start_from_teacher=False).eval()
        for kind in ("gradient_reversal", "minimax")
    )
    assert all(torch.equal(p, q) for p, q in zip(reversing.parameters(), alternating.parameters(), strict=True))
    terms, others = reversing.loss(batch), alternating.loss(batch)
    assert "discriminators" not in terms
    assert torch.equal(terms["adversarial"], others["discriminators"])
    terms["adversarial"].backward()
    (others["discriminators"] + others["adversarial"]).backward()
    for name in ("sequences", "factorisation.sentiment", "bottleneck", "discriminators"):
        pairs = zip(*(gradients(each.get_submodule(name)) for each in (reversing, alternating)), strict=True)
        assert all(torch.allclose(p, q, atol=1e-7) for p, q in pairs)


def test_only_the_game_that_does_not_saturate_drives_a_student_that_is_known_for_sure(batch):
    pulls = {}
    for kind in ("minimax", "non_saturating"):
        method = make("hrlf", adversary=kind, adversarial_weight=1.0).eval()
        with torch.no_grad():
            for judge in method.discriminators:
                judge[-1].bias.fill_(-20.0)  # the student, says each
        method.loss(batch)["adversarial"].backward()
        pulls[kind] = nn.utils.get_total_norm(gradients(method.sequences)).item()
    assert pulls["minimax"] < 1e-6 < 1e-3 < pulls["non_saturating"]


def test_the_student_is_judged_by_discriminators_that_have_just_moved(batch):
    method = make("hrlf").eval()
    before = copy.deepcopy(method)
    optimizers = method.optimizers()
    terms = method.update(batch, optimizers, 0)
    assert terms["discriminators"].item() == pytest.approx(before.loss(batch)["discriminators"].item())
    moved = before.discriminators.load_state_dict(method.discriminators.state_dict())
    assert not moved.missing_keys
    assert terms["adversarial"].item() == pytest.approx(before.loss(batch)["adversarial"].item(), rel=1e-5)
    assert all(p.grad is None for p in method._teacher[0].parameters())


def test_gradients_of_accumulated_batches_are_summed_and_an_incomplete_group_is_dropped(batch, monkeypatch):
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *_, **__: None)
    method = make("hrlf", accumulate=2).eval()
    optimizers = method.optimizers()
    start = [p.clone() for p in method.parameters()]
    method.update(batch, optimizers, 0)
    once = {name: gradients(method.get_submodule(name)) for name in ("statistics", "discriminators", "head")}
    for again in (0, 1):  # the first batch of the next epoch, and the second
        assert all(torch.equal(p, q) for p, q in zip(method.parameters(), start, strict=True))
        method.update(batch, optimizers, again)
        for name, first in once.items():
            for p, q in zip(gradients(method.get_submodule(name)), first, strict=True):
                torch.testing.assert_close(p, (1 + again) * q)
    for name in ("sequences", "statistics", "discriminators"):
        count = len(list(method.get_submodule(name).parameters()))
        assert count and not all(p.grad is None for p in method.get_submodule(name).parameters())
    assert not any(torch.equal(p, q) for p, q in zip(method.parameters(), start, strict=True) if p.grad.any())


def test_the_gradients_of_student_statistics_and_discriminators_are_clipped_apart(batch):
    method = make("hrlf", gradient_clip=1e-3)
    torch.stack(list(method.loss(batch).values())).sum().backward()
    method.after_backward()
    parts = method.parts()
    assert [len(part) for part in parts[1:]] == [3 * 6, 3 * 4]
    assert sum(map(len, parts)) == len(list(method.parameters()))
    for part in parts:
        norm = nn.utils.get_total_norm([p.grad for p in part if p.grad is not None])
        assert norm.item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("switch", "module", "terms"),
    [
        ("factorisation", "factorisation", set(FRF)),
        ("information", "statistics", {"information"}),
        ("adversarial", "discriminators", {"adversarial", "discriminators"}),
    ],
)
def test_an_ablation_takes_away_its_module_and_its_terms_and_nothing_else(batch, switch, module, terms):
    full, without = make("hrlf"), make("hrlf", **{switch: False})
    assert set(full.loss(batch)) - set(without.loss(batch)) == terms
    assert set(without.loss(batch)) < set(full.loss(batch))
    names, fewer = ({name for name, _ in method.named_parameters()} for method in (full, without))
    assert fewer == {name for name in names if not name.startswith(module)}
    learnt = without.train().update(batch, without.optimizers(), 0)
    assert set(learnt) == set(without.loss(batch))


def test_without_the_three_parts_the_student_is_a_network_that_follows_the_teacher(batch):
    switches = dict.fromkeys(("factorisation", "information", "adversarial"), False)
    method = make("hrlf", **switches, score_distillation="squared_error").eval()
    found = method.represent(batch)
    assert found.codes is None
    assert torch.equal(found.scales[0][:, :24], found.vectors.flatten(1))
    assert set(method.loss(batch)) == {"sentiment", "distillation"}
    assert len(method.optimizers()) == 1
    assert set(make("hrlf", **switches).loss(batch)) == {"sentiment"}


def test_the_student_starts_from_the_weights_of_the_teacher_or_from_its_own(batch):
    student = make("hrlf").eval()
    (teacher,) = student._teacher
    # Without gradients both take PyTorch's fast path of attention, whose last bit may be another.
    with torch.no_grad():
        assert torch.equal(student.predict(batch).output, teacher.predict(batch).output)
    own = make("hrlf", start_from_teacher=False).eval()
    assert not torch.allclose(own.predict(batch).output, teacher.predict(batch).output)
    before = [p.clone() for p in teacher.parameters()]
    student.train().update(batch, student.optimizers(), 0)
    assert not torch.equal(student.head.weight, teacher.head.weight)
    assert all(torch.equal(p, q) for p, q in zip(teacher.parameters(), before, strict=True))


def test_a_student_without_factorisation_starts_from_what_it_shares_with_the_teacher():
    student = make("hrlf", factorisation=False)
    (teacher,) = student._teacher
    assert torch.equal(student.head.weight, teacher.head.weight)
    assert torch.equal(student.bottleneck.layers[0].weight, teacher.bottleneck.layers[0].weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 12}, "width is 8, but its teacher has 12; set teachers.hrlf_teacher.width: 8"),
        ({"scales": "added"}, "scales is 'concatenated', but its teacher has 'added'"),
        ({"layers": 2}, "sequences has another shape in its teacher.*start_from_teacher"),
    ],
)
def test_a_teacher_of_other_sizes_is_an_error(changes, message):
    student, teacher = make("hrlf"), make("hrlf_teacher", **changes)
    with pytest.raises(ElisionError, match=message):
        student.start({"hrlf_teacher": teacher}, None)


def test_a_student_with_weights_of_its_own_may_be_deeper_than_its_teacher(batch):
    student = make("hrlf", start_from_teacher=False)
    student.start({"hrlf_teacher": make("hrlf_teacher", layers=2).eval().requires_grad_(False)}, None)
    assert student.loss(batch)["information"].isfinite()


def test_the_teacher_is_no_part_of_the_method(batch):
    method = make("hrlf").train()
    (teacher,) = method._teacher
    assert isinstance(teacher, HRLFTeacher) and not isinstance(teacher, HRLF)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    method.update(batch, method.optimizers(), 0)
    assert not any("teacher" in key for key in method.state_dict())
    assert not {id(p) for p in method.parameters()} & {id(p) for p in teacher.parameters()}
    assert {id(p) for p in method.parameters()} == {
        id(p) for optimizer in method.optimizers() for group in optimizer.param_groups for p in group["params"]
    }
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not teacher.training


def test_without_a_teacher_it_predicts_as_with_one_once_its_weights_are_loaded(batch):
    method = make("hrlf").train()
    method.update(batch, method.optimizers(), 0)
    other = type(method)(method.hyperparameters, method.spec, nn.Identity()).eval()
    other.start({}, None)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).output, method.eval().predict(batch).output)


def test_discriminators_and_statistics_networks_take_no_part_in_a_prediction(batch):
    method = make("hrlf").eval()
    before = method.predict(batch).output
    with torch.no_grad():
        for p in (*method.statistics.parameters(), *method.discriminators.parameters()):
            p.fill_(torch.nan)
    assert torch.equal(method.predict(batch).output, before)


def test_one_sample_is_enough_for_a_step(batch):
    method = make("hrlf").train()
    terms = method.update(rows(batch, torch.tensor([2])), method.optimizers(), 0)
    assert all(term.isfinite() for term in terms.values())

"""MoMKE: the mixture against loops over utterances, the two stages, the best epoch of the experts."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from test_methods_waiting import Waiting, gathered
from tiny_methods import CLASSES, SPEC, assert_counts, learn, make, make_batch, spec_for

from elision.batch import Batch, Dialogues
from elision.methods import build, resolve
from elision.methods.layers.text_encoder import StubEncoder
from elision.methods.layers.utterance import mean_over_time
from elision.methods.momke import MoMKE
from elision.task import MODALITIES, DataSpec, TaskKind
from elision.training.loop import fused_optimizers

LENGTHS = torch.tensor([4, 1, 2])


def momke(base: DataSpec = SPEC, **overrides) -> MoMKE:
    return make("momke", spec=spec_for("momke", base), **overrides)


def conversation(base: DataSpec = SPEC, absent: tuple[str, ...] = (), seed: int = 1) -> Batch:
    batch = make_batch(7, spec=spec_for("momke", base), lost=0.2, absent=absent, seed=seed)
    batch.dialogues = batch.clean.dialogues = Dialogues.of(LENGTHS)
    return batch


def second_stage(method: MoMKE) -> MoMKE:
    method.on_epoch_start(method.hyperparameters.epochs)
    return method


def official(classes: int) -> MoMKE:
    kind = {"task": TaskKind.CLASSIFICATION, "classes": tuple("abcdef"[:classes])} if classes > 1 else {}
    corpus, length = "iemocap" if classes > 1 else "mosi", dict.fromkeys(MODALITIES, 1)
    sizes = DataSpec(corpus, 512, 1024, length, 100, "minilm", text=1024, speakers=2, **kind)
    with torch.device("meta"):
        return build("momke", resolve("momke", corpus)[0], sizes, StubEncoder(1024))


@pytest.mark.parametrize(("classes", "total"), [(1, 5_395_469), (4, 5_400_089), (6, 5_403_169)])
def test_parameter_counts_equal_the_official_ones(classes, total):
    assert_counts(
        official(classes),
        {
            "": total,
            "project.audio": 131_328,
            "project.text": 262_400,
            "project.vision": 262_400,
            "experts": 3_947_520,
            "join": 590_592,
            "routers": 3 * 66_563,
            "expert_heads": 3 * 257 * classes,
            "head": 769 * classes,
        },
    )


@pytest.mark.parametrize("name", MODALITIES)
def test_an_expert_equals_a_loop_over_turns_and_heads(name):
    method = momke().eval()
    expert, heads = method.experts[name], method.hyperparameters.heads
    x = torch.randn(4, 16)
    heard = torch.tensor([True, False, True, False])
    expected = x.clone()
    for unit in expert.units:
        query, key, value = unit.query(expected), unit.key(expected), unit.value(expected)
        attended = torch.zeros_like(expected)
        for turn in range(4):
            for part in torch.arange(16).chunk(heads):
                scores = [(query[turn, part] @ key[other, part]).item() * (16 / heads) ** -0.5 for other in (0, 2)]
                weights = torch.tensor(scores).softmax(0)
                attended[turn, part] = weights[0] * value[0, part] + weights[1] * value[2, part]
        expected = expected + attended + unit.perceptron(attended)
    torch.testing.assert_close(expert(x[None], heard[None])[0], expected)


def test_turns_that_hear_nobody_get_what_the_perceptron_makes_of_zeros():
    unit = momke().eval().experts["text"].units[0]
    found = unit(torch.randn(1, 3, 16), torch.zeros(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found, unit.perceptron(torch.zeros(1, 3, 16)))


def test_the_mixture_weighs_all_experts_for_each_available_modality():
    method, batch = second_stage(momke()).eval(), conversation(absent=("vision",))
    dialogues, joined = batch.dialogues, []
    for name in ("text", "audio"):
        sequence = getattr(batch, name)
        here = sequence.observed.any(1)
        vector = method.project[name](mean_over_time(sequence) * here[:, None])
        weights = method.routers[name](vector).softmax(1)
        made = [
            dialogues.flat(method.experts[expert](dialogues.padded(vector), dialogues.padded(here)))
            for expert in MODALITIES
        ]
        joined.append(here[:, None] * sum(weights[:, i : i + 1] * each for i, each in enumerate(made)))
    joined = torch.cat([*joined, torch.zeros(7, 16)], 1)
    expected = joined + method.join(joined).relu()
    found = method.predict(batch)
    torch.testing.assert_close(found.representation, expected)
    torch.testing.assert_close(found.output, method.head(expected).squeeze(1))


@pytest.mark.parametrize("base", [SPEC, CLASSES], ids=["regression", "classification"])
def test_in_the_first_stage_each_expert_learns_the_complete_data_of_its_modality(base):
    method, batch = momke(base).train(), conversation(base, absent=("text",))
    terms = method.loss(batch)
    assert set(terms) == set(MODALITIES)
    torch.testing.assert_close(method.loss(replace(batch.clean, clean=batch.clean)), terms)
    outputs, _ = method.expert_outputs(batch.clean)
    for name, term in terms.items():
        torch.testing.assert_close(term, method.error(method.readout(outputs[name]), batch.label))
        method.zero_grad()
        term.backward(retain_graph=True)
        moved = {key.split(".")[1] for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {name}


def test_the_second_stage_learns_one_loss_and_trains_everything_but_the_heads_of_the_experts():
    method, batch = second_stage(momke()).train(), conversation()
    terms = method.loss(batch)
    torch.testing.assert_close(terms, {"label": method.error(method.predict(batch).output, batch.label)})
    terms["label"].backward()
    still = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is None}
    assert still == {"expert_heads"}


def test_an_utterance_that_never_had_a_modality_teaches_its_expert_nothing():
    method, batch = momke().train(), conversation()
    audio = batch.clean.audio
    observed = audio.observed.clone()
    observed[3:] = False
    batch.clean = replace(
        batch.clean, audio=replace(audio, observed=observed, values=audio.values * observed[..., None])
    )
    outputs, _ = method.expert_outputs(batch.clean)
    expected = method.error(outputs["audio"][:3].squeeze(1), batch.label[:3])
    torch.testing.assert_close(method.loss(batch)["audio"], expected)


@pytest.mark.parametrize(("epochs", "share", "first"), [(300, 0.5, 150), (5, 0.5, 2), (1, 0.5, 0), (10, 0.0, 0)])
def test_the_experts_have_a_share_of_the_epochs(epochs, share, first):
    method = momke(epochs=epochs, expert_share=share)
    stages = []
    for epoch in range(1, epochs + 1):
        method.on_epoch_start(epoch)
        stages.append(set(method.loss(conversation())) == set(MODALITIES) if epoch in (1, first, first + 1) else None)
    assert method.expert_epochs == first
    assert stages[first] is False
    assert not first or stages[first - 1] is True


def first_stage(method: MoMKE, errors: list[list[float]]) -> list[dict[str, torch.Tensor]]:
    """Let a first stage pass in which the experts have given errors, and weights that are the number of the epoch."""
    states = []
    for epoch, each in enumerate(errors, start=1):
        method.on_epoch_start(epoch)
        for parameter in method.parameters():
            torch.nn.init.constant_(parameter, epoch)
        method.errors.copy_(torch.tensor(each))
        method.on_epoch_end(0.0)
        states.append({name: p.detach().clone() for name, p in method.named_parameters()})
    return states


ERRORS = [[3.0, 1.0, 2.0], [2.0, 2.0, 1.0], [1.0, 3.0, 2.0]]  # best epochs: text 3, audio 1, vision 2


def test_each_expert_and_its_projection_go_back_to_their_best_epoch():
    method = momke(epochs=6)
    *before, after = first_stage(method, ERRORS)
    assert all((p == 2).all() for p in before[1].values())
    best = {"text": 3, "audio": 1, "vision": 2}
    for name, parameter in after.items():
        part, modality = name.split(".")[0], name.split(".")[1]
        assert (parameter == (best[modality] if part in ("experts", "project") else 3)).all(), name


def test_the_released_code_goes_on_with_the_last_weights():
    method = momke(epochs=6, restore="last")
    assert all((p == 3).all() for p in first_stage(method, ERRORS)[-1].values())
    assert not any(name.startswith("best_") and name != "best_errors" for name in method.state_dict())


def test_a_training_that_goes_on_from_a_saved_state_restores_the_same_experts():
    method, other = momke(epochs=6), momke(epochs=6)
    first_stage(method, ERRORS[:2])
    other.load_state_dict(method.state_dict())
    for each in (method, other):
        each.on_epoch_start(3)
        each.errors.copy_(torch.tensor(ERRORS[2]))
        each.on_epoch_end(0.0)
    torch.testing.assert_close(method.state_dict(), other.state_dict(), rtol=0, atol=0)
    assert (method.project["audio"].weight == 1).all()


def test_the_error_of_an_expert_is_that_of_an_epoch():
    method = momke().train()
    batches = [conversation(seed=1), conversation(seed=2)]
    optimizers = method.optimizers()
    for group in optimizers[0].param_groups:
        group["lr"] = 0.0
    learn(method, batches, optimizers, epoch=1)
    expected = sum(torch.stack([method.loss(batch)[name] for name in MODALITIES]) * 7 for batch in batches)
    torch.testing.assert_close(method.errors, expected.detach())
    method.on_epoch_start(2)
    assert not method.errors.any()


def test_only_the_released_code_drops_logits_of_the_routers():
    for drops in (False, True):
        router = momke(drop_router_logits=drops, dropout=0.5).routers["text"].train()
        torch.nn.init.constant_(router.out.weight, 0.0)
        torch.nn.init.constant_(router.out.bias, 1.0)
        assert bool((router(torch.randn(50, 16)) == 0).any()) is drops


def test_the_mixture_sees_some_modalities_and_the_experts_all():
    method, some = momke(mixture_modalities=("text",)), conversation(absent=("audio", "vision"))
    whole = replace(some, audio=some.clean.audio, vision=some.clean.vision)
    assert all(term > 0 for term in method.train().loss(whole).values())
    torch.testing.assert_close(method.expert_outputs(whole.clean)[1], torch.ones(3, 7, dtype=torch.bool))
    method.eval()
    assert torch.equal(method.predict(whole).output, method.predict(some).output)
    assert not torch.equal(momke().eval().predict(whole).output, method.predict(whole).output)


def test_weights_of_the_second_stage_alone_are_kept():
    method = momke(epochs=6)
    kept = []
    for epoch in range(1, 7):
        method.on_epoch_start(epoch)
        kept.append(method.selectable)
    assert kept == [False] * 3 + [True] * 3
    assert momke(epochs=1).selectable


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValidationError, match="3 heads do not divide a width of 256"):
        MoMKE.Hyperparameters(heads=3)


def test_other_dialogues_of_a_batch_change_nothing_and_the_own_dialogue_does():
    method, batch = second_stage(momke()).eval(), conversation()
    alone = replace(batch, dialogues=Dialogues.alone(7, "cpu"))
    found, expected = method.predict(alone).output, method.predict(batch).output
    torch.testing.assert_close(found[4], expected[4])
    assert not torch.isclose(found[:4], expected[:4]).any()


def test_the_second_stage_never_waits_for_the_device(monkeypatch):
    method, batch = momke().train(), gathered(make_batch(7, spec=spec_for("momke")))
    optimizers = fused_optimizers(method)
    with monkeypatch.context() as patch, Waiting(patch) as waiting:
        learn(method, [batch, batch], optimizers, epoch=method.hyperparameters.epochs)
    assert not waiting.found

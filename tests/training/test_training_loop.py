import fcntl
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertModel

from elision import methods
from elision.corruption.plan import Plan, conditions, draw
from elision.errors import ElisionError
from elision.evaluation.predict import Evaluation, read_run
from elision.methods import load
from elision.methods.mmim import MMIM
from elision.methods.self_mm import SelfMM
from elision.settings.params import Params
from elision.store import Sequences, Store
from elision.training import loop
from elision.training.loop import fused_optimizers, train
from elision.training.run import Run, choose_device
from elision.training.selection import Selection

RECIPE = {"step": "train", "identity": "abc"}


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> str:
    """A folder with a random BERT of two small layers."""
    folder = tmp_path_factory.mktemp("bert")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=2100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def tiny(store, tiny_bert) -> Store:
    """The small store with a text encoder that trains in an instant."""
    text = store.modalities["text"]
    header = text.header.model_copy(update={"extractor": tiny_bert})
    modalities = {**store.modalities, "text": Sequences(text.values, text.offsets, header)}
    return Store(store.samples, modalities, store.provenance)


def params(method="self_mm", selection="valid", **overrides):
    if method != "majority":
        overrides = {"epochs": 4, "batch_size": 4, "accumulate": 1, **overrides}
    return Params(
        datasets={"demo": {"source": "demo"}},
        methods=[{"mine": {"method": method, **overrides}}],
        seeds=[3],
        train={"device": "cpu", "selection": selection},
    )


def run(settings, store, folder, plan=None):
    train(Run(settings, "demo", "mine", "seed-3"), store=store, plan=plan, folder=folder, recipe=RECIPE)
    return load_file(folder / "model.safetensors"), json.loads((folder / "run.json").read_text())


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("method", "small", "again"),
    [
        *[
            (method, 1 << 40, [3, 4])
            for method in ("self_mm", "lnln", "qdrf", "text_only", "mmim", "mult", "tfr_net", "linear_probe")
        ],
        ("self_mm", 0, [2, 3, 4]),  # what is not small is saved once, as `_SAVING` stands here
    ],
)
def test_a_run_that_was_killed_ends_in_the_same_weights(tiny, tmp_path, monkeypatch, method, small, again):
    monkeypatch.setattr(loop, "_SMALL", small)
    monkeypatch.setattr(loop, "_SAVING", 1e-9)
    settings = params(method)
    undisturbed, record = run(settings, tiny, tmp_path / "whole")
    epoch = loop._Loop._epoch

    def killed(self, number):
        if number == 3:
            raise KeyboardInterrupt
        return epoch(self, number)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop._Loop, "_epoch", killed)
        run(settings, tiny, tmp_path / "broken")
    assert not (tmp_path / "broken" / "run.json").exists()
    began = []
    monkeypatch.setattr(loop._Loop, "_epoch", lambda self, number: began.append(number) or epoch(self, number))
    resumed, found = run(settings, tiny, tmp_path / "broken")
    assert began == again
    assert equal(undisturbed, resumed)
    assert found["checkpoints"] == record["checkpoints"]
    histories = [pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "broken")]
    pd.testing.assert_frame_equal(*histories)


def test_a_frozen_text_encoder_encodes_the_validation_split_once(tiny, tmp_path, monkeypatch):
    method, forward, given = "text_only", BertModel.forward, []

    def noted(self, *args, **inputs):
        if torch.is_inference_mode_enabled():
            given.append(inputs["input_ids"].tolist())
        return forward(self, *args, **inputs)

    monkeypatch.setattr(BertModel, "forward", noted)
    frozen = run(params(method, finetune_text_encoder=False), tiny, tmp_path / "once")
    assert given == [each for k, each in enumerate(given) if each not in given[:k]] != []
    once = len(given)
    monkeypatch.setattr(loop, "remembering", lambda _model: nullcontext())
    again = run(params(method, finetune_text_encoder=False), tiny, tmp_path / "always")
    assert len(given) == once + 4 * once
    assert equal(frozen[0], again[0]) and frozen[1]["checkpoints"] == again[1]["checkpoints"]
    given.clear()
    run(params(method, finetune_text_encoder=True), tiny, tmp_path / "trained")
    assert len(given) == 4 * once


def test_a_run_that_goes_on_after_an_upgrade_records_both_versions_and_says_so(tiny, tmp_path, monkeypatch, capsys):
    epoch = loop._Loop._epoch

    def killed(self, number):
        if number == 3:
            raise KeyboardInterrupt
        return epoch(self, number)

    def upgraded(version):
        monkeypatch.setattr(loop, "versions", lambda *steps: {"numpy": "2.4.6", "torch": version})

    upgraded("2.13.0")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop._Loop, "_epoch", killed)
        run(params(), tiny, tmp_path / "run")
    upgraded("2.14.1")
    _, record = run(params(), tiny, tmp_path / "run")
    assert record["versions"]["torch"] == "2.13.0 and 2.14.1"
    assert record["versions"]["numpy"] == "2.4.6"
    assert "other versions of libraries than it began with (torch 2.13.0 and 2.14.1)" in capsys.readouterr().out
    _, other = run(params(), tiny, tmp_path / "other")
    assert other["versions"]["torch"] == "2.14.1"


def test_a_finished_run_leaves_its_weights_its_history_and_its_record(tiny, tmp_path):
    weights, record = run(params(), tiny, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "history.csv",
        "model.safetensors",
        "run.json",
    ]
    assert all(name.startswith("valid/") for name in weights)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    best = record["checkpoints"]["valid"]
    assert best["score"] == pytest.approx(history["valid_mae"].min())
    assert best["epoch"] == history["valid_mae"].idxmin() + 1
    assert record["hyperparameters"]["epochs"] == 4
    assert record["provenance"] == {**RECIPE, "data": "fixture"}
    assert record["seconds_per_epoch"] > 0
    assert 0 < record["seconds_per_sample"] < record["seconds_per_epoch"]
    assert record["peak_memory_mb"] > 0


def test_every_pass_of_an_epoch_sees_the_samples_in_an_order_of_its_own(tiny, tmp_path, monkeypatch):
    seen, update = [], MMIM.update

    def remember(self, batch, optimizers, step):
        seen.append((self.stage, step, batch.index.tolist()))
        return update(self, batch, optimizers, step)

    monkeypatch.setattr(MMIM, "update", remember)
    run(params("mmim", epochs=1, bound_share=0.5), tiny, tmp_path / "run")
    count = len(tiny.rows("train"))
    first, second = ([sample for stage, _, index in seen if stage == one for sample in index] for one in (0, 1))
    assert [(stage, step) for stage, step, _ in seen] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert sorted(second) == list(range(count)) and len(first) == 8 and first != second[:8]
    row = pd.read_csv(tmp_path / "run" / "history.csv").iloc[0]
    assert row["loss"] == pytest.approx(row[["fit", "sentiment", "contrast", "likelihood", "entropy"]].sum())


def test_a_seed_decides_the_weights_whatever_the_global_state(tiny, tmp_path):
    torch.manual_seed(1)
    first, _ = run(params(), tiny, tmp_path / "a")
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second, _ = run(params(), tiny, tmp_path / "b")
    assert equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state()), "training must not touch the global generator"
    other = params().model_copy(update={"seeds": [4]})
    third = tmp_path / "c"
    train(Run(other, "demo", "mine", "seed-4"), store=tiny, plan=None, folder=third, recipe=RECIPE)
    assert not equal(first, load_file(third / "model.safetensors"))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_optimizers_are_fused_and_learn_the_same(kind):
    values = torch.randn(8, 33, generator=torch.Generator().manual_seed(0))

    class Learner:
        def __init__(self):
            self.weights = torch.zeros(33, requires_grad=True)

        def optimizers(self):
            return [kind([{"params": [self.weights], "lr": 0.1, "weight_decay": 0.01}])]

    ordinary, fused = Learner(), Learner()
    for learner, (optimizer,) in ((ordinary, ordinary.optimizers()), (fused, fused_optimizers(fused))):
        for _ in range(20):
            optimizer.zero_grad()
            (values @ learner.weights - 1).square().mean().backward()
            optimizer.step()
    assert optimizer.param_groups[0]["fused"]
    assert ordinary.weights.abs().min() > 0.001
    torch.testing.assert_close(fused.weights, ordinary.weights, rtol=1e-4, atol=1e-5)


def test_a_run_that_another_process_is_training_is_waited_for_and_not_trained_twice(tiny, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / ".lock").open("w") as file, ThreadPoolExecutor() as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = pool.submit(run, params("text_only"), tiny, folder)
        deadline = time.monotonic() + 60
        while "waiting for that process" not in capsys.readouterr().out:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run(params("text_only"), tiny, tmp_path / "other")
        for path in (tmp_path / "other").iterdir():
            path.rename(folder / path.name)
        before = (folder / "model.safetensors").stat().st_mtime_ns
        fcntl.flock(file, fcntl.LOCK_UN)
        waiting.result(timeout=60)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert "another process has finished this run" in capsys.readouterr().out


def test_the_state_of_other_settings_is_not_resumed(tiny, tmp_path, monkeypatch):
    epoch = loop._Loop._epoch

    def killed(self, number):
        epoch(self, number)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Loop, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        run(params(), tiny, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setitem(RECIPE, "identity", "other")
    fresh, _ = run(params(), tiny, tmp_path / "run")
    whole, _ = run(params(), tiny, tmp_path / "whole")
    assert equal(fresh, whole)


def test_training_stops_when_patience_is_exhausted(tiny, tmp_path):
    settings = params("text_only", epochs=40, patience=2, learning_rate=1e-12, learning_rate_text_encoder=1e-12)
    _, record = run(settings, tiny, tmp_path / "run")
    best = record["checkpoints"]["valid"]["epoch"]
    assert record["epochs"] == best + 2 < 40


def test_a_stage_that_prepares_another_leaves_no_checkpoint_and_costs_no_patience(tiny, tmp_path, monkeypatch):
    scores = iter([0.1, 0.2, 0.3, 0.9, 0.5, 0.6, 0.7, 0.8])
    seen = []

    def outputs(model, data, corrupted):
        return data.labels.numpy() + np.float32(next(scores)), data.labels.numpy()

    monkeypatch.setattr(load("text_only"), "on_epoch_start", lambda self, epoch: seen.append(epoch))
    monkeypatch.setattr(load("text_only"), "selectable", property(lambda self: seen[-1] > 3))
    monkeypatch.setattr(loop, "predict", outputs)
    _, record = run(params("text_only", epochs=8, patience=2), tiny, tmp_path / "run")
    assert record["checkpoints"]["valid"]["epoch"] == 5
    assert record["epochs"] == 7


def test_the_strength_of_the_linear_probe_is_the_best_of_all_on_the_validation_split(tiny, tmp_path):
    _, record = run(params("linear_probe", epochs=6), tiny, tmp_path / "run")
    errors = pd.read_csv(tmp_path / "run" / "history.csv").set_index("epoch")["valid_error"]
    assert list(errors.index) == [1, 2, 3, 4, 5, 6] and errors.nunique() > 1
    assert record["checkpoints"]["valid"]["epoch"] == errors.idxmin()


def test_the_majority_predictor_needs_no_epoch(tiny, tmp_path):
    _, record = run(params("majority"), tiny, tmp_path / "run")
    assert record["epochs"] == 0


@pytest.mark.parametrize(
    ("method", "epoch", "step", "small"),
    [
        ("self_mm", 1, 0, 1 << 40),
        ("self_mm", 1, 2, 0),
        ("self_mm", 3, 1, 1 << 40),
        ("self_mm", 4, 1, 0),  # the last state that is kept is that of the first epoch
        ("text_only", 2, 2, 1 << 40),
        ("mmim", 2, 1, 0),
    ],
)
def test_a_loss_that_is_not_finite_stops_with_the_batch_and_keeps_the_last_state(
    tiny, tmp_path, monkeypatch, method, epoch, step, small
):
    monkeypatch.setattr(loop, "_SMALL", small)
    monkeypatch.setattr(loop, "_SAVING", 1e-9)
    kind, seen, failed = load(method), {}, []
    start, learn = kind.on_epoch_start, kind.update

    def remember(self, number):
        seen.update(epoch=number, step=-1)
        start(self, number)

    def broken(self, batch, optimizers, number):
        terms = learn(self, batch, optimizers, number)
        seen["step"] += 1
        if (seen["epoch"], seen["step"]) == (epoch, step):
            weights = torch.cat([p.detach().flatten() for p in self.parameters()])
            failed.append((weights, tuple(batch.row.tolist())))
            name = next(iter(terms))
            terms[name] = terms[name] * float("nan")
        return terms

    monkeypatch.setattr(kind, "on_epoch_start", remember)
    monkeypatch.setattr(kind, "update", broken)
    where = rf"is nan in epoch {epoch}, batch {step + 1} \(samples sample_.*(keeps the state|no epoch was saved)"
    with pytest.raises(ElisionError, match=where):
        run(params(method), tiny, tmp_path / "run")
    # The batches were the same when the epoch was repeated, and so were the weights that had learnt from them.
    (once, rows), (again, others) = failed
    assert rows == others and torch.equal(once, again)
    if epoch > 1:
        state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
        assert state["epoch"] == (epoch - 1 if small else 1)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_training_reads_nothing_back_between_the_steps_of_an_epoch(tiny, tmp_path, monkeypatch):
    read, inside, learn = [], [], loop._Loop._sum_losses

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "is_nonzero"):
                read.append(function)
            return function(*args, **(kwargs or {}))

    def watched(self, *args, **kwargs):
        inside.append(args)
        with Reads():
            return learn(self, *args, **kwargs)

    monkeypatch.setattr(loop._Loop, "_sum_losses", watched)
    run(params("text_only"), tiny, tmp_path / "run")
    assert len(inside) == 4 and not read


def test_out_of_memory_says_what_to_do(tiny, tmp_path, monkeypatch):
    def full(self, batch, optimizers, step):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SelfMM, "update", full)
    with pytest.raises(ElisionError, match="out of memory in epoch 1 at batch_size 4; set a smaller batch_size"):
        run(params(), tiny, tmp_path / "run")


def test_an_empty_split_is_refused(tiny, tmp_path):
    samples = tiny.samples.assign(split=tiny.samples["split"].replace("valid", "train"))
    with pytest.raises(ElisionError, match="dataset 'demo': no sample in split valid; every"):
        run(params(), replace(tiny, samples=samples), tmp_path / "run")


def test_a_method_refuses_a_dataset_without_what_it_requires(tiny, tmp_path):
    text = tiny.modalities["text"]
    nothing = Sequences.of([text[0][:0]] * len(text), text.header)
    without = replace(tiny, modalities={**tiny.modalities, "text": nothing})
    with pytest.raises(
        ElisionError, match=r"methods.mine: text_only requires text, but dataset 'demo' has audio, vision; leave the"
    ):
        run(params("text_only"), without, tmp_path / "run")
    run(params("self_mm", epochs=1), without, tmp_path / "run")


def test_settings_that_could_never_take_a_step_are_refused(tiny, tmp_path):
    with pytest.raises(ElisionError, match=r"methods.mine: accumulate is 4, but .* only 3 of batch_size 4"):
        run(params(accumulate=4), tiny, tmp_path / "run")


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ElisionError, match="cuda is not available"):
        choose_device("cuda")


@pytest.fixture
def plan(tiny):
    settings = Params(datasets={"demo": {"source": "demo"}}, methods=["majority"]).corruption_for("demo")
    _, uniforms = draw(tiny, settings)
    return Plan(conditions(settings, ("text", "audio", "vision")), settings.seed, uniforms, {})


def test_the_test_oracle_keeps_a_checkpoint_per_metric(tiny, plan, tmp_path):
    settings = params(selection="test_oracle")
    _, record = run(settings, tiny, tmp_path / "run", plan)
    assert set(record["checkpoints"]) == {"acc2_nonneg", "acc2_negpos", "acc5", "acc7", "mae", "valid"}
    assert record["selection"] == "test_oracle"
    assert record["protocol"] == "elision (train.selection: test_oracle)"
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert record["checkpoints"]["acc7"]["score"] == pytest.approx(history["test_acc7"].max())
    assert record["checkpoints"]["mae"]["score"] == pytest.approx(history["test_mae"].min())


def evaluation(settings, store, plan, record, folder):
    weights = folder / "model.safetensors"
    return Evaluation(Run(settings, "demo", "mine", "seed-3"), store=store, plan=plan, weights=weights, record=record)


def test_predictions_cover_every_condition_and_repeat_to_the_bit(tiny, plan, tmp_path):
    settings = params()
    _, record = run(settings, tiny, tmp_path / "run")
    table = evaluation(settings, tiny, plan, record, tmp_path / "run").predictions()
    assert len(table) == 17 * 6
    assert set(table["checkpoint"]) == {"valid"}
    pd.testing.assert_frame_equal(table, evaluation(settings, tiny, plan, record, tmp_path / "run").predictions())
    by_condition = table.groupby(["corruption", "level", "modalities"])["prediction"].apply(np.array)
    complete = by_condition["random", 0.0, ""]
    assert np.array_equal(complete, by_condition["absent", 0.0, ""])
    assert not np.array_equal(complete, by_condition["random", 0.9, "text+audio+vision"])


def test_representations_are_what_predictions_are_made_of(tiny, plan, tmp_path):
    settings = params("text_only")
    weights, record = run(settings, tiny, tmp_path / "run")
    loaded = evaluation(settings, tiny, plan, record, tmp_path / "run")
    found, table = loaded.representations(), loaded.predictions()
    assert found["values"].shape == (4, 6, 16)
    assert found["rates"].tolist() == [0.0, 0.1, 0.5, 0.9]
    assert found["ids"].tolist() == [f"sample_{i}" for i in range(18, 24)]
    assert found["labels"].tolist() == pytest.approx(tiny.samples["label"].iloc[18:].tolist())
    for rate, values in zip(found["rates"], found["values"], strict=True):
        rows = table[(table["corruption"] == "random") & (table["level"] == rate)]
        predicted = torch.from_numpy(values) @ weights["valid/head.weight"][0] + weights["valid/head.bias"]
        assert predicted.tolist() == pytest.approx(rows["prediction"].tolist(), abs=1e-5)


@pytest.mark.parametrize(("method", "selection"), [("self_mm", "valid"), ("lnln", "valid"), ("self_mm", "test_oracle")])
def test_one_load_gives_to_the_bit_what_two_give(tiny, plan, tmp_path, method, selection):
    """Whichever is asked for first: nothing of a prediction stays in a model."""
    settings = params(method, selection, epochs=2)
    _, record = run(settings, tiny, tmp_path / "run", plan)
    once, again, other = (evaluation(settings, tiny, plan, record, tmp_path / "run") for _ in range(3))
    table, found = once.predictions(), once.representations()
    alone = again.representations()
    assert all(np.array_equal(found[name], alone[name]) for name in found)
    pd.testing.assert_frame_equal(table, other.predictions())
    pd.testing.assert_frame_equal(table, again.predictions())


def test_of_checkpoints_chosen_on_test_that_of_the_mae_is_represented(tiny, plan, tmp_path):
    settings = params("text_only", selection="test_oracle")
    weights, record = run(settings, tiny, tmp_path / "run", plan)
    loaded = evaluation(settings, tiny, plan, record, tmp_path / "run")
    table, found = loaded.predictions(), loaded.representations()
    assert found["checkpoint"] == "mae"
    rows = table[(table["corruption"] == "random") & (table["level"] == 0) & (table["checkpoint"] == "mae")]
    predicted = torch.from_numpy(found["values"][0]) @ weights["mae/head.weight"][0] + weights["mae/head.bias"]
    assert predicted.tolist() == pytest.approx(rows["prediction"].tolist(), abs=1e-5)


def test_rates_that_were_not_evaluated_are_not_represented(tiny, plan, tmp_path):
    settings = params("text_only", epochs=1)
    _, record = run(settings, tiny, tmp_path / "run")
    for kept, expected in (({0.2, 0.5}, [0.5]), ({0.2}, [])):
        few = replace(plan, conditions=[c for c in plan.conditions if c.level in kept])
        found = evaluation(settings, tiny, few, record, tmp_path / "run").representations()
        assert found["rates"].tolist() == expected
        assert found["values"].shape[:2] == (len(expected), 6)


def test_a_run_that_was_trained_on_other_data_is_refused(tiny, tmp_path):
    run(params("text_only"), tiny, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    assert read_run(path, RECIPE, "fixture")["seed"] == 3
    with pytest.raises(ElisionError, match=r"run\.json was made from data that have changed since"):
        read_run(path, RECIPE, "newer")
    with pytest.raises(ElisionError, match=r"run\.json does not exist"):
        read_run(tmp_path / "run.json", RECIPE, "fixture")


def test_weights_of_another_architecture_are_refused(tiny, plan, tmp_path):
    _, record = run(params(), tiny, tmp_path / "run")
    with pytest.raises(ElisionError, match="weights of another architecture"):
        evaluation(params(fusion_width=64), tiny, plan, record, tmp_path / "run").predictions()


def test_an_epoch_that_scores_nan_is_the_best_only_while_there_is_no_other():
    selection = Selection({"corr": True})
    assert selection.improved(1, {"corr": float("nan")}) == ["corr"]
    assert selection.improved(2, {"corr": 0.1}) == ["corr"]
    assert selection.improved(3, {"corr": float("nan")}) == []
    assert selection.improved(4, {"corr": 0.1}) == []


def test_patience_counts_the_validation_split_alone():
    selection = Selection({"valid": False, "acc7": True})
    assert selection.improved(1, {"valid": 1.0, "acc7": 0.1}) == ["valid", "acc7"]
    assert selection.improved(2, {"valid": 1.5, "acc7": 0.2}) == ["acc7"]
    assert selection.improved(3, {"valid": 1.2, "acc7": 0.3}) == ["acc7"]
    assert selection.epochs_without_improvement(3) == 2


def test_a_training_that_is_chosen_on_test_is_no_longer_for_it(tiny, plan, tmp_path, monkeypatch):
    calls = {"valid": 0, "test": 0}

    def outputs(model, data, corrupted):
        """Validation is worse after the first epoch, the test split better after each."""
        split = tiny.samples.set_index("id").loc[data.ids[0], "split"]
        calls[split] += 1
        off = min(calls["valid"], 2) if split == "valid" else 1 / calls["test"]
        return data.labels.numpy() + np.float32(off), data.labels.numpy()

    monkeypatch.setattr(loop, "predict", outputs)
    settings = params("text_only", "test_oracle", epochs=9, patience=3)
    _, record = run(settings, tiny, tmp_path / "run", plan)
    assert record["epochs"] == 4
    assert (record["checkpoints"]["valid"]["epoch"], record["checkpoints"]["mae"]["epoch"]) == (1, 4)


def sims(method, protocol, **train):
    """A dataset of CH-SIMS, whose metrics clip scores to [-1, 1]."""
    return Params(
        datasets={"demo": {"source": "mmsa", "file": "sims.pkl", "corpus": "sims"}},
        methods=[{"mine": {"method": method, "epochs": 5, "batch_size": 4, "accumulate": 1, "patience": None}}],
        seeds=[3],
        protocol=protocol,
        train={"device": "cpu", **train},
    )


@pytest.mark.parametrize(("method", "square"), [("misa", True), ("almt", True), ("self_mm", False), ("mult", False)])
def test_mmsa_watches_the_loss_of_the_method_on_scores_that_are_not_clipped(
    tiny, tmp_path, monkeypatch, method, square
):
    labels = tiny.samples["label"] / 3
    found, told = [], []

    def outputs(model, data, corrupted):
        epoch = len(found)
        values = [2.0, 1.2, 9.0, 1.1, 4.0][epoch] * np.sign(data.labels.numpy() + 0.01)
        found.append(np.float32(values))
        return found[-1], data.labels.numpy()

    monkeypatch.setattr(loop, "predict", outputs)
    monkeypatch.setattr(load(method), "on_epoch_end", lambda self, error: told.append(error))
    small = replace(tiny, samples=tiny.samples.assign(label=labels))
    _, record = run(sims(method, "mmsa"), small, tmp_path / "mmsa")
    truth = small.samples.query("split == 'valid'")["label"].to_numpy()
    errors = [np.square(v - truth).mean() if square else np.abs(v - truth).mean() for v in found]
    history = pd.read_csv(tmp_path / "mmsa" / "history.csv")
    assert history["valid_error"].tolist() == pytest.approx(errors, abs=1e-4)
    assert told == history["valid_error"].tolist() == [round(value, 4) for value in told]
    # Clipped to [-1, 1], all epochs are alike: the metric keeps the first.
    assert history["valid_mae"].nunique() == 1
    assert record["checkpoints"]["valid"] == {"epoch": 4, "score": told[3]}
    assert record["watch"] == "loss"
    found.clear()
    _, record = run(sims(method, "mmsa", watch="metric"), small, tmp_path / "elision")
    assert record["checkpoints"]["valid"]["epoch"] == 1
    assert record["protocol"] == "mmsa (train.watch: metric)"


def test_the_loss_of_classes_is_their_cross_entropy(tiny, tmp_path):
    classes = ["negative", "positive"]
    samples = tiny.samples.assign(label=np.where(tiny.samples["label"] > 0, "positive", "negative"))
    settings = Params(
        datasets={"demo": {"source": "demo", "task": "classification", "classes": classes, "cuts": [0]}},
        methods=[{"mine": {"method": "text_only", "epochs": 3, "batch_size": 4}}],
        seeds=[3],
        train={"device": "cpu", "watch": "loss"},
    )
    _, record = run(
        settings, Store(samples, tiny.modalities, {**tiny.provenance, "classes": classes}), tmp_path / "run"
    )
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    best = record["checkpoints"]["valid"]
    assert best["score"] == pytest.approx(history["valid_error"].min())
    assert history["valid_error"][best["epoch"] - 1] == pytest.approx(best["score"])
    assert (history["valid_error"] != 1 - history["valid_ua"]).any()


def test_the_folder_of_a_run_is_the_only_place_that_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(params("text_only"), tiny, Path("results/run"))
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "results" / "run"}


# --- complete data that are hidden


def hidden(method, **train):
    return Params(
        datasets={"demo": {"source": "demo"}},
        methods=[{"mine": {"method": method, "epochs": 2, "batch_size": 4, "accumulate": 1}}],
        seeds=[3],
        train={"device": "cpu", "redraw": "never", "clean": "hidden", **train},
    )


def test_data_may_be_incomplete_for_good(tiny, tmp_path, monkeypatch):
    seen = []

    def remember(self, batch, *rest):
        seen.append((batch.clean, batch.index.tolist(), batch.audio.observed.clone()))
        return update(self, batch, *rest)

    update = SelfMM.update
    monkeypatch.setattr(SelfMM, "update", remember)
    _, record = run(hidden("self_mm", corruption="block", rates=[0.5]), tiny, tmp_path)
    assert (record["clean"], record["redraw"], record["training_rates"]) == ("hidden", "never", [0.5])
    assert all(clean is None for clean, *_ in seen)
    observed = [{}, {}]
    for number, (_, index, here) in enumerate(seen):
        observed[number * 2 // len(seen)] |= dict(zip(index, here.tolist(), strict=True))
    assert observed[0] == observed[1] and len(observed[0]) == 12


@pytest.mark.parametrize("corruption", ["random", "block", "burst", "synchronous", "modality_rate", "combined"])
def test_every_kind_with_rates_is_trained_on_and_validated_at_one(tiny, tmp_path, corruption):
    settings = hidden("self_mm", corruption=corruption, rates=[0.2, 0.6], validation_rate={"text": 0.5, "audio": 0.1})
    _, record = run(settings, tiny, tmp_path)
    assert record["training_corruption"] == corruption and record["training_rates"] == [0.2, 0.6]


def test_the_record_says_from_what_a_method_was_built_without_its_paper(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(load("majority"), "known_from", "its abstract")
    monkeypatch.setattr(methods, "known_from", lambda name: "its abstract")  # what is read of the file
    _, record = run(params("majority"), tiny, tmp_path)
    assert record["known_from"] == "its abstract"

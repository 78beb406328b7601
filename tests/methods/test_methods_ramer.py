import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, learn, make, make_batch, rows, spec_for, starting_points
from torch import nn

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import build, load, resolve
from elision.methods.layers.retrieval import Database
from elision.methods.layers.text_encoder import StubEncoder
from elision.methods.ramer_encoders import FeatureEncoder, heads
from elision.task import MODALITIES, OFFICIAL_SPECS

# Counted on the official classes; the intended three classifiers of the teacher are alike.
STAGE_3 = {
    256: {
        "encoders.audio.transformer": 4728064,
        "encoders.audio.linear": 262400,
        "encoders.audio.cls encoders.audio.position": 3072,
        "encoders.vision.transformer": 2759680,
        "encoders.vision.linear": 196864,
        "encoders.vision.cls encoders.vision.position": 2304,
        "encoders.text.transformer": 107525376,
        "encoders.text.linear": 1310976,
        "encoders.text.cls encoders.text.position": 15360,
        "classifier": 230534,
    },
    128: {
        "encoders.audio.transformer": 4465792,
        "encoders.audio.linear": 131200,
        "encoders.vision.transformer": 2562944,
        "encoders.vision.linear": 98432,
        "encoders.text.transformer": 106214528,
        "encoders.text.linear": 655488,
        "classifier": 132230,
    },
}
TRAINED = {256: 117013894, 128: 114260614}
STAGE_1 = {
    "encoders.audio.transformer": 16799744,
    "encoders.audio.linear": 262400,
    "encoders.vision.transformer": 11027968,
    "encoders.vision.linear": 196864,
    "encoders.text.transformer": 251754496,
    "encoders.text.linear": 1310976,
    **{f"classifiers.{name}": 100230 for name in MODALITIES},
}
# What is missing, of text, audio and vision.
CONDITIONS = [("text",), ("audio",), ("vision",), ("text", "audio"), ("text", "vision"), ("audio", "vision")]


def official(name: str, **overrides) -> nn.Module:
    with torch.device("meta"):
        return build(name, resolve(name, "mer2024", overrides)[0], OFFICIAL_SPECS["mer2024"], StubEncoder(768))


def batch_of(size: int = 7, **settings) -> Batch:
    return make_batch(size, spec=spec_for("ramer"), **{"lost": 0.0, **settings})


class Searched:
    """A database that keeps how many neighbours it is asked for, and lies about those of some modalities."""

    def __init__(self, database: Database, *, lies: tuple[str, ...] = ()) -> None:
        self.database, self.lies, self.asked = database, lies, []
        self.rows, self.vectors = database.rows, database.vectors

    def to(self, device: torch.device) -> "Searched":
        return self

    def search(self, modality: str, query: torch.Tensor, k: int):
        self.asked.append(k)
        scores, positions = self.database.search(modality, query, k)
        return (scores + 2, positions.flip(1)) if modality in self.lies else (scores, positions)


def neighbours_by_loops(method, queries: dict, given: list[bool], row: int, k: int) -> list[int]:
    """Positions of the neighbours of one sample."""
    best = (-math.inf, [])
    for column, name in enumerate(MODALITIES):
        if given[column]:
            cosines = torch.cosine_similarity(queries[name][None].double(), method._database.vectors[name].double())
            order = sorted(range(len(cosines)), key=lambda i: (-cosines[i].item(), i))
            order = [i for i in order if method._database.rows[i] != row][:k]
            if cosines[order[-1]] > best[0]:
                best = (cosines[order[-1]].item(), order)
    return best[1]


@pytest.mark.parametrize("hidden", STAGE_3)
def test_parameter_counts_equal_the_official_ones_of_the_second_teacher(hidden):
    method = official("ramer", hidden=hidden, feed_forward=hidden, query_encoder="trained", train_cls_tokens=False)
    assert_counts(method, STAGE_3[hidden])
    assert sum(p.numel() for p in method.trainable()) == TRAINED[hidden]


def test_parameter_counts_equal_the_official_ones_of_the_teacher():
    assert_counts(official("ramer_encoders", layers=2), STAGE_1)


def test_official_values_are_those_of_the_code_or_else_of_mmin():
    for name in ("ramer_encoders", "ramer"):
        h, _ = resolve(name, "mer2024")
        assert (h.hidden, h.layers, h.feed_forward, h.train_cls_tokens) == (256, 1, 2048, True)
        assert (h.learning_rate, h.beta1, h.batch_size, h.epochs, h.constant_epochs, h.clip) == (
            2e-4,
            0.5,
            128,
            40,
            20,
            1,
        )
        assert h.classifier_dropout == 0.5
    teacher, h = resolve("ramer_encoders", "mer2024")[0], resolve("ramer", "mer2024")[0]
    assert (teacher.dropout, teacher.corruption, h.dropout, h.corruption) == (0.5, "complete", 0.1, "absent")
    assert (h.top_k, h.database, h.database_size, h.query_encoder) == (5, "labelled", None, "frozen")
    assert load("ramer").needs == ("ramer_encoders",) and load("ramer").retrieves == "ramer_encoders"


def test_there_are_eight_heads_where_the_width_allows_it():
    assert [heads(width) for width in (1024, 768, 5120, 35, 259, 6, 33, 1)] == [8, 8, 8, 7, 7, 6, 3, 1]
    method = official("ramer")
    assert {e.transformer.layers[0].self_attn.num_heads for e in method.encoders.values()} == {8}


@pytest.mark.parametrize("name", ["ramer_encoders", "ramer"])
def test_one_group_of_adam_has_a_rate_that_is_constant_and_then_falls_linearly(name):
    method = make(name)
    (optimizer,) = method.optimizers()
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.Adam
    assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 0)
    factors = [method.learning_rate_factor(epoch) for epoch in (1, 20, 21, 30, 40)]
    assert factors == pytest.approx([1, 1, 1 - 1 / 21, 1 - 10 / 21, 1 - 20 / 21])
    for epochs in (3, 19):  # train.epochs may be fewer
        shorter = make(name, epochs=epochs)
        assert {shorter.learning_rate_factor(epoch) for epoch in range(1, epochs + 1)} == {1}


@pytest.mark.parametrize("name", ["ramer_encoders", "ramer"])
def test_the_norm_of_the_gradient_of_each_part_is_clipped(name):
    limit = 1e-3
    method = make(name, clip=limit).eval()
    torch.stack(list(method.loss(batch_of()).values())).sum().backward()
    before = {key: p.grad.clone() for key, p in method.named_parameters() if p.requires_grad}
    method.after_backward()
    classifiers = ["classifier"] if name == "ramer" else [f"classifiers.{m}" for m in MODALITIES]
    parts = [(c,) for c in classifiers] + [
        (f"encoders.{m}.{part}",) for m in MODALITIES for part in ("transformer", "linear")
    ]
    parts += [(f"encoders.{m}.cls", f"encoders.{m}.position") for m in MODALITIES]
    for part in parts:
        within = [key for key in before if any(f"{key}.".startswith(f"{prefix}.") for prefix in part)]
        norm = torch.stack([before.pop(key).norm() for key in within]).norm()
        clipped = torch.stack([method.get_parameter(key).grad.norm() for key in within]).norm()
        assert norm > limit and clipped.item() == pytest.approx(limit, rel=1e-2), part
    assert not before


def test_a_hidden_vector_is_the_projected_summary_token_after_a_transformer():
    torch.manual_seed(0)
    encoder = FeatureEncoder(6, resolve("ramer", "mosi", {"hidden": 5, "feed_forward": 7, "dropout": 0.0})[0])
    assert not encoder.cls.any() and not encoder.position.any()
    for p in encoder.parameters():
        nn.init.normal_(p)
    text = make_batch(4, spec=spec_for("ramer")).text
    means = []
    for values, observed in zip(text.values, text.observed, strict=True):
        frames = [frame for frame, seen in zip(values, observed, strict=True) if seen]
        means.append(sum(frames) / len(frames) if frames else torch.zeros(6))
    x = torch.stack([encoder.cls[0, 0].expand(4, -1), torch.stack(means)], 1) + encoder.position
    (layer,) = encoder.transformer.layers
    x = layer.norm1(x + layer.self_attn(x, x, x)[0])
    x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    torch.testing.assert_close(encoder(text), encoder.linear(x[:, 0]))


@pytest.mark.parametrize("trained", [True, False])
def test_summary_tokens_and_positions_are_trained_or_not(trained):
    teacher = make("ramer_encoders", train_cls_tokens=trained).train()
    torch.manual_seed(0)
    learn(teacher, [batch_of()] * 2, teacher.optimizers(), epoch=1)
    for encoder in teacher.encoders.values():
        assert encoder.cls.any() == encoder.position.any() == trained
    assert "encoders.text.cls" in teacher.state_dict()


# The teacher.


def test_modalities_of_the_teacher_do_not_interact():
    teacher, batch = make("ramer_encoders"), batch_of()
    for name, term in teacher.loss(batch).items():
        teacher.zero_grad(set_to_none=True)
        term.backward()
        touched = {key.split(".")[1] for key, p in teacher.named_parameters() if p.grad is not None}
        assert touched == {name}


def test_each_modality_of_the_teacher_has_the_error_of_its_own_classifier():
    batch = batch_of()
    teacher = make("ramer_encoders").eval()
    terms, hidden = teacher.loss(batch), teacher.hidden(batch)
    classes = make_batch(7, spec=spec_for("ramer", CLASSES), lost=0.0)
    classifier = make("ramer_encoders", spec=spec_for("ramer", CLASSES)).eval()
    for name in MODALITIES:
        output = teacher.classifiers[name](hidden[name]).squeeze(1)
        errors = [(a - b) ** 2 for a, b in zip(output.tolist(), batch.label.tolist(), strict=True)]
        assert terms[name].item() == pytest.approx(sum(errors) / 7, rel=1e-5)
        likelihood = classifier.classifiers[name](classifier.hidden(classes)[name]).softmax(1).detach()
        expected = -sum(math.log(likelihood[i, classes.label[i]]) for i in range(7)) / 7
        assert classifier.loss(classes)[name].item() == pytest.approx(expected, rel=1e-5)


def test_the_teacher_predicts_the_mean_of_the_available_modalities():
    teacher = make("ramer_encoders").eval()
    for absent in [(), *CONDITIONS, MODALITIES]:
        batch = batch_of(absent=absent)
        seen = [name for name in MODALITIES if name not in absent] or MODALITIES
        outputs = [teacher.classifiers[name](teacher.hidden(batch)[name]).squeeze(1) for name in seen]
        prediction = teacher.predict(batch)
        torch.testing.assert_close(prediction.output, sum(outputs) / len(outputs))
        torch.testing.assert_close(prediction.representation, torch.cat(list(teacher.hidden(batch).values()), 1))


# The second teacher.


def test_the_classifier_starts_kaiming_normal_with_zero_biases_and_the_teacher_as_pytorch_does():
    torch.manual_seed(0)
    spec = spec_for("ramer")
    method = build("ramer", resolve("ramer", "mer2024", {"hidden": 256})[0], spec)
    layers = [layer for layer in method.classifier if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [768, 256, 128]
    for layer in layers:
        assert not layer.bias.any()
    for layer in layers[:2]:
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.03)
    teacher = build("ramer_encoders", resolve("ramer_encoders", "mer2024", {"hidden": 256})[0], spec)
    for classifier in teacher.classifiers.values():
        first = classifier[0]
        assert first.bias.any()
        assert first.weight.abs().max().item() <= first.in_features**-0.5


def test_it_starts_from_the_encoders_of_the_teacher_and_stores_those_of_its_queries():
    teachers, database = starting_points("ramer", spec_for("ramer"))
    method = make("ramer").train()
    start = teachers["ramer_encoders"].encoders.state_dict()
    for encoders in (method.encoders, method.query_encoders):
        assert all(torch.equal(value, start[key]) for key, value in encoders.state_dict().items())
    torch.manual_seed(0)
    learn(method, [batch_of(absent=("text",))] * 3, method.optimizers(), epoch=1)
    assert not all(torch.equal(value, start[key]) for key, value in method.encoders.state_dict().items())
    assert all(torch.equal(value, start[key]) for key, value in method.query_encoders.state_dict().items())
    assert not any(p.requires_grad for p in method.query_encoders.parameters())

    # An evaluation has no teachers: the stored weights are loaded after the start.
    other = make("ramer", seed=9)
    other.query_encoders.load_state_dict(other.encoders.state_dict())
    other.start({}, database)
    other.load_state_dict(method.state_dict())
    batch = batch_of(absent=("audio",), seed=5)
    assert torch.equal(other.eval().predict(batch).output, method.eval().predict(batch).output)


def test_frozen_query_encoders_have_no_dropout_and_trained_ones_are_the_encoders():
    method = make("ramer", dropout=0.5).train()
    assert method.encoders.training and not any(module.training for module in method.query_encoders.modules())
    assert not len(make("ramer", query_encoder="trained").query_encoders)
    batch = batch_of(absent=("text", "vision"))
    for mode in ("frozen", "trained"):
        method = make("ramer", query_encoder=mode).eval()
        for p in method.encoders.parameters():
            nn.init.normal_(p, generator=torch.Generator().manual_seed(0))
        queries = []
        method.neighbours = lambda q, given, row, queries=queries: (
            queries.append(q) or torch.zeros(7, 5, dtype=torch.long)
        )
        method.predict(batch)
        hidden = method.hidden(batch)["audio"]
        assert torch.equal(queries[0]["audio"], hidden) == (mode == "trained")
        assert not queries[0]["audio"].requires_grad


def test_another_size_of_the_teacher_is_an_error_with_a_remedy():
    spec = spec_for("ramer")
    for changed in ({"hidden": 13}, {"feed_forward": 17}, {"layers": 2}):
        method = make("ramer", spec=spec)
        teacher = make("ramer_encoders", spec=spec, **changed)
        with pytest.raises(ElisionError, match=r"ramer_encoders.*the same hidden, layers, feed_forward and modalities"):
            method.start({"ramer_encoders": teacher}, None)


def test_the_database_is_the_part_that_is_asked_for_and_larger_than_the_number_of_neighbours():
    for settings, expected in (
        ({}, list(range(100, 112))),
        ({"database": "all"}, list(range(100, 116))),
        ({"database": "unlabelled", "top_k": 3}, list(range(112, 116))),
    ):
        assert make("ramer", **settings)._database.rows.tolist() == expected
    small, large = (make("ramer", database_size=size)._database.rows.tolist() for size in (7, 10))
    assert len(small) == 7 and set(small) < set(large) < set(range(100, 112))
    assert make("ramer", database_size=7, database_seed=1)._database.rows.tolist() != small
    with pytest.raises(
        ElisionError, match=r"top_k asks for 5 neighbours, but the database has 4 unlabelled samples.*lower"
    ):
        make("ramer", database="unlabelled")
    with pytest.raises(ElisionError, match="top_k asks for 12 neighbours, but the database has 12 labelled samples"):
        make("ramer", top_k=12)


def test_complete_samples_and_those_without_anything_keep_their_vectors():
    method = make("ramer").eval()
    for batch in (batch_of(), batch_of(absent=MODALITIES), batch_of(lost=1.0)):
        hidden, filled = method.hidden(batch), method.fill(batch)
        assert all(torch.equal(hidden[name], filled[name]) for name in MODALITIES)
    batch = batch_of(absent=("text",))
    assert not torch.equal(method.hidden(batch)["text"], method.fill(batch)["text"])


@pytest.mark.parametrize("absent", CONDITIONS, ids="+".join)
def test_without_retrieval_missing_vectors_are_zeros_and_the_others_are_the_same(absent):
    batch = batch_of(absent=absent)
    method, without = make("ramer").eval(), make("ramer", retrieval=False).eval()
    filled, zeros = method.fill(batch), without.fill(batch)
    for name in MODALITIES:
        if name in absent:
            assert filled[name].any() and not zeros[name].any()
        else:
            assert torch.equal(filled[name], zeros[name])
    queries = {key for key in method.state_dict() if key.startswith("query_encoders.")}
    assert method.state_dict().keys() - without.state_dict().keys() == queries


def test_without_retrieval_complete_batches_teach_the_same():
    methods = [make("ramer", retrieval=retrieval).train() for retrieval in (True, False)]
    for method in methods:
        torch.manual_seed(0)
        learn(method, [batch_of()], method.optimizers(), epoch=1)
    first, second = (dict(method.named_parameters()) for method in methods)
    assert all(torch.equal(value, first[key]) for key, value in second.items())


def test_without_retrieval_a_database_may_be_smaller_than_the_number_of_neighbours():
    make("ramer", retrieval=False, top_k=50)
    with pytest.raises(ElisionError, match="top_k asks for 50 neighbours"):
        make("ramer", top_k=50)


@pytest.mark.parametrize("absent", CONDITIONS, ids="+".join)
def test_missing_vectors_are_sums_of_neighbours_with_length_1_and_the_others_stay(absent):
    method, batch = make("ramer", database="all", top_k=3).eval(), batch_of(absent=absent)
    filled, hidden = method.fill(batch), method.hidden(batch)
    queries = {name: encoder(getattr(batch, name)) for name, encoder in method.query_encoders.items()}
    for name in MODALITIES:
        if name not in absent:
            assert torch.equal(filled[name], hidden[name])
            continue
        torch.testing.assert_close(filled[name].norm(dim=1), torch.ones(7))
        for i in range(7):
            query = {m: q[i] for m, q in queries.items()}
            given = [m not in absent for m in MODALITIES]
            found = neighbours_by_loops(method, query, given, batch.row[i].item(), 3)
            total = sum(method._database.vectors[name][position] for position in found)
            torch.testing.assert_close(filled[name][i], total / total.norm())


def test_samples_with_different_things_missing_are_filled_as_if_they_were_alone():
    batches = [batch_of(4, absent=absent, seed=seed) for seed, absent in enumerate([(), *CONDITIONS, MODALITIES])]
    method = make("ramer").eval()
    merged = batches[0]
    for each in batches[1:]:
        sequences = {
            name: type(merged.text)(
                *(torch.cat(pair) for pair in zip(_tensors(merged, name), _tensors(each, name), strict=True))
            )
            for name in MODALITIES
        }
        rest = {n: torch.cat([getattr(merged, n), getattr(each, n)]) for n in ("label", "index", "row", "rate")}
        merged = replace(merged, **sequences, **rest, clean=None)
    order = torch.randperm(len(merged), generator=torch.Generator().manual_seed(0))
    together = method.predict(rows(merged, order)).representation
    alone = torch.cat([method.predict(each).representation for each in batches])
    torch.testing.assert_close(together, alone[order], atol=1e-5, rtol=0)


def _tensors(batch: Batch, name: str) -> tuple[torch.Tensor, ...]:
    sequence = getattr(batch, name)
    return sequence.values, sequence.valid, sequence.observed


def neighbourhood(method, vectors: dict[str, list], row: list[int]) -> None:
    """Give a method a database of plane vectors."""
    values = {name: torch.tensor(each) for name, each in vectors.items()}
    method._database = Database(values, rows=torch.tensor(row), labelled=torch.ones(len(row), dtype=torch.bool))


def plane(*degrees: float) -> list[list[float]]:
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


def test_a_sample_is_no_neighbour_of_itself_and_nobody_else_is_dropped():
    method = make("ramer", top_k=2)
    neighbourhood(method, dict.fromkeys(MODALITIES, plane(0, 1, 2, 3, 4)), [10, 11, 12, 13, 14])
    queries = dict.fromkeys(MODALITIES, torch.tensor(plane(0)).expand(4, -1))
    given = torch.tensor([[True, False, False]]).expand(4, -1)
    # Itself is the best hit, the second, the third or not among them.
    found = method.neighbours(queries, given, torch.tensor([10, 11, 12, 99]))
    assert found.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_of_two_modalities_the_one_with_the_more_similar_last_neighbour_counts_whatever_the_scale():
    method = make("ramer", top_k=2)
    vectors = {"text": plane(0, 50, 60, 90), "audio": plane(90, 20, 30, 99), "vision": plane(0, 0, 0, 0)}
    neighbourhood(method, vectors, [10, 11, 12, 13])
    given = torch.tensor([[True, True, False], [True, True, False], [True, False, False], [False, True, False]])
    # The first sample is in the database: without itself, its last neighbour is 60 degrees away in text.
    row = torch.tensor([10, 99, 99, 99])
    for scale in (1.0, 1000.0, 0.001):
        queries = {name: torch.tensor(plane(0)).expand(4, -1) for name in MODALITIES}
        queries["text"] = queries["text"] * scale
        assert method.neighbours(queries, given, row).tolist() == [[1, 2], [1, 2], [0, 1], [1, 2]]
    vectors["text"] = plane(0, 50, 10, 90)
    neighbourhood(method, vectors, [10, 11, 12, 13])
    assert method.neighbours(queries, given, row).tolist()[1] == [0, 2]


def test_equally_similar_modalities_are_taken_in_the_order_of_text_audio_vision():
    method = make("ramer", top_k=1)
    neighbourhood(method, {"text": plane(90, 0), "audio": plane(0, 90), "vision": plane(0, 90)}, [10, 11])
    queries = dict.fromkeys(MODALITIES, torch.tensor(plane(0)).expand(2, -1))
    given = torch.tensor([[True, True, False], [False, True, True]])
    assert method.neighbours(queries, given, torch.tensor([98, 99])).tolist() == [[1], [0]]


def test_one_more_than_the_neighbours_is_asked_for_and_an_absent_modality_has_no_say():
    method, batch = make("ramer").eval(), batch_of(absent=("audio",))
    database, expected = method._database, method.predict(batch).output
    method._database = Searched(database, lies=("audio",))
    assert torch.equal(method.predict(batch).output, expected)
    assert set(method._database.asked) == {6}
    method._database = Searched(database, lies=("vision",))
    assert not torch.equal(method.predict(batch).output, expected)


@pytest.mark.parametrize("mode", ["frozen", "trained"])
def test_retrieved_vectors_are_constants(mode):
    method, batch = make("ramer", query_encoder=mode), batch_of(absent=("text",))
    method.loss(batch)["emotion"].backward()
    assert not any(p.grad.any() for p in method.encoders["text"].parameters())
    assert all(p.grad.any() for p in method.encoders["audio"].linear.parameters())
    assert not any(v.requires_grad for v in method.retrieve(batch, method.hidden(batch)).values())


def test_noise_in_place_of_a_modality_is_replaced_and_frames_lost_are_not():
    method = make("ramer").eval()
    partly, noisy = batch_of(lost=0.5), batch_of()
    noisy = replace(noisy, rate=torch.tensor([[1.0, 0.0, 0.0]]).repeat(7, 1))
    hidden, filled = method.hidden(noisy), method.fill(noisy)
    torch.testing.assert_close(filled["text"].norm(dim=1), torch.ones(7))
    assert torch.equal(filled["audio"], hidden["audio"])
    seen = torch.stack([getattr(partly, name).observed.any(1) for name in MODALITIES], 1)
    hidden, filled = method.hidden(partly), method.fill(partly)
    assert seen.any(1).all() and not seen.all()
    for column, name in enumerate(MODALITIES):
        assert torch.equal((filled[name] == hidden[name]).all(1), seen[:, column])


def test_a_modality_that_the_dataset_does_not_have_has_no_say():
    spec = replace(spec_for("ramer"), audio=1, length={**SPEC.length, "audio": 1})
    method = make("ramer", spec=spec).eval()
    batch = make_batch(4, spec=spec, lost=0.0, lengths={"audio": 0})
    expected = method.predict(batch).output
    assert expected.isfinite().all()
    method._database = Searched(method._database, lies=("audio",))
    assert torch.equal(method.predict(batch).output, expected)


def test_the_classifier_reads_audio_vision_and_text():
    method, batch = make("ramer").eval(), batch_of(absent=("vision",))
    prediction, filled = method.predict(batch), method.fill(batch)
    assert torch.equal(prediction.representation, torch.cat([filled[n] for n in ("audio", "vision", "text")], 1))
    x = prediction.representation
    for layer in method.classifier:
        x = x if isinstance(layer, nn.Dropout) else layer(x)
    torch.testing.assert_close(prediction.output, x.squeeze(1))
    assert [layer.out_features for layer in method.classifier if isinstance(layer, nn.Linear)] == [256, 128, 1]
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in method.classifier)

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, small, spec_for

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.dmd import NODES, PAIRS, DistillationGraph, margin_of_labels, positive_cosine
from elision.task import MODALITIES

SPEC = spec_for("dmd")
FROM_TEXT = (("vision", "text"), ("audio", "text"))
# Counted on the released class, text encoder left out, without what never trains: `proj_cosine` (3 x 115,050 on MOSI;
# 41,430 + 43,230 + 45,030 on MOSEI), and with its two graphs without the bias of their edges.
COUNTS = {
    "mosi": {
        "": 4743658 - 345150 + 3649 + 3425 - 2,
        "projections.text": 192000,
        "projections.audio": 1250,
        "projections.vision": 5000,
        "specific": 7500,
        "common": 2500,
        "decoders": 15000,
        **{f"common_vectors.{name}": 115050 for name in NODES},
        **{f"common_attention.{name}": 122700 for name in NODES},
        **{f"crossmodal.{x}_from_{y}": 122700 for x in NODES for y in NODES if x != y},
        **{f"memory.{name}": 485400 for name in NODES},
        **{f"common_heads.{name}": 115050 + 117300 + 2301 for name in NODES},
        **{f"specific_heads.{name}": 10100 + 10100 + 101 for name in NODES},
        "common_fusion": 22650 + 22650 + 151,
        "gates": 30300,
        "common_gate": 22650,
        "fusion": 202950 + 202950 + 451,
        "common_graph": 3648,
        "specific_graph": 3424,
    },
    "mosei": {
        "": 1792778 - 129690 + 2369 + 2145 - 2,
        "projections.text": 115200,
        "projections.audio": 2220,
        "projections.vision": 3150,
        "common_vectors.text": 41430,
        "common_vectors.vision": 43230,
        "common_vectors.audio": 45030,
        "common_heads.text": 41430 + 42780 + 1381,
        "common_heads.vision": 43230 + 44640 + 1441,
        "common_heads.audio": 45030 + 46500 + 1501,
        "crossmodal": 6 * 44820,
        "memory": 3 * 176040,
        "common_graph": 2368,
        "specific_graph": 2144,
    },
}


@pytest.fixture
def batch() -> Batch:
    """Utterances of which some have the same label."""
    batch = make_batch(7, spec=SPEC)
    return replace(batch, label=batch.label.round())


def vectors(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / (math.sqrt((x @ x) * (y @ y)) or 1.0))


def margin_by_loops(rows: np.ndarray, labels: np.ndarray, margin: float) -> float:
    """The hinge loss, triple by triple."""
    anchors = []
    for i, label in enumerate(labels):
        equal = [j for j, other in enumerate(labels) if other == label and j != i]
        others = [j for j, other in enumerate(labels) if other != label]
        hinges = [
            max(0.0, margin * abs(label - labels[n]) - cosine(rows[i], rows[p]) + cosine(rows[i], rows[n]))
            for p in equal
            for n in others
        ]
        if hinges:
            anchors.append(np.mean(hinges))
    return float(np.mean(anchors))


def graph(lessons=FROM_TEXT) -> tuple[DistillationGraph, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    predictions = {name: vectors(4, 1, seed) for seed, name in enumerate(NODES)}
    return DistillationGraph(1, 3, 5, lessons), predictions, {n: vectors(4, 3, 9 + i) for i, n in enumerate(NODES)}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameters_are_as_many_as_in_the_released_code(official_method, dims):
    assert_counts(official_method("dmd", dims), COUNTS[dims])


def test_edges_have_a_prior_on_the_lessons_from_text():
    weighed, *_ = graph((*FROM_TEXT, ("audio", "vision")))
    assert PAIRS == (
        ("text", "vision"),
        ("text", "audio"),
        ("vision", "text"),
        ("vision", "audio"),
        ("audio", "text"),
        ("audio", "vision"),
    )
    expected = np.exp(np.array([0, 0, 1, 0, 1, 1]) / 0.25)
    np.testing.assert_allclose(array(weighed.prior), expected / expected.sum(), rtol=1e-6)


def test_edges_are_a_softmax_over_pairs_of_nodes():
    weighed, predictions, representations = graph()
    edges = array(weighed(predictions, representations))
    for i in range(4):
        nodes = {
            name: torch.cat(
                [weighed.prediction(predictions[name][i]), weighed.representation(representations[name][i])]
            )
            for name in NODES
        }
        scores = [weighed.edge.weight[0] @ torch.cat([nodes[j], nodes[k]]) / 8 for j, k in PAIRS]
        expected = np.exp([score.item() for score in scores])
        np.testing.assert_allclose(edges[i], expected / expected.sum(), rtol=1e-5)


def test_the_losses_of_a_graph_equal_the_loops():
    weighed, predictions, representations = graph()
    edges, prior = weighed(predictions, representations), array(weighed.prior)
    weights = array(edges) + prior
    imitation = repulsion = 0.0
    for x, (student, teacher) in enumerate(PAIRS):
        errors = np.abs(array(predictions[student]) - array(predictions[teacher]))[:, 0]
        imitation += (weights[:, x] * errors).mean()
        pairs = zip(array(representations[student]), array(representations[teacher]), strict=True)
        repulsion += 10 * weights[:, x].mean() * np.mean([max(0.0, cosine(*pair)) for pair in pairs])
    assert weighed.imitation(edges, predictions).item() == pytest.approx(imitation, rel=1e-5)
    assert weighed.repulsion(edges, representations).item() == pytest.approx(repulsion, rel=1e-5)
    distance = 10 * ((array(edges).mean(0) - prior) ** 2).sum()
    assert weighed.distance_from_prior(edges).item() == pytest.approx(distance, rel=1e-5)


def test_no_gradient_reaches_a_teacher():
    weighed, predictions, representations = graph()
    edges = torch.zeros(4, 6)
    weighed.prior = torch.tensor([0.0, 0, 1, 0, 1, 0])  # text teaches, and learns nothing
    for given, loss in ((predictions, weighed.imitation), (representations, weighed.repulsion)):
        for each in given.values():
            each.requires_grad_()
        loss(edges, given).backward()
        assert not given["text"].grad.any() and given["vision"].grad.any() and given["audio"].grad.any()


def test_the_margin_of_labels_equals_the_loops():
    rows, labels = vectors(9, 4), torch.tensor([0.0, 1, 0, -2, 1, 1, 0.5, -2, 3])
    loss = margin_of_labels(rows, (labels[:, None] - labels).abs(), margin=0.15)
    assert loss.item() == pytest.approx(margin_by_loops(array(rows), array(labels), 0.15), rel=1e-5)


@pytest.mark.parametrize("labels", [[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
def test_without_pairs_of_equal_and_other_labels_the_margin_is_0(labels):
    rows, labels = vectors(3, 4).requires_grad_(), torch.tensor(labels)
    loss = margin_of_labels(rows, (labels[:, None] - labels).abs(), margin=0.15)
    loss.backward()
    assert loss.item() == 0 and not rows.grad.any()


def test_only_positive_cosines_count():
    x, y = vectors(6, 4), vectors(6, 4, seed=1)
    expected = np.mean([max(0.0, cosine(a, b)) for a, b in zip(array(x), array(y), strict=True)])
    assert positive_cosine(x, y).item() == pytest.approx(expected, rel=1e-5)
    assert positive_cosine(x, -x).item() == 0


def test_every_loss_term_equals_the_loops(batch):
    weights = {"distillation_weight": 0.3, "decoupling_weight": 0.7, "separation_weight": 0.2, "margin": 0.4}
    method = make("dmd", **weights).eval()
    labels = array(batch.label)
    projected = method.project(batch)
    specific = {name: method.specific[name](x) for name, x in projected.items()}
    common = {name: method.common(x) for name, x in projected.items()}
    summaries, shared = method.attend(specific, common)
    heads = {n: method.common_heads[n](common[n].flatten(1)) for n in NODES}
    own = {n: method.specific_heads[n](summaries[n]) for n in NODES}

    def error(output: torch.Tensor) -> float:
        return np.abs(array(output)[:, 0] - labels).mean()

    def distilled(graph: DistillationGraph, outputs: dict, representations: dict, *, repel: bool) -> float:
        edges = graph(outputs, representations)
        told = graph.imitation(edges, outputs) + graph.distance_from_prior(edges)
        return 0.3 * (told + (graph.repulsion(edges, representations) if repel else 0)).item()

    rebuilt = {n: method.decoders[n](torch.cat([specific[n], common[n]], 2)) for n in NODES}
    rows = np.concatenate([array(method.common_vectors[n](common[n].flatten(1))) for n in NODES])
    steps = [zip(array(specific[n]).reshape(-1, 10), array(common[n]).reshape(-1, 10), strict=True) for n in NODES]
    expected = {
        "sentiment": np.abs(array(method.predict(batch).output) - labels).mean(),
        "common": error(method.common_fusion(shared)[0]),
        "common_modalities": sum(error(x[0]) for x in heads.values()),
        "specific_modalities": sum(error(x[0]) for x in own.values()),
        "common_distillation": distilled(
            method.common_graph, {n: x[0] for n, x in heads.items()}, {n: x[1] for n, x in heads.items()}, repel=False
        ),
        "specific_distillation": distilled(
            method.specific_graph, {n: x[0] for n, x in own.items()}, {n: x[2] for n, x in own.items()}, repel=True
        ),
        "reconstruction": 0.7 * sum((array(rebuilt[n] - projected[n]) ** 2).mean() for n in NODES),
        "specific_reconstruction": 0.7
        * sum((array(method.specific[n](rebuilt[n]) - specific[n]) ** 2).mean() for n in NODES),
        "margin": 0.2 * margin_by_loops(rows, np.tile(labels, 3), 0.4),
        "overlap": 0.2 * sum(np.mean([max(0.0, cosine(*pair)) for pair in pairs]) for pairs in steps),
    }
    assert {k: term.item() for k, term in method.loss(batch).items()} == pytest.approx(expected, rel=1e-4)


def test_a_head_predicts_from_a_refined_vector_and_shows_its_hidden_layer():
    head, x = make("dmd").eval().common_fusion, vectors(3, 30)
    output, hidden, refined = map(array, head(x))
    expected = np.maximum(array(x) @ array(head.first.weight).T + array(head.first.bias), 0)
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    expected = array(x) + hidden @ array(head.second.weight).T + array(head.second.bias)
    np.testing.assert_allclose(refined, expected, atol=1e-5)
    np.testing.assert_allclose(output, refined @ array(head.out.weight).T + array(head.out.bias), atol=1e-5)


def test_the_fused_prediction_sees_gates_in_place_of_the_summaries(batch):
    method = make("dmd").eval()
    with torch.no_grad():
        for gate in (*method.gates.values(), method.common_gate):
            gate.weight.zero_()  # gates that are open half, whatever they read
            gate.bias.zero_()
    fused = method.predict(batch).representation
    torch.testing.assert_close(fused, fused[:1].expand_as(fused))


def test_the_cosine_runs_over_the_channels_of_a_step_or_over_the_batch():
    x = vectors(3 * 4, 5).view(3, 4, 5)  # utterances, steps, channels
    rows = make("dmd").rows(x)
    assert torch.equal(rows, x.reshape(12, 5))
    rows = make("dmd", cosine_axis="batch").rows(x)
    assert torch.equal(rows, torch.stack([x[:, step, channel] for step in range(4) for channel in range(5)]))


def test_attention_to_a_modality_has_the_dropout_of_that_modality_and_positions():
    dropouts = {"text": 0.3, "audio": 0.2, "vision": 0.1}
    method = make("dmd", attention_dropout=0.3, attention_dropout_audio=0.2, attention_dropout_vision=0.1)
    assert {name: each.attention_dropout.p for name, each in method.common_attention.items()} == dropouts
    for name, each in method.crossmodal.items():
        assert each.attention_dropout.p == dropouts[name.split("_from_")[1]]
    assert {each.attention_dropout.p for each in method.memory.values()} == {0.3}
    encoders = [*method.common_attention.values(), *method.crossmodal.values(), *method.memory.values()]
    assert all(each.positions and each.causal for each in encoders)
    assert [len(each.layers) for each in encoders] == [1] * 9 + [3] * 3


def test_a_prediction_uses_no_head_that_depends_on_the_padded_length(batch):
    method = make("dmd").eval()
    expected = method.predict(batch).output
    del method.common_heads, method.common_vectors, method.common_graph, method.specific_graph, method.decoders
    assert torch.equal(method.predict(batch).output, expected)


def test_two_classes_are_as_far_apart_as_two_scores_that_differ_by_1():
    method = make("dmd", spec=spec_for("dmd", CLASSES)).eval()
    label = torch.tensor([0, 2, 2])
    assert method.distances(label).tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    batch = make_batch(5, spec=method.spec)
    likelihood = method.predict(batch).output.softmax(1)[range(5), batch.label]
    assert method.loss(batch)["sentiment"].item() == pytest.approx(-likelihood.log().mean().item())
    assert make("dmd").distances(torch.tensor([0.5, -1.0])).tolist() == [[0, 1.5], [1.5, 0]]


def test_the_accumulated_gradient_is_clipped_after_every_batch(batch):
    limit, other = 1e-3, make_batch(5, spec=SPEC, seed=4)
    alone = []
    for each in (batch, other):
        method = make("dmd").eval()
        torch.stack(list(method.loss(each).values())).sum().backward()
        alone.append({name: p.grad for name, p in method.named_parameters() if p.grad is not None})
    method = make("dmd", accumulate=2, gradient_clip=limit).eval()
    optimizers = method.optimizers()
    method.update(batch, optimizers, 0)
    method.update(other, optimizers, 1)
    for name, gradient in alone[0].items():
        expected = (gradient.clamp(-limit, limit) + alone[1][name]).clamp(-limit, limit)
        torch.testing.assert_close(method.get_parameter(name).grad, expected, atol=1e-6, rtol=1e-3)


def test_the_learning_rate_is_halved_after_a_plateau_and_its_state_is_saved():
    method = make("dmd", plateau_patience=1)
    factors = []
    for epoch, mae in enumerate([1.0, 0.9, 0.9, 0.9], start=1):
        factors.append(method.learning_rate_factor(epoch))
        method.on_epoch_end(mae)
    resumed = make("dmd", plateau_patience=1, seed=1)
    resumed.load_state_dict(method.state_dict())
    assert [*factors, resumed.learning_rate_factor(5)] == [1, 1, 1, 1, 0.5]


def test_adam_trains_everything_at_one_rate_without_decay():
    (optimizer,) = make("dmd").optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        ("method", 1e-4, 0),
        ("text encoder", 1e-4, 0),
    ]


def test_heads_must_divide_the_width():
    with pytest.raises(ElisionError, match="4 heads do not divide a width of 10; set heads to a divisor"):
        resolve("dmd", "mosi", {"width": 10, "heads": 4})


def test_official_values_are_those_of_the_released_configuration():
    for corpus, values in {
        "mosi": (50, 10, 5, 5, 5, 0.3, 0.2, 0.0, 0.2, 0.5),
        "mosei": (30, 6, 5, 1, 3, 0.4, 0.0, 0.0, 0.0, 0.3),
    }.items():
        h = resolve("dmd", corpus)[0]
        kernels = (h.text_kernel, h.audio_kernel, h.vision_kernel)
        attention = (h.attention_dropout, h.attention_dropout_audio, h.attention_dropout_vision)
        assert (h.width, h.heads, *kernels, *attention, h.embedding_dropout, h.text_dropout) == values
        assert (h.batch_size, h.accumulate, h.patience, h.plateau_patience, h.layers) == (16, 10, 10, 5, 4)
        assert (h.gradient_clip, h.output_dropout, h.relu_dropout, h.residual_dropout) == (0.6, 0.5, 0.0, 0.0)
        assert (h.distillation_weight, h.decoupling_weight, h.separation_weight, h.margin) == (0.05, 0.1, 0.01, 0.15)
    assert small("dmd").alignment == "words" and set(NODES) == set(MODALITIES)

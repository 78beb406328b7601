"""GCNet: relations against a loop over edges, dialogues, losses."""

from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, make, make_batch, spec_for

from elision.batch import Batch, Dialogues
from elision.methods import build, resolve
from elision.methods.gcnet import RelationalConvolution, neighbours, speaker_relations, temporal_relations
from elision.methods.layers.text_encoder import StubEncoder
from elision.task import DataSpec, TaskKind

LENGTHS = torch.tensor([4, 1, 2])
SPEAKER = torch.tensor([0, 1, 0, 0, 0, 1, 0])


def spec(**changes) -> DataSpec:
    return replace(spec_for("gcnet", CLASSES), speakers=2, **changes)


def gcnet(**overrides):
    return make("gcnet", spec=spec(), **overrides).eval()


def conversation(lost: float = 0.5, seed: int = 1) -> Batch:
    batch = make_batch(7, spec=spec(), lost=lost, seed=seed)
    batch.dialogues = Dialogues.of(LENGTHS, SPEAKER)
    batch.clean.dialogues = batch.dialogues
    return batch


def part(batch: Batch, chosen: slice, lengths: list[int]) -> Batch:
    """Some dialogues of a batch."""

    def cut(item):
        fields = {name: value[chosen] for name, value in vars(item).items() if isinstance(value, torch.Tensor)}
        return replace(item, **fields)

    sequences = {name: cut(getattr(batch, name)) for name in ("text", "audio", "vision")}
    rest = {name: getattr(batch, name)[chosen] for name in ("label", "index", "row", "rate")}
    return Batch(**sequences, **rest, dialogues=Dialogues.of(torch.tensor(lengths), SPEAKER[chosen]))


def official(corpus_speakers: int, classes: int, **overrides):
    kind = {"task": TaskKind.CLASSIFICATION, "classes": tuple("abcdef"[:classes])} if classes > 1 else {}
    sizes = DataSpec(
        "iemocap" if classes > 1 else "mosi",
        512,
        1024,
        {"text": 1, "audio": 1, "vision": 1},
        100,
        "minilm",
        text=1024,
        speakers=corpus_speakers,
        **kind,
    )
    with torch.device("meta"):
        return build("gcnet", resolve("gcnet", sizes.corpus, overrides)[0], sizes, StubEncoder(1024))


@pytest.mark.parametrize(
    ("speakers", "classes", "hidden", "total", "without_attention"),
    [
        (2, 4, 50, 3_729_214 - 829_200, 2_774_514),
        (1, 1, 50, 3_721_336 - 829_200, 2_766_636),
        (2, 4, 100, 10_660_864 - 1_778_400, 8_381_464),
        (1, 1, 200, 34_017_661 - 4_036_800, 27_978_861),
        (2, 4, 200, 34_139_164 - 4_036_800, 28_100_364),
    ],
)
def test_parameter_counts_equal_the_official_ones_without_the_gru(speakers, classes, hidden, total, without_attention):
    for attention, expected in ((True, total), (False, without_attention)):
        method = official(speakers, classes, hidden=hidden, attention=attention)
        assert sum(p.numel() for p in method.parameters()) == expected


@pytest.mark.parametrize(("past", "future"), [(2, 2), (1, 0), (0, 3), (-1, 1), (-1, -1)])
def test_a_convolution_over_relations_equals_a_loop_over_edges(past, future):
    torch.manual_seed(0)
    dialogues = Dialogues.of(LENGTHS, SPEAKER)
    x = torch.randn(3, 4, 5) * dialogues.valid[..., None]
    layer = RelationalConvolution(5, 6, 4)
    torch.nn.init.normal_(layer.bias)
    heard = neighbours(dialogues.valid, past=past, future=future)
    made = layer(x, speaker_relations(heard, dialogues.speaker, 2))
    for d, length in enumerate(LENGTHS.tolist()):
        for i in range(length):
            expected = x[d, i] @ layer.root + layer.bias
            for relation in range(4):
                told = [
                    x[d, j]
                    for j in range(length)
                    if (past == -1 or i >= j - past)
                    and (future == -1 or i <= j + future)
                    and divmod(relation, 2) == (dialogues.speaker[d, j], dialogues.speaker[d, i])
                ]
                if told:
                    expected = expected + torch.stack(told).mean(0) @ layer.weight[relation]
            torch.testing.assert_close(made[d, i], expected)


def test_relations_of_time_are_before_now_and_after():
    heard = neighbours(torch.tensor([[True, True, True, False]]), past=1, future=1)
    before, now, after = temporal_relations(heard)[0]
    assert before.nonzero().tolist() == [[1, 0], [2, 1]]
    assert now.nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert after.nonzero().tolist() == [[0, 1], [1, 2]]


def test_each_utterance_hears_each_neighbour_by_one_relation():
    dialogues = Dialogues.of(LENGTHS, SPEAKER)
    heard = neighbours(dialogues.valid, past=2, future=2)
    for relations in (temporal_relations(heard), speaker_relations(heard, dialogues.speaker, 2)):
        assert torch.equal(relations.sum(1), heard.long())


def test_other_dialogues_of_a_batch_change_nothing():
    method, batch = gcnet(), conversation()
    whole = method.predict(batch).output
    parts = [method.predict(part(batch, slice(*ends), [ends[1] - ends[0]])).output for ends in ((0, 4), (4, 5), (5, 7))]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_the_dialogue_changes_a_prediction():
    method, batch = gcnet(), conversation()
    alone = replace(batch, dialogues=None)
    assert not torch.allclose(method.predict(alone).output, method.predict(batch).output)
    one = method.predict(part(batch, slice(4, 5), [1])).output
    torch.testing.assert_close(method.predict(alone).output[4:5], one)


def test_the_released_code_lets_longer_dialogues_change_a_prediction():
    method, batch = gcnet(read_padding=True), conversation()
    alone = method.predict(part(batch, slice(5, 7), [2])).output
    assert not torch.allclose(alone, method.predict(batch).output[5:])


def test_only_missing_vectors_are_rebuilt():
    method = gcnet()
    complete = conversation(lost=0.0)
    assert method.loss(complete)["reconstruction"] == 0
    batch = conversation(lost=0.0)
    audio = batch.audio
    batch.audio = replace(audio, values=torch.zeros_like(audio.values), observed=torch.zeros_like(audio.observed))
    hidden = method.hidden(batch)
    width = batch.clean.audio.values.shape[2]
    valid = audio.valid[..., None]
    mean = (batch.clean.audio.values * valid).sum(1) / valid.sum(1).clamp(min=1)
    expected = ((method.rebuild(hidden)[:, :width] - mean) ** 2).mean(1).sum() / 7
    torch.testing.assert_close(method.loss(batch)["reconstruction"], expected)

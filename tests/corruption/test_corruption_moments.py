"""The same moments are missing in all modalities, whatever the rates of their frames."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.corruption.kind import Draw, Origin, Samples, kinds
from elision.corruption.kinds.synchronous import Setting
from elision.corruption.missing import missing
from elision.corruption.moments import moments
from elision.features.align import frames_during
from elision.store import Header, Sequences, Store
from elision.training.split import SplitData
from elision.training.view import View

KIND = kinds()["synchronous"]
FRAMES_PER_SECOND = {"audio": 43.0, "vision": 11.0}


def spoken(seed, count=5):
    """Samples of some seconds with audio, vision and tokens whose words have times, which are the last result."""
    random, words = np.random.default_rng(seed), []
    seconds = random.uniform(1.5, 7, count)
    seconds = np.round(seconds * FRAMES_PER_SECOND["vision"]) / FRAMES_PER_SECOND["vision"]
    lengths = {name: (seconds * rate + 1e-6).astype(int) for name, rate in FRAMES_PER_SECOND.items()}
    for end in seconds:
        edges = np.sort(random.uniform(0, end, random.integers(3, 9)))
        times = np.stack([edges[:-1], edges[1:]], 1)
        words.append(np.concatenate([[[np.nan] * 2], times, [[np.nan] * 2]]))
    lengths["text"] = np.array(list(map(len, words)))
    spans = {
        name: np.concatenate(
            [np.nan_to_num(frames_during(w, rate=rate, length=n)) for w, n in zip(words, lengths[name], strict=True)]
        )
        for name, rate in FRAMES_PER_SECOND.items()
    }
    for each in spans.values():
        each[np.isnan(np.concatenate(words)[:, 0])] = 0
    modalities = {
        name: Sequences.of(
            [np.zeros(n, np.int32) if name == "text" else np.zeros((n, 1), np.float32) for n in lengths[name]],
            Header(modality=name, length=400, rate=FRAMES_PER_SECOND.get(name), extractor="t", settings={"unk": 1}),
        )
        for name in ("text", "audio", "vision")
    }
    table = pd.DataFrame({"id": [f"s{k}" for k in range(count)], "split": "train", "label": 0.0})
    return Store(table, modalities, {}), spans, words


def samples(store, spans):
    rows, widths = np.arange(len(store.samples)), {"text": 0, "audio": 1, "vision": 1}
    lengths = {name: sequences.lengths for name, sequences in store.modalities.items()}
    ids = store.samples["id"].to_numpy()
    return Samples(ids, lengths, dict.fromkeys(lengths, 400), widths, ends=True, origin=Origin(store, rows, spans))


def lost_parts(store, spans, setting, rate, seed=1):
    """For each sample and modality, which positions are missing."""
    of = samples(store, spans)
    drawn = KIND.numbers(of, Draw(seed, "test"), setting)
    return [
        {name: missing(drawn[name][slice(*of.bounds(name)[row : row + 2])], rate) for name in of.lengths}
        for row in range(len(of))
    ]


@given(
    seed=st.integers(0, 200),
    rate=st.sampled_from([0.1, 0.3, 0.5, 0.8, 1.0]),
    pattern=st.sampled_from(["random", "block", "burst"]),
)
def test_masks_agree_in_seconds_within_one_frame(seed, rate, pattern):
    store, spans, words = spoken(seed)
    for row, lost in enumerate(lost_parts(store, spans, Setting(pattern=pattern, length=3), rate)):
        frames = {name: (np.arange(len(lost[name])) + 0.5) / FRAMES_PER_SECOND[name] for name in FRAMES_PER_SECOND}
        for name, other in (("audio", "vision"), ("vision", "audio")):
            width = 1 / min(FRAMES_PER_SECOND.values())
            for at, gone in zip(frames[name], lost[name], strict=True):
                near = np.abs(frames[other] - at) <= width
                assert gone in lost[other][near]
        for (start, stop), gone in zip(words[row][1:-1], lost["text"][1:-1], strict=True):
            near = np.abs(frames["audio"] - (start + stop) / 2) <= 1.5 / FRAMES_PER_SECOND["audio"]
            assert gone in lost["audio"][near]
        assert not lost["text"][[0, -1]].any()


def test_runs_of_missing_frames_begin_and_end_together():
    store, spans, _ = spoken(3)
    seen = 0
    for lost in lost_parts(store, spans, Setting(pattern="block"), 0.5):
        edges = {
            name: np.flatnonzero(np.diff(np.concatenate([[0], lost[name], [0]]))) / rate
            for name, rate in FRAMES_PER_SECOND.items()
        }
        assert len(edges["audio"]) == len(edges["vision"]) == 2
        assert edges["audio"] == pytest.approx(edges["vision"], abs=1 / min(FRAMES_PER_SECOND.values()))
        seen += 1
    assert seen == len(store.samples)


def test_without_times_positions_share_the_sample_evenly():
    lengths = {"text": np.array([10, 6]), "audio": np.array([8, 4]), "vision": np.array([16, 1])}
    widths = {"text": 0, "audio": 1, "vision": 1}
    of = Samples(np.array(["a", "b"]), lengths, dict.fromkeys(lengths, 16), widths, ends=True)
    found = moments(of)
    assert found.counts.tolist() == [8, 4]  # [CLS], [SEP] and a single vector tell nothing of time
    assert found.of_positions["audio"].tolist() == [*range(8), *range(4)]
    assert found.of_positions["text"].tolist() == [0, *range(8), 7, 0, *range(4), 3]
    assert found.of_positions["vision"].tolist() == [*np.repeat(range(8), 2), 2]
    drawn = KIND.numbers(of, Draw(1, "test"), Setting())
    np.testing.assert_array_equal(drawn["vision"][:16:2], drawn["audio"][:8])
    np.testing.assert_array_equal(drawn["text"][1:9], drawn["audio"][:8])


def test_what_is_missing_does_not_depend_on_what_a_method_sees():
    store, spans, _ = spoken(5)
    of = {}
    for seen in (("text", "audio", "vision"), ("vision",)):
        data = SplitData(store, "train", scales={}, spans=spans, view=View(modalities=seen))
        of[seen] = KIND.numbers(data.samples, Draw(1, "train 1"), Setting())["vision"]
    np.testing.assert_array_equal(*of.values())


@pytest.mark.parametrize(("setting", "word"), [("rain", "unknown pattern 'rain'"), ("synchronous", "allowed: random")])
def test_a_pattern_that_is_none_is_refused(setting, word):
    with pytest.raises(ValueError, match=word):
        Setting(pattern=setting)

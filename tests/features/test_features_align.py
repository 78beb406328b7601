import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from elision.errors import ElisionError
from elision.features.align import (
    Alignment,
    align,
    frame_rates,
    frames_at,
    frames_during,
    spread,
    spread_in_time,
    token_times,
    word_times,
)
from elision.features.text import extract, load_encoder_part, tokenizer
from elision.store import Header, Sequences, Store

SPOKEN = [("well", 0.5, 0.8), ("the", 0.8, 1.0), ("film", 1.0, 1.4), ("was", 1.6, 1.8), ("good", 2.0, 2.4)]
TIMES = [[start, stop] for _, start, stop in SPOKEN]
NONE = [np.nan, np.nan]


def make_store(texts, *, words=None, frames=(50, 60), rate=10.0, fps=None, max_length=50, duration=3.0):
    """A store of transcripts; every sample has so many audio frames (10 per second) and vision frames (``rate``)."""
    samples = pd.DataFrame({"id": [f"s{i}" for i in range(len(texts))], "text": pd.Series(texts, dtype=object)})
    samples["duration"] = duration
    if words is not None:
        samples["words"] = pd.Series([None if w is None else json.dumps(w) for w in words], dtype=object)
    if fps is not None:
        samples["fps"] = fps
    ids = [extract(text, encoder="minilm", max_length=max_length) for text in texts]
    longest = max(map(len, ids))
    modalities = {"text": Sequences.of(ids, Header(modality="text", length=longest, extractor="minilm"))}
    for name, count, hertz in zip(("audio", "vision"), frames, (10.0, rate), strict=True):
        values = [np.zeros((count, 2), np.float32)] * len(texts)
        modalities[name] = Sequences.of(values, Header(modality=name, length=100, rate=hertz, extractor="test"))
    return Store(samples, modalities, {"data": "d"})


def aligned(store, tmp_path):
    align(store, output=tmp_path / "alignment.safetensors", provenance={"identity": "a"})
    return Alignment.open(tmp_path / "alignment.safetensors")


# Words in time


def test_words_are_matched_whatever_their_case_and_punctuation():
    words = ["Well,", "the", "FILM", "was", "good!"]
    assert word_times(words, SPOKEN, end=3.0).tolist() == TIMES


def test_the_order_of_the_timed_words_is_that_of_time():
    assert word_times(["well", "the", "film"], SPOKEN[::-1], end=3.0).tolist() == TIMES[:3]


def test_words_without_a_counterpart_share_the_time_between_their_neighbours():
    words = ["well", "the", "old", "movie", "was", "good"]
    found = word_times(words, SPOKEN, end=3.0)
    assert found[[0, 1, 4, 5]].tolist() == [TIMES[0], TIMES[1], TIMES[3], TIMES[4]]
    assert found[2:4] == pytest.approx(np.array([[1.0, 1.3], [1.3, 1.6]]))


def test_words_without_a_counterpart_at_the_ends_reach_to_the_ends_of_the_recording():
    found = word_times(["oh", "well", "the", "film", "was", "good", "I", "think"], SPOKEN, end=3.0)
    assert found[0].tolist() == [0.0, 0.5]
    assert found[-2:] == pytest.approx(np.array([[2.4, 2.7], [2.7, 3.0]]))


def test_a_word_between_neighbours_that_touch_takes_no_time():
    assert word_times(["the", "nice", "film"], SPOKEN, end=3.0)[1].tolist() == [1.0, 1.0]


def test_a_timed_word_that_is_no_word_of_the_transcript_is_passed_over():
    spoken = [*SPOKEN[:2], ("er", 1.0, 1.0), ("...", 1.0, 1.1), *SPOKEN[2:]]
    assert word_times(["well", "the", "film", "was", "good"], spoken, end=3.0).tolist() == TIMES


def test_nothing_is_found_where_no_word_agrees():
    assert word_times(["ganz", "anders"], SPOKEN, end=3.0) is None
    assert word_times(["—"], SPOKEN, end=3.0) is None
    assert word_times([], SPOKEN, end=3.0) is None
    assert word_times(["well"], [], end=3.0) is None


def test_chinese_is_matched_by_characters():
    text, spoken = "我喜欢，这个OK", [("我", 0.0, 0.2), ("喜欢", 0.2, 0.6), ("这个", 1.0, 1.4), ("ok", 1.4, 2.0)]
    characters = [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 8), (0, 0)]
    expected = [NONE, [0, 0.2], [0.2, 0.4], [0.4, 0.6], [0.6, 1.0], [1.0, 1.2], [1.2, 1.4], [1.4, 2.0], NONE]
    np.testing.assert_allclose(token_times(characters, text, spoken, end=2.0), expected)


# Tokens in time


def tokens_of(text, spoken, *, max_length=50, end=3.0):
    encoding = tokenizer("minilm")(text, truncation=True, max_length=max_length, return_offsets_mapping=True)
    names = load_encoder_part(AutoTokenizer, "minilm").convert_ids_to_tokens(encoding["input_ids"])
    return names, token_times(encoding["offset_mapping"], text, spoken, end=end)


def test_the_tokens_of_a_word_share_its_time_and_the_ends_have_none():
    names, times = tokens_of("Unbelievably good.", [("unbelievably", 0.2, 0.9), ("good", 1.0, 1.5)])
    assert names == ["[CLS]", "un", "##bel", "##ie", "##va", "##bly", "good", ".", "[SEP]"]
    np.testing.assert_array_equal(times, [NONE, *[[0.2, 0.9]] * 5, [1.0, 1.5], [1.0, 1.5], NONE])


def test_contractions_and_hyphens_are_parts_of_their_word():
    spoken = [("i", 0, 1), ("don't", 1, 2), ("like", 2, 3), ("camera", 3, 3.5), ("work", 3.5, 4)]
    names, times = tokens_of("I don't like camera-work", spoken, end=4)
    assert names[2:5] == ["don", "'", "t"]
    np.testing.assert_array_equal(times[2:5], [[1, 2]] * 3)
    np.testing.assert_array_equal(times[6:9], [[3, 4]] * 3)


def test_a_token_that_spans_several_words_has_the_time_of_all():
    times = token_times([(0, 2), (3, 7)], "これ です", [("こ", 0, 1), ("れ", 1, 2), ("です", 2, 4)], end=4)
    np.testing.assert_array_equal(times, [[0, 2], [2, 4]])


def test_a_transcript_that_is_cut_keeps_the_times_of_what_is_left():
    names, times = tokens_of("Well, the film was good", SPOKEN, max_length=5)
    assert names == ["[CLS]", "well", ",", "the", "[SEP]"]
    np.testing.assert_array_equal(times, [NONE, TIMES[0], TIMES[0], TIMES[1], NONE])


# Frames in time


def test_a_span_of_time_has_the_frames_that_lie_in_it():
    times = np.array([[0.0, 0.2], [0.2, 0.28], [0.28, 0.5], [0.31, 0.33], [0.9, 1.4], [1.0, 1.4], [0.99, 1.4], NONE])
    found = frames_during(times, rate=25.0, length=25)
    assert found.tolist() == [[0, 5], [5, 7], [7, 13], [8, 9], [23, 25], [0, 0], [24, 25], [0, 0]]


def test_there_are_no_frames_in_an_empty_sequence():
    assert frames_during(np.array([[0.0, 1.0], NONE]), rate=25.0, length=0).tolist() == [[0, 0], [0, 0]]


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5)), min_size=1, max_size=12),
    st.floats(0.5, 120),
    st.integers(0, 300),
)
def test_frames_lie_within_the_sequence_and_follow_time(spans, rate, length):
    times = np.array([[start, start + span] for start, span in sorted(spans)])
    found = frames_during(times, rate=rate, length=length)
    assert ((found >= 0) & (found <= length)).all()
    inside = times[:, 0] * rate < length - 1e-6
    assert (np.diff(found, axis=1)[:, 0] > 0).tolist() == inside.tolist()
    # Every frame that lies within a span well away from its borders is there.
    for (start, stop), (first, last) in zip(times * rate, found, strict=True):
        within = np.flatnonzero((np.arange(length) > start + 1e-5) & (np.arange(length) < stop - 1e-5))
        assert set(within) <= set(range(first, last))


# Even segmentation


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 90)), min_size=1, max_size=6))
def test_frames_are_shared_out_evenly(lengths):
    tokens, frames = np.array(lengths).T
    parts = np.split(spread(tokens, frames), np.cumsum(tokens)[:-1])
    for (m, n), spans in zip(lengths, parts, strict=True):
        assert len(spans) == m
        assert ((spans >= 0) & (spans <= n)).all()
        assert (np.diff(spans, axis=0) >= 0).all()
        covered = {frame for start, stop in spans for frame in range(start, stop)}
        assert covered == (set(range(n)) if m else set())
        sizes = np.diff(spans, axis=1)
        assert (sizes >= min(n, 1)).all()
        assert not m or sizes.max() - sizes.min() <= 1


@given(st.integers(1, 60))
def test_an_aligned_sequence_stays_as_it_is(count):
    expected = np.stack([np.arange(count), np.arange(1, count + 1)], 1)
    assert np.array_equal(spread(np.array([count]), np.array([count])), expected)


def test_a_sequence_of_length_1_belongs_to_every_token():
    assert spread(np.array([4]), np.array([1])).tolist() == [[0, 1]] * 4


def test_even_segmentation_of_a_large_corpus():
    random = np.random.default_rng(0)
    tokens, frames = random.integers(3, 50, 20_000), random.integers(1, 500, 20_000)
    spans = spread(tokens, frames)
    row = 12_345
    first = tokens[:row].sum()
    expected = [[k * frames[row] // tokens[row], (k + 1) * frames[row] // tokens[row]] for k in range(tokens[row])]
    assert [[a, max(b, a + 1)] for a, b in expected] == spans[first : first + tokens[row]].tolist()


# Frames that have their own times


@given(
    st.lists(st.tuples(st.floats(0, 12), st.floats(0, 3)), min_size=1, max_size=12),
    st.sampled_from([5.0, 10.0, 25.0, 29.97, 60.0]),
    st.integers(2, 200),
)
def test_frames_at_one_rate_are_found_as_by_their_rate(spans, rate, length):
    # Times of words in hundredths of a second, away from the frames by more than times in files are rounded.
    times = np.round(np.array([[start, start + span] for start, span in sorted(spans)]), 2)
    edges = np.abs(times * rate - np.rint(times * rate)) / rate
    times = times[((edges < 1e-9) | (edges > 1e-3)).all(axis=1) & (times[:, 1] > 0)]
    middles = times.sum(axis=1) * rate / 2
    times = times[np.abs(middles - np.floor(middles) - 0.5) > 1e-6]
    found = frames_at(times, np.arange(length) / rate, step=1 / rate)
    assert found.tolist() == frames_during(times, rate=rate, length=length).tolist()


def test_words_before_the_first_frame_and_after_the_last_have_none():
    seconds = 0.7 + np.arange(50) / 25
    times = np.array([[0.1, 0.5], [0.5, 0.7], [0.6, 0.8], [1.0, 1.2], [2.6, 3.0], [2.71, 3.0], NONE])
    found = frames_at(times, seconds, step=0.04)
    assert found.tolist() == [[0, 0], [0, 0], [0, 3], [8, 13], [48, 50], [0, 0], [0, 0]]


def test_words_take_the_frames_of_a_variable_rate_by_time():
    seconds = np.array([0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.26, 1.7])
    times = np.array([[0.0, 0.2], [0.12, 0.2], [0.4, 0.45], [0.5, 1.0], [1.0, 1.7], [1.7, 1.8]])
    found = frames_at(times, seconds, step=0.24)
    assert found.tolist() == [[0, 3], [2, 3], [3, 4], [3, 5], [5, 7], [7, 8]]


def test_times_in_whole_milliseconds_are_those_of_their_frames():
    seconds = np.round(np.arange(90) / 30, 3)
    times = np.array([[k / 30, (k + 1) / 30] for k in range(90)])
    assert frames_at(times, seconds, step=1 / 30).tolist() == [[k, k + 1] for k in range(90)]


@given(st.integers(1, 40), st.integers(1, 200), st.sampled_from([3.0, 10.0, 25.0, 30.0, 43.06640625]))
def test_frames_at_one_rate_are_shared_out_as_by_their_number(tokens, frames, rate):
    expected = spread(np.array([tokens]), np.array([frames]))
    seconds = np.arange(frames) / rate
    for end in (frames / rate, frames / rate + 0.05, frames / rate - 0.05):
        assert spread_in_time(tokens, seconds, end=end, step=1 / rate).tolist() == expected.tolist()


@given(
    st.integers(1, 30),
    st.lists(st.floats(0.01, 1), min_size=1, max_size=60),
    st.floats(0, 3),
    st.floats(0, 3),
)
def test_parts_of_a_clip_have_the_frames_that_are_shown_in_them(tokens, steps, late, rest):
    seconds = late + np.cumsum([0, *steps[:-1]])
    step = float(np.mean(np.diff(seconds))) if len(seconds) > 1 else steps[0]
    end = seconds[-1] + step + rest
    found = spread_in_time(tokens, seconds, end=end, step=step)
    whole = seconds[-1] + step if rest <= 0.1 else end
    covered = set()
    for k, (start, stop) in enumerate(found):
        begins, ends = k * whole / tokens, (k + 1) * whole / tokens
        assert 0 <= start <= stop <= len(seconds)
        if ends < late - 1e-6 or begins > seconds[-1] + step + 1e-6:
            assert start == stop
        for frame in range(start, stop):
            covered.add(frame)
            shown_until = seconds[frame + 1] if frame + 1 < len(seconds) else seconds[-1] + step
            assert seconds[frame] < ends + 1e-6 and shown_until > begins - 1e-6
    assert covered == set(range(len(seconds)))


def timed_store(*, late, words, end, frames=50):
    """A clip whose 50 vision frames begin late; its audio lasts to the end."""
    store = make_store(
        ["Well, the film was good."], words=[SPOKEN] if words else None, frames=(round(10 * end), frames)
    )
    samples = store.samples.assign(duration=end, cut_at=np.nan, fps=25.0)
    vision = store.modalities["vision"]
    timed = Sequences.of(list(vision), vision.header, [late + np.arange(frames) / 25])
    return Store(samples, {**store.modalities, "vision": timed}, store.provenance)


def test_a_picture_that_starts_late_is_aligned_with_the_words_by_its_times(tmp_path):
    found = aligned(timed_store(late=0.85, words=True, end=2.85), tmp_path)
    assert found.spans["audio"][:6].tolist() == [[0, 0], [5, 8], [5, 8], [8, 10], [10, 14], [16, 18]]
    # The film, from 1.0 to 1.4 s: frame 4 is at 1.01 s, frame 13 at 1.37 s.
    assert found.spans["vision"][:5].tolist() == [[0, 0], [0, 0], [0, 0], [0, 4], [4, 14]]


def test_without_words_all_modalities_of_a_clip_share_out_the_same_time(tmp_path):
    store = timed_store(late=1.8, words=False, end=3.6, frames=45)
    found = aligned(store, tmp_path)
    tokens = store.modalities["text"].lengths[0]
    for k in range(tokens):
        begins, ends = k * 3.6 / tokens, (k + 1) * 3.6 / tokens
        start, stop = found.spans["vision"][k]
        assert (start == stop) == (ends <= 1.8)
        assert all(begins - 0.04 < 1.8 + frame / 25 < ends for frame in range(start, stop))
        assert found.spans["audio"][k].tolist() == spread(np.array([tokens]), np.array([36]))[k].tolist()


def test_sound_that_ends_early_is_not_stretched_over_the_words(tmp_path):
    store = timed_store(late=0.0, words=False, end=2.0)
    audio = store.modalities["audio"]
    short = Sequences.of([audio[0][:10]], audio.header)  # one second of two
    found = aligned(Store(store.samples, {**store.modalities, "audio": short}, store.provenance), tmp_path)
    empty = (np.diff(found.spans["audio"], axis=1) == 0)[:, 0]
    assert empty.tolist() == [False] * 5 + [True] * 4


# The step


def test_samples_with_words_are_aligned_by_them_and_the_rest_evenly(tmp_path, capsys):
    text = "Well, the film was good."
    words = [SPOKEN, None, [], [("anders", 0, 1)], SPOKEN]
    store = make_store([text] * 4 + [None], words=words)
    found = aligned(store, tmp_path)
    assert found.provenance["aligned"] == {m: {"words": 1, "evenly": 4} for m in ("audio", "vision")}
    assert found.provenance["data"] == "d"
    assert found.provenance["identity"] == "a"
    spans = found.spans["audio"]
    without = min(50, store.aligned_length)
    assert (spans.dtype, spans.shape) == (np.int32, (4 * 9 + without, 2))
    by_words = [[0, 0], [5, 8], [5, 8], [8, 10], [10, 14], [16, 18], [20, 24], [20, 24], [0, 0]]
    assert spans[:9].tolist() == by_words
    assert np.array_equal(spans[9:], spread(np.array([9] * 3 + [without]), np.array([50] * 4)))
    assert "audio: aligned by the times of words: 1, evenly: 4" in capsys.readouterr().out


def test_words_beyond_a_sequence_that_was_cut_have_no_frames(tmp_path):
    found = aligned(make_store(["Well, the film was good."], words=[SPOKEN], frames=(12, 60)), tmp_path)
    assert found.spans["audio"].tolist() == [
        *[[0, 0], [5, 8], [5, 8], [8, 10], [10, 12]],
        *[[0, 0]] * 4,
    ]
    assert found.spans["vision"][5].tolist() == [16, 18]


def test_a_text_that_is_cut_is_aligned_as_far_as_it_goes(tmp_path):
    store = make_store(["Well, the film was good."], words=[SPOKEN], max_length=5)
    assert aligned(store, tmp_path).spans["audio"].tolist() == [[0, 0], [5, 8], [5, 8], [8, 10], [0, 0]]


def test_a_video_at_its_own_rate_is_aligned_by_it(tmp_path):
    text = "Well, the film was good."
    store = make_store([text] * 2, words=[SPOKEN] * 2, rate=None, fps=[5.0, np.nan])
    found = aligned(store, tmp_path)
    assert found.provenance["aligned"]["vision"] == {"words": 1, "evenly": 1}
    assert found.spans["vision"][1].tolist() == [3, 4]
    assert np.array_equal(found.spans["vision"][9:], spread(np.array([9]), np.array([60])))


def test_a_video_with_fewer_frames_than_asked_for_keeps_its_rate():
    store = make_store(["x"] * 3, rate=25.0, fps=[10.0, 60.0, np.nan])
    assert frame_rates(store, "vision").tolist() == [10.0, 25.0, 25.0]
    assert frame_rates(store, "audio").tolist() == [10.0] * 3
    assert np.isnan(frame_rates(make_store(["x"], rate=None), "vision")).all()


def test_a_dataset_without_words_is_aligned_evenly(tmp_path, store, capsys):
    found = aligned(store, tmp_path)
    # One of the 24 samples has no audio, another one no text: its frames stand for tokens.
    assert found.provenance["aligned"] == {"audio": {"words": 0, "evenly": 23}, "vision": {"words": 0, "evenly": 24}}
    assert "1 utterance without text: the frames of the shorter modality stand for" in capsys.readouterr().out
    ends = np.cumsum(store.positions())
    assert not found.spans["audio"][ends[4] : ends[5]].any()
    lengths = [store.modalities[name].lengths[6] for name in ("audio", "vision")]
    assert ends[6] - ends[5] == min(lengths)
    assert found.spans["audio"][ends[5] : ends[6], 1].max() == lengths[0]


def test_what_a_dataset_lacks_is_not_aligned(tmp_path, store):
    text, audio = store.modalities["text"], store.modalities["audio"]
    assert aligned(Store(store.samples, {"text": text}, store.provenance), tmp_path).spans == {}
    found = aligned(Store(store.samples, {"audio": audio}, store.provenance), tmp_path)
    assert list(found.spans) == ["audio"]
    each = np.concatenate([np.arange(length) for length in audio.lengths])
    assert np.array_equal(found.spans["audio"], np.stack([each, each + 1], 1))  # each frame stays as it is


def test_other_tokens_than_the_tokenizer_gives_are_refused(tmp_path):
    store = make_store(["good", "bad"], words=[SPOKEN, SPOKEN])
    store.modalities["text"].values[4] += 1
    with pytest.raises(ElisionError, match=r"text\.safetensors: the tokens of sample 's1' .* extract the text again"):
        aligned(store, tmp_path)


def test_an_alignment_repeats_to_the_byte(tmp_path):
    store = make_store(["Well, the film was good.", "no"], words=[SPOKEN, None])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        aligned(store, tmp_path / name)
    first, second = ((tmp_path / name / "alignment.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second

"""Which audio and vision frames belong to which text token.

A sample without text has positions in place of tokens: the frames of its shorter modality (``Store.positions``).

Ranges of frames are stored, not averages: corruption takes frames away, and a method that wants one vector per token
averages what is left, so that every method sees the very same lost frames.

Where a sample has the times of its words, and those of its frames or their rate are known, a token gets the frames
during which its word is spoken, the same for all tokens of a word, and [CLS] and [SEP] get none. Where not, the frames
are shared out evenly among all tokens, [CLS] and [SEP] included: of a clip, by equal parts of its time; of a file that
was aligned by its makers, each token gets its own.
"""

import json
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from operator import itemgetter
from pathlib import Path

import numpy as np

from elision.errors import ElisionError, plural
from elision.features.text import tokenizer
from elision.progress import track
from elision.store import Store, read_tensors, write_tensors

ALIGNED = ("audio", "vision")

# A word is what stands between blanks; in Chinese and Japanese, which have none, every character is one.
_CHARACTERS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\s{_CHARACTERS}]+")
_TOLERANCE = 1e-6  # frames; a word that starts at 0.28 s starts with frame 7 of 25 per second
_ROUNDED = 6e-4  # seconds; many files hold times of frames in whole milliseconds
_AT_THE_END = 0.1  # seconds; tracks of one recording end so close to each other


@dataclass(frozen=True)
class Alignment:
    """The frames of every text token of a dataset.

    Attributes
    ----------
    spans : dict of str to np.ndarray [shape=(sum of positions, 2), dtype=int32]
        For ``audio`` and ``vision``, as far as the dataset has them: the frames [start, stop) of each token, counted
        from the start of its sample's sequence, sample by sample (``Store.positions``); (0, 0) for none.
    provenance : dict
        Its ``aligned`` says how many samples were aligned by words, and how many evenly.
    """

    spans: dict[str, np.ndarray]
    provenance: dict

    @classmethod
    def open(cls, path: Path | str) -> "Alignment":
        """Open what `align` wrote."""
        return cls(*read_tensors(path))


def align(store: Store, *, output: Path, provenance: dict) -> None:
    """Align audio and vision with the text, and write an `Alignment`.

    It says how many samples have no text.

    Parameters
    ----------
    store : Store
        Times of words are in the column ``words`` of its samples (JSON list of [word, start, end] in seconds).
    output : Path
    provenance : dict

    Raises
    ------
    ElisionError
        If the tokens of a sample with words are not those that the tokenizer gives for its text.
    """
    spans, aligned = spans_of(store, where=str(output.with_name("text.safetensors")))
    for modality, counts in aligned.items():
        print(f"{modality}: aligned by the times of words: {counts['words']}, evenly: {counts['evenly']}")
    tokens = np.zeros(len(store.samples)) if store.text is None else store.text.lengths
    if bare := int(np.count_nonzero((store.positions() > 0) & (tokens == 0))):
        told = "the frames of the shorter modality stand for the tokens"
        print(f"{plural(bare, 'utterance')} without text: {told}")
    write_tensors(output, spans, {**provenance, "data": store.provenance["data"], "aligned": aligned})


def spans_of(store: Store, *, where: str) -> tuple[dict[str, np.ndarray], dict[str, dict[str, int]]]:
    """Return the frames of every text token, and how many samples were aligned by words, and evenly.

    Parameters
    ----------
    store : Store
    where : str
        The file of the text, for messages.

    Returns
    -------
    spans, aligned : dict
        See `Alignment`.

    Raises
    ------
    ElisionError
        If the tokens of a sample with words are not those that the tokenizer gives for its text.
    """
    tokens = store.positions()
    starts = np.cumsum(tokens) - tokens
    times = _times_of_tokens(store, where)
    spans, aligned = {}, {}
    for modality in (name for name in ALIGNED if name in store.modalities):
        sequences = store.modalities[modality]
        frames, rates = sequences.lengths, frame_rates(store, modality)
        spans[modality] = spread(tokens, frames)
        by_words = {row for row in times if frames[row] and (sequences.times is not None or not np.isnan(rates[row]))}
        ends = _ends(store)
        for row in np.flatnonzero((tokens > 0) & (frames > 0)):
            seconds, rate = sequences.times_of(row), rates[row]
            if seconds is None and row in by_words:
                found = frames_during(times[row], rate=rate, length=frames[row])
            elif row in by_words:
                found = frames_at(times[row], seconds, step=_step(seconds, rate))
            elif not np.isnan(ends[row]) and (seconds is not None or not np.isnan(rate)):
                seconds = np.arange(frames[row]) / rate if seconds is None else seconds
                found = spread_in_time(tokens[row], seconds, end=ends[row], step=_step(seconds, rate))
            else:
                continue
            spans[modality][starts[row] : starts[row] + tokens[row]] = found
        evenly = int(np.count_nonzero((tokens > 0) & (frames > 0))) - len(by_words)
        aligned[modality] = {"words": len(by_words), "evenly": evenly}
    return spans, aligned


def _ends(store: Store) -> np.ndarray:
    """Return the second at which each clip ends, or is cut [shape=(N,), dtype=float64]; NaN for what is no clip."""
    if "cut_at" not in store.samples:
        return np.full(len(store.samples), np.nan)
    return np.fmin(store.samples["cut_at"].to_numpy(np.float64), store.samples["duration"].to_numpy(np.float64))


def _step(seconds: np.ndarray, rate: float) -> float:
    """Return how long a frame is shown, on average, or by its rate, where there is one frame."""
    if len(seconds) > 1:
        return (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    return 0.0 if np.isnan(rate) else 1 / rate


def frame_rates(store: Store, modality: str) -> np.ndarray:
    """Return the frames per second of each sample [shape=(N,), dtype=float64]; NaN where they are not known.

    The header of the sequences tells them. A video of which every frame is analysed, or that has fewer frames than are
    asked for, keeps its own rate: the column ``fps`` of the samples. The mean of a clip has no rate.
    """
    header = store.modalities[modality].header
    rates = np.full(len(store.samples), np.nan if header.rate is None else header.rate)
    if modality == "vision" and "fps" in store.samples and header.settings.get("pool") != "mean":
        rates = np.fmin(rates, store.samples["fps"].to_numpy(np.float64))
    return rates


def spread(tokens: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Share out the frames of each sample evenly among its tokens.

    Token k of m gets the frames from floor(k n / m) up to floor((k + 1) n / m) of n, and at least one.

    Parameters
    ----------
    tokens, frames : np.ndarray [shape=(N,), dtype=int64]
        Lengths of each sample.

    Returns
    -------
    spans : np.ndarray [shape=(sum of tokens, 2), dtype=int32]
        (0, 0) where the sample has no frames.
    """
    m, n = np.repeat(tokens, tokens), np.repeat(frames, tokens)
    k = np.arange(len(m)) - np.repeat(np.cumsum(tokens) - tokens, tokens)
    start = k * n // m
    stop = np.where(n > 0, np.maximum((k + 1) * n // m, start + 1), 0)
    return np.stack([start, stop], axis=1).astype(np.int32)


def frames_during(times: np.ndarray, *, rate: float, length: int) -> np.ndarray:
    """Return the frames that lie within spans of time; frame t lies at t / rate.

    Parameters
    ----------
    times : np.ndarray [shape=(T, 2), dtype=float64]
        Start and end in seconds; NaN for no time at all.
    rate : float
        Frames per second.
    length : int
        Frames of the sequence, which ends at length / rate.

    Returns
    -------
    spans : np.ndarray [shape=(T, 2), dtype=int32]
        A time that no frame lies in gets the one nearest to its middle; one that starts after the end gets (0, 0).
    """
    begin, end = (times * rate).T
    start, stop = (np.ceil(edge - _TOLERANCE).clip(0, length) for edge in (begin, end))
    nearest = np.rint((begin + end) / 2).clip(0, length - 1)
    between = stop <= start
    spans = np.stack([np.where(between, nearest, start), np.where(between, nearest + 1, stop)], axis=1)
    inside = begin < length - _TOLERANCE
    return np.where(inside[:, np.newaxis], spans, 0).astype(np.int32)


def frames_at(times: np.ndarray, seconds: np.ndarray, *, step: float) -> np.ndarray:
    """Return the frames that lie within spans of time, where each frame has its own time.

    Parameters
    ----------
    times : np.ndarray [shape=(T, 2), dtype=float64]
        Start and end in seconds; NaN for no time at all.
    seconds : np.ndarray [shape=(n,), dtype=float64]
        Of the frames, which never fall.
    step : float
        Seconds that the last frame is shown.

    Returns
    -------
    spans : np.ndarray [shape=(T, 2), dtype=int32]
        A time that no frame lies in gets the one nearest to its middle; one that ends before the first frame, or starts
        after the end of the last, gets (0, 0).
    """
    if not len(seconds):
        return np.zeros((len(times), 2), np.int32)
    begin, end = times.T
    start, stop = (np.searchsorted(seconds, edge - _ROUNDED) for edge in (begin, end))
    nearest = np.rint(np.interp((begin + end) / 2, seconds, np.arange(len(seconds))))
    between = stop <= start
    spans = np.stack([np.where(between, nearest, start), np.where(between, nearest + 1, stop)], axis=1)
    inside = (begin < seconds[-1] + step - _ROUNDED) & ((end > seconds[0]) | (begin >= seconds[0] - _ROUNDED))
    return np.where(inside[:, np.newaxis], spans, 0).astype(np.int32)


def spread_in_time(tokens: int, seconds: np.ndarray, *, end: float, step: float) -> np.ndarray:
    """Share out the frames of a clip among its tokens by equal parts of its time.

    A token gets the frames from the one that is shown when its part begins up to the one that is shown when its part
    ends, and at least one. Frames that follow each other at one rate through the clip are shared out as by `spread`.

    Parameters
    ----------
    tokens : int
    seconds, step
        See `frames_at`.
    end : float
        Second at which the clip ends.

    Returns
    -------
    spans : np.ndarray [shape=(tokens, 2), dtype=int32]
        (0, 0) for a part before the first frame, or after the last.
    """
    last = seconds[-1] + step
    edges = np.arange(tokens + 1) * (last if abs(end - last) <= _AT_THE_END else end) / tokens
    shown = np.searchsorted(seconds, edges + _TOLERANCE * step, side="right") - 1
    start = shown[:-1].clip(0)
    stop = np.maximum(shown[1:], start + 1)
    stop[edges[1:] >= min(edges[-1], last) - _TOLERANCE * step] = np.searchsorted(seconds, edges[-1])
    inside = (shown[1:] >= 0) & (edges[:-1] < last - _TOLERANCE * step)
    return np.where(inside[:, np.newaxis], np.stack([start, stop], axis=1), 0).astype(np.int32)


def token_times(
    characters: np.ndarray, text: str, spoken: list[tuple[str, float, float]], *, end: float
) -> np.ndarray | None:
    """Return when the word of each token is spoken.

    Parameters
    ----------
    characters : np.ndarray [shape=(T, 2)]
        Where each token stands in the text, from and up to which character; from = up to for [CLS] and [SEP].
    text : str
    spoken, end
        See `word_times`.

    Returns
    -------
    times : np.ndarray [shape=(T, 2), dtype=float64] or None
        Start and end in seconds, NaN for tokens that are no part of the text; None if `word_times` finds nothing.
    """
    words = list(_WORD.finditer(text))
    found = word_times([word.group() for word in words], spoken, end=end)
    if found is None:
        return None
    begin, stop = np.reshape(characters, (-1, 2)).T
    first = np.searchsorted([word.end() for word in words], begin, side="right")
    last = np.searchsorted([word.start() for word in words], stop, side="left") - 1
    of_text = (begin < stop) & (first <= last)
    times = np.full((len(begin), 2), np.nan)
    times[of_text] = np.stack([found[first[of_text], 0], found[last[of_text], 1]], axis=1)
    return times


def word_times(words: list[str], spoken: list[tuple[str, float, float]], *, end: float) -> np.ndarray | None:
    """Find out when the words of a transcript are spoken.

    They are compared by their letters and digits, in lower case, with the words whose times are known. Words without a
    counterpart share evenly the time between their neighbours that have one, or up to an end of the recording.

    Parameters
    ----------
    words : list of W str
    spoken : list of (str, float, float)
        Words with start and end in seconds.
    end : float
        Of the recording, in seconds.

    Returns
    -------
    times : np.ndarray [shape=(W, 2), dtype=float64] or None
        None if no word has a counterpart.
    """
    keys, known = [], [np.zeros((0, 2))]
    for word, start, stop in sorted(spoken, key=itemgetter(1)):
        parts = [key for part in _WORD.findall(word) if (key := _key(part))]
        keys += parts
        known.append(_parts(start, stop, len(parts)))
    known = np.concatenate(known)
    blocks = SequenceMatcher(None, [_key(word) for word in words], keys, autojunk=False).get_matching_blocks()
    if not blocks[0].size:
        return None
    times, done, before = np.zeros((len(words), 2)), 0, 0.0
    for i, j, size in blocks:  # the last one is empty, after all words
        after = known[j, 0] if size else end
        times[done:i] = _parts(before, max(before, after), i - done)
        times[i : i + size] = known[j : j + size]
        if size:
            done, before = i + size, known[j + size - 1, 1]
    return times


def _key(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())


def _parts(start: float, stop: float, count: int) -> np.ndarray:
    """Divide a span of time into equal parts [shape=(count, 2)]."""
    edges = np.linspace(start, stop, count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _times_of_tokens(store: Store, where: str) -> dict[int, np.ndarray]:
    """Return the times of the tokens [T, 2] of each row that can be aligned by words."""
    text, samples = store.modalities.get("text"), store.samples
    if text is None or "words" not in samples:
        return {}
    times = {}
    rows = np.flatnonzero(samples["words"].notna() & (text.lengths > 0))
    for row in track(rows, "align words", len(rows)):
        sample = samples.iloc[row]
        encoding = tokenizer(text.header.extractor)(
            sample["text"], truncation=True, max_length=text.header.length, return_offsets_mapping=True
        )
        if not np.array_equal(encoding["input_ids"], text[row]):
            raise ElisionError(
                f"{where}: the tokens of sample {sample['id']!r} are not those that {text.header.extractor} gives now; "
                f"extract the text again: snakemake --cores all --force {where}"
            )
        spoken = json.loads(sample["words"])
        end = np.fmax(sample["duration"], max((stop for _, _, stop in spoken), default=0.0))
        found = token_times(encoding["offset_mapping"], sample["text"], spoken, end=end)
        if found is not None:
            times[row] = found
    return times

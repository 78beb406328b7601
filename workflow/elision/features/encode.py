"""Text vectors, made once for all jobs of a dataset: hidden states of a text encoder that is not trained.

They are the last ones of the encoder of the tokens, or those of a model of the hub (``features.text_hf``).
Methods that read vectors (``Method.reads_text``) and the export to MMSA read them. Token ids stay what a dataset is
made of: an encoder that is part of a method reads these.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from elision.errors import plural
from elision.features import facts
from elision.features.text import load_encoder_part, special_tokens
from elision.progress import track
from elision.settings.params import TextFeatures
from elision.store import Header, Sequences, Store, write_sequences
from elision.task import SPLITS, split_columns

if TYPE_CHECKING:
    import torch

UNLABELLED = "unlabelled"  # the split of the pool that retrieval databases hold, too
_BATCH = 64  # utterances
_ALIKE = 4  # tokens by which lengths in a batch differ, fewer: what is padded is computed, too


def encode(
    store: Store,
    *,
    output: Path,
    provenance: dict,
    settings: TextFeatures | None = None,
    device: "torch.device | str" = "cpu",
    threads: int = 1,
) -> None:
    """Encode the tokens of every sample that is in a split, and write a vector for each.

    A dataset with vectors of its own, or without tokens, needs none: the file then has no vector.

    Parameters
    ----------
    store : Store
    output : Path
        Sequences of ``text_features``, as many as the store has samples.
    provenance : dict
    settings : TextFeatures, optional
        Of ``extractor: hf``, whose model makes the vectors; by default the encoder of the tokens makes them.
    device, threads
        See `hidden_states`.
    """
    text = store.modalities.get("text")
    if text is None or "text_features" in store.modalities:
        print(f"the dataset has {'no tokens' if text is None else 'text vectors of its own'}; nothing is encoded")
        header = Header(modality="text_features", length=1, extractor="none")
        vectors = Sequences(np.zeros((0, 1), np.float32), np.zeros(len(store.samples) + 1, np.int64), header)
    else:
        read = store.samples[split_columns(store.samples)].isin([*SPLITS, UNLABELLED]).any(axis=1).to_numpy()
        ids = [tokens if used else tokens[:0] for tokens, used in zip(text, read, strict=True)]
        header = Header(modality="text_features", length=text.header.length, extractor=text.header.extractor)
        if settings is not None and settings.hub:
            from elision.features import text_hf

            header = text_hf.header(settings, length=text.header.length, device=str(device))
        words, name = _words(store), text.header.extractor
        made = vectors_of(words, ids, encoder=name, header=header, device=device, threads=threads)
        vectors = Sequences.of(made, header)
        for sentence in facts.sentences(vectors, store.samples["id"].tolist()):
            print(f"text: {sentence}")
        print(f"encoded the text of {plural(int(read.sum()), 'sample')}; {int((~read).sum())} are in no split")
    header.provenance = {**provenance, "data": store.provenance["data"]}
    write_sequences(output, vectors)


def _words(store: Store) -> list[str | None]:
    return store.samples["text"].tolist() if "text" in store.samples else [None] * len(store.samples)


def vectors_of(
    words: Iterable[str | None],
    ids: Iterable[np.ndarray],
    *,
    encoder: str,
    header: Header,
    device: "torch.device | str" = "cpu",
    threads: int = 1,
) -> list[np.ndarray]:
    """Return a vector for each token of utterances, made as a header says.

    Parameters
    ----------
    words : iterable of str or None
        Transcripts.
    ids, encoder, device, threads
        See `hidden_states`.
    header : Header
        Of ``text_features``, as `encode` writes it.

    Returns
    -------
    vectors : list of np.ndarray [shape=(T, width), dtype=float32]
    """
    if header.settings.get("extractor") != "hf":
        return hidden_states(ids, encoder=encoder, device=device, threads=threads)
    from elision.features import text_hf

    return text_hf.vectors(words, ids, encoder=encoder, made_as=header, device=str(device))


def hidden_states(
    utterances: Iterable[np.ndarray], *, encoder: str, device: "torch.device | str" = "cpu", threads: int = 1
) -> list[np.ndarray]:
    """Return the encoder's last hidden states of utterances.

    Utterances of like length are encoded together, equal ones once. What else is encoded changes the last bits at most.

    Parameters
    ----------
    utterances : iterable of np.ndarray [shape=(T,), dtype=int32]
        Token ids.
    encoder : str
        See ``text.encoder_path``.
    device : torch.device or str
    threads : int
        CPU threads, which decide last bits.

    Returns
    -------
    states : list of np.ndarray [shape=(T, width), dtype=float32]
    """
    import torch

    torch.set_num_threads(threads)
    utterances = list(utterances)
    model = _model(encoder).to(device)
    pad = special_tokens(encoder)["pad"]
    made: dict[tuple[int, ...], np.ndarray] = {(): np.zeros((0, model.config.hidden_size), np.float32)}
    waiting = sorted({tuple(ids.tolist()) for ids in utterances} - made.keys(), key=lambda ids: (len(ids), ids))
    alike = (list(group) for _, group in groupby(waiting, lambda ids: len(ids) // _ALIKE))
    batches = [group[start : start + _BATCH] for group in alike for start in range(0, len(group), _BATCH)]
    # A clip that is predicted is one batch, and shows no progress of its own.
    for batch in track(batches, "encode the text") if len(batches) > 1 else batches:
        lengths = torch.tensor([len(ids) for ids in batch])
        padded = torch.full((len(batch), len(batch[-1])), pad)
        for row, ids in zip(padded, batch, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        mask = torch.arange(len(batch[-1])) < lengths[:, None]
        with torch.inference_mode():
            found = model(input_ids=padded.to(device), attention_mask=mask.to(device)).last_hidden_state
        made |= {ids: states[: len(ids)] for ids, states in zip(batch, found.float().cpu().numpy(), strict=True)}
    return [made[tuple(ids.tolist())] for ids in utterances]


@lru_cache(maxsize=1)
def _model(encoder: str):  # noqa: ANN202
    from transformers import AutoModel

    return load_encoder_part(AutoModel, encoder).eval()

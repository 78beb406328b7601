"""Text vectors are those of each utterance alone, however many are encoded together."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

from elision.features import encode as module
from elision.features.encode import encode, hidden_states
from elision.features.text import extract, load_encoder_part
from elision.store import Sequences, Store, read_sequences

SENTENCES = (
    "A wonderful film",
    "no",
    "The plot is as thin as the paper that it was written on, and the music does not help at all",
    "A wonderful film",
    "I was there, and I would go again",
    "so good",
    None,
)
IDS = [extract(text, encoder="minilm", max_length=50) for text in SENTENCES]


def alone(ids: np.ndarray) -> np.ndarray:
    """The states of one utterance, by Transformers itself."""
    with torch.inference_mode():
        return load_encoder_part(AutoModel, "minilm")(torch.tensor(ids[None])).last_hidden_state[0].numpy()


def test_states_are_those_of_each_utterance_alone_a_row_per_token():
    states = hidden_states(IDS, encoder="minilm")
    for ids, found in zip(IDS[:-1], states, strict=False):
        np.testing.assert_allclose(found, alone(ids), atol=1e-5, rtol=0)
    assert [found.shape for found in states] == [(len(ids), 384) for ids in IDS]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_and_order_change_no_more_than_the_last_bits(monkeypatch, batch):
    expected = hidden_states(IDS, encoder="minilm")
    monkeypatch.setattr(module, "_BATCH", batch)
    for found, wanted in zip(hidden_states(IDS[::-1], encoder="minilm"), expected[::-1], strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


def test_equal_utterances_have_equal_bits_and_are_encoded_once(monkeypatch):
    seen = []
    model = module._model("minilm")
    monkeypatch.setattr(module, "_model", lambda _: model)
    hook = model.register_forward_hook(lambda _module, _given, output: seen.append(output.last_hidden_state.shape))
    states = hidden_states(IDS * 2, encoder="minilm")
    hook.remove()
    assert seen == [(1, 3, 384), (2, 5, 384), (1, 11, 384), (1, 24, 384)]
    assert all(np.array_equal(states[0], states[k]) for k in (3, 7, 10))
    assert all(np.array_equal(a, b) for a, b in zip(states, hidden_states(IDS, encoder="minilm") * 2, strict=True))


def test_opposite_sentences_have_distant_states():
    """The embedded encoder is a real one: it tells a good film from a bad one and finds synonyms near."""

    def mean(text):
        (states,) = hidden_states([extract(text, encoder="minilm", max_length=50)], encoder="minilm")
        return states.mean(0) / np.linalg.norm(states.mean(0))

    great, superb, awful = map(mean, ("this film is great", "this movie is superb", "this film is awful"))
    assert great @ superb > great @ awful


def encoded(store: Store, tmp_path) -> Sequences:
    store.provenance["data"] = "digest"
    encode(store, output=tmp_path / "text_vectors.safetensors", provenance={"identity": "mine"})
    return read_sequences(tmp_path / "text_vectors.safetensors")


def test_every_sample_in_a_split_has_a_vector_per_token_and_others_have_none(store, tmp_path, capsys):
    text = store.modalities["text"]
    text.header.extractor = "minilm"
    store.samples.loc[[0, 1], "split"] = ["skipped", "unlabelled"]
    vectors = encoded(store, tmp_path)
    assert vectors.lengths.tolist() == [0, *text.lengths[1:]]
    assert vectors.header.provenance == {"identity": "mine", "data": "digest"}
    assert (vectors.header.length, vectors.header.extractor) == (text.header.length, "minilm")
    assert f"encoded the text of {len(store.samples) - 1} samples; 1 are in no split" in capsys.readouterr().out


def test_a_split_of_any_fold_is_read(store, tmp_path):
    text = store.modalities["text"]
    text.header.extractor = "minilm"
    split = store.samples["split"]
    folds = {"fold-1": split.mask(split.index < 2, "unused"), "fold-2": split.mask(split.index != 1, None)}
    changed = Store(store.samples.drop(columns="split").assign(**folds), store.modalities, store.provenance)
    assert encoded(changed, tmp_path).lengths.tolist() == [0, *text.lengths[1:]]


@pytest.mark.parametrize("given", ["vectors of its own", "no tokens"])
def test_a_dataset_that_needs_no_vectors_gets_none(store, tmp_path, capsys, given):
    if given == "no tokens":
        del store.modalities["text"]
    else:
        store.modalities["text_features"] = store.modalities["audio"]
    vectors = encoded(store, tmp_path)
    assert not vectors.lengths.any() and len(vectors) == len(store.samples)
    assert f"{given}; nothing is encoded" in capsys.readouterr().out

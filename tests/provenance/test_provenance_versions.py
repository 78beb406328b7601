import subprocess
import sys

import pytest

from elision.features.shards import merge
from elision.provenance import versions
from elision.provenance.recipe import Recipes
from elision.provenance.versions import differing, joined, of_all, of_run, stamped
from elision.settings.params import Features, Params
from elision.store import Sequences, read_sequences, write_sequences, write_table


@pytest.fixture
def installed(monkeypatch):
    """Say which versions are here; a library that is not named is not installed."""

    def say(**found):
        monkeypatch.setattr(versions, "_version", lambda library: found.get(library.replace("-", "_"), ""))

    return say


def test_every_step_that_is_made_has_its_versions():
    recipes = Recipes(Params(datasets={"demo": {"source": "demo"}}, methods=["majority", "ramer"], seeds=[1]))
    run = ("demo", "majority", "seed-1")
    made = [recipes.prepare("demo"), *(recipes.extract("demo", m) for m in ("text", "audio", "vision"))]
    made += [recipes.store("demo"), recipes.align("demo"), recipes.encode("demo")]
    made += [recipes.corrupt("demo"), recipes.index("demo", "ramer_encoders", "seed-1"), recipes.train(*run)]
    made += [recipes.evaluate(*run), recipes.aggregate, recipes.significance, recipes.report]
    for step in made:
        assert stamped(step)["versions"]["numpy"], step["step"]
        assert stamped(step)["identity"] == step["identity"]


@pytest.mark.parametrize(
    ("step", "named"),
    [
        ("extract audio", {"librosa", "numba", "av"}),
        ("extract vision", {"mediapipe", "av"}),
        ("train", {"torch", "transformers", "tokenizers"}),
        ("significance", {"scipy", "pandas"}),
    ],
)
def test_what_changes_numbers_of_a_step_is_named(step, named):
    assert named <= set(versions.versions(step))


def test_what_is_not_installed_is_left_out_and_pyfeat_is_asked_for_its_own(installed):
    installed(numpy="1", torch="2", mediapipe="3")
    step = {"step": "extract vision", "settings": {"extractor": "mediapipe"}}
    assert stamped(step)["versions"] == {"mediapipe": "3", "numpy": "1"}
    assert stamped({**step, "settings": {"extractor": "pyfeat"}})["versions"] == {"numpy": "1", "torch": "2"}


def test_no_library_is_imported_for_its_version():
    text = "import sys; from elision.provenance.versions import versions; "
    text += "print(versions('train', 'extract audio', 'extract vision'))"
    text += "; print(sorted({'torch', 'librosa', 'numba', 'mediapipe', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "torch" in first and second == "[]"


def test_versions_are_joined_in_any_order_and_as_often_as_one_likes():
    parts = [{"numba": "0.68.1"}, {"numba": "0.69.0", "numpy": "2.4.6"}, {"numba": "0.68.1"}]
    both = joined(parts)
    assert both == {"numba": "0.68.1 and 0.69.0", "numpy": "2.4.6"}
    assert joined(reversed(parts)) == joined([both, *parts]) == joined([both]) == both
    assert differing(both) == "numba 0.68.1 and 0.69.0"
    assert not differing(joined(parts[:1]))


def test_versions_come_along_with_what_is_made_from_them():
    store = {"step": "assemble", "versions": {"numpy": "1"}, "made_with": {"extract audio": {"numba": "2"}}}
    assert of_all(store) == {"assemble": {"numpy": "1"}, "extract audio": {"numba": "2"}}
    assert of_all({"identity": "older"}) == {}
    record = {"versions": {"python": "3", "elision": "0", "torch": "2"}, "made_with": {"prepare": {"av": "1"}}}
    assert of_run(record) == {"train": {"torch": "2"}, "prepare": {"av": "1"}}
    assert of_run(record, "train teacher").keys() == {"train teacher", "prepare"}


def test_other_versions_change_no_identity(installed):
    settings = Params(datasets={"demo": {"source": "demo"}}, methods=["majority"], seeds=[1])

    def identities() -> list[str]:
        recipes = Recipes(settings)
        return [recipes.prepare("demo")["identity"], recipes.train("demo", "majority", "seed-1")["identity"]]

    before = identities()
    installed(numpy="99", torch="99")
    assert identities() == before


def test_shards_of_different_versions_are_merged_with_both_and_it_is_said(store, tmp_path, capsys):
    clips, made = store.samples[["id", "speaker"]], {"identity": "x", "step": "extract audio"}
    write_table(tmp_path / "clips.parquet", clips, {"data": "abc"})
    audio, half, paths = store.modalities["audio"], len(clips) // 2, []
    for number, version in enumerate(("0.68.1", "0.69.0")):
        provenance = {**made, "versions": {"numba": version, "numpy": "2.4.6"}, "clips": "abc"}
        header = audio.header.model_copy(update={"provenance": provenance, "settings": {"failed": {}}})
        paths.append(tmp_path / f"{number}.safetensors")
        write_sequences(paths[-1], Sequences.of(list(audio)[half * number :][:half], header))
    output = tmp_path / "audio.safetensors"
    merge("audio", paths, clips=tmp_path / "clips.parquet", features=Features(), output=output, recipe=made)
    found = read_sequences(output).header.provenance
    assert found["versions"] == {"numba": "0.68.1 and 0.69.0", "numpy": "2.4.6"}
    assert "different versions (numba 0.68.1 and 0.69.0)" in capsys.readouterr().err

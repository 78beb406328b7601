import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from elision.errors import ElisionError
from elision.provenance import recipe
from elision.provenance.recipe import Recipes, check
from elision.settings.params import Params
from elision.store import Header, Sequences, write_sequences, write_table
from elision.training.run import Run

BASE = {
    "datasets": {"demo": {"source": "demo"}},
    "methods": ["majority", {"short": {"method": "text_only", "epochs": 2}}],
    "seeds": [1, 2],
}


def recipes(**sections):
    return Recipes(Params(**{**deepcopy(BASE), **sections}))


def identities(found):
    run = ("demo", "short", "seed-1")
    steps = {
        "prepare": found.prepare("demo"),
        **{m: found.extract("demo", m) for m in ("text", "audio", "vision")},
        "store": found.store("demo"),
        "align": found.align("demo"),
        "corrupt": found.corrupt("demo"),
        "train": found.train(*run),
        "evaluate": found.evaluate(*run),
        "aggregate": found.aggregate,
        "significance": found.significance,
        "report": found.report,
    }
    return {name: step["identity"] for name, step in steps.items()}


DOWNSTREAM = {"evaluate", "aggregate", "significance", "report"}


@pytest.mark.parametrize(
    ("sections", "changed"),
    [
        ({}, set()),
        ({"features": {"audio": {"mfcc": 13}}}, {"audio", "store", "align", "corrupt", "train"} | DOWNSTREAM),
        ({"features": {"text": {"frozen": True}}}, set()),
        ({"corruption": {"random": [0.0, 0.25]}}, {"corrupt"} | DOWNSTREAM),
        ({"train": {"redraw": "never"}}, {"train"} | DOWNSTREAM),
        ({"train": {"device": "cpu"}}, set()),
        ({"train": {"jobs_per_gpu": 2}}, set()),
        ({"train": {"seeds_per_job": 2}}, set()),
        ({"train": {"seeds_per_job": "all"}}, set()),
        ({"train": {"compile": False, "precision": "float32"}}, set()),
        ({"train": {"compile": True}}, {"train"} | DOWNSTREAM),
        ({"train": {"precision": "bfloat16"}}, {"train"} | DOWNSTREAM),
        ({"seeds": [1, 2, 3]}, {"aggregate", "significance", "report"}),
        ({"methods": [BASE["methods"][1]]}, {"aggregate", "significance", "report"}),
        ({"statistics": {"cluster": "video"}}, {"significance", "report"}),
        ({"methods": ["majority", {"short": {"method": "text_only", "epochs": 3}}]}, {"train"} | DOWNSTREAM),
        (
            {"datasets": {"demo": {"source": "demo", "clips": 50}}},
            {"prepare", "text", "audio", "vision", "store", "align", "corrupt", "train"} | DOWNSTREAM,
        ),
        ({"datasets": {"demo": {"source": "demo", "standardise": False}}}, {"train"} | DOWNSTREAM),
        ({"datasets": {"demo": {"source": "demo", "standardise": ["audio"]}}}, {"train"} | DOWNSTREAM),
        ({"datasets": {"demo": {"source": "demo", "standardise": ["audio", "vision"]}}}, set()),
        ({"datasets": {"demo": {"source": "demo", "scale_by": "all"}}}, {"train"} | DOWNSTREAM),
        ({"train": {"watch": "loss"}}, {"train"} | DOWNSTREAM),
        ({"train": {"watch": "metric"}}, set()),
        ({"datasets": {"demo": {"source": "demo", "published": "mosi"}}}, {"report"}),
        ({"train": {"selection": "test_oracle"}}, {"train"} | DOWNSTREAM),
    ],
)
def test_a_setting_changes_the_steps_that_depend_on_it_and_no_others(sections, changed):
    before, after = identities(recipes()), identities(recipes(**sections))
    assert {name for name in before if before[name] != after[name]} == changed


def test_an_artifact_of_the_same_recipe_passes():
    found = json.loads(json.dumps(recipes().prepare("demo")))
    check(found, recipes().prepare("demo"), "x")


def test_a_stale_artifact_is_refused_and_the_difference_named():
    found = recipes(features={"audio": {"mfcc": 13}}).extract("demo", "audio")
    with pytest.raises(ElisionError, match=r"audio\.safetensors does not fit .*mfcc was 13 and is now 20"):
        check(found, recipes().extract("demo", "audio"), "audio.safetensors")


def test_a_stale_input_is_named():
    found = recipes(features={"audio": {"mfcc": 13}}).store("demo")
    with pytest.raises(ElisionError, match="the input 'audio' changed"):
        check(found, recipes().store("demo"), "samples.parquet")


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_the_alignment_is_an_input_of_every_run(step):
    found = recipes()
    inputs = getattr(found, step)("demo", "majority", "seed-1")["inputs"]
    assert inputs["alignment"] == found.align("demo")["identity"]


def test_text_vectors_are_an_input_of_the_methods_that_read_them_and_of_no_other():
    found = recipes(methods=["majority", "mmin", "text_only"])
    vectors = found.encode("demo")
    assert vectors["inputs"] == {"store": found.store("demo")["identity"]}
    inputs = {name: found.train("demo", name, "seed-1")["inputs"] for name in found.params.trained}
    read = {name for name, given in inputs.items() if given.get("text_vectors") == vectors["identity"]}
    assert read == {"mmin", "mmin_teacher"}
    more = recipes(methods=["majority", "mmin"], train={"threads": 2}).encode("demo")
    assert more["identity"] != vectors["identity"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package named elision made of files of the test's own."""

    def write(**modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        recipe._module.cache_clear()

    def locate(name):
        path = tmp_path / f"{name.removeprefix('elision.')}.py"
        return type("Spec", (), {"origin": str(path)}) if path.exists() else None

    monkeypatch.setattr(recipe.importlib.util, "find_spec", locate)
    yield write
    recipe._module.cache_clear()


def test_the_code_digest_follows_imports_and_ignores_comments(package):
    package(a="from elision.b import f\n", b="def f():\n    '''Say.'''\n    return 1\n", c="x = 1\n")
    first = recipe.code("a")
    package(b="def f():\n    '''Say it otherwise.'''\n    return 1  # one\n", c="x = 2\n")
    assert recipe.code("a") == first
    package(b="def f():\n    return 2\n")
    assert recipe.code("a") != first


def test_what_is_kept_of_a_module_is_that_of_its_source(package, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    package(a="from elision import b\n", b="x = 1\n")
    first = recipe.code("a")
    kept = tmp_path / "__pycache__" / f"b.{sys.implementation.cache_tag}.digest.json"
    whole = json.loads(kept.read_text())
    package(b="x = 2\n")
    second = recipe.code("a")
    assert second != first
    for text in ("", "[]", "{}", kept.read_text()[:-9], json.dumps(whole)):  # damaged, or of the source before
        kept.write_text(text)
        package()
        assert recipe.code("a") == second
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "digest": "another"}))
    package()
    assert recipe.code("a") not in (first, second), "it is not read"


def test_an_import_inside_a_function_counts(package):
    package(a="def g():\n    from elision import b\n    return b.x\n", b="x = 1\n")
    first = recipe.code("a")
    package(b="x = 2\n")
    assert recipe.code("a") != first


@pytest.mark.parametrize("changed", ["page.html", "page.css", "page.js", "lnln.csv", "errata.csv"])
def test_a_changed_file_of_the_page_or_of_the_published_numbers_asks_for_another_report(monkeypatch, changed):
    before, read = recipes(), Path.read_bytes
    assert recipes().report == before.report
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b" " * (path.name == changed))
    after = recipes()
    assert after.report["identity"] != before.report["identity"]
    assert after.aggregate == before.aggregate


def test_a_teacher_is_an_input_of_all_that_start_from_it():
    found = recipes(methods=["nmer", "men", "ramer"], teachers={"nmer_teacher": {"epochs": 3}})
    teacher = found.train("demo", "nmer_teacher", "seed-1")
    assert teacher["settings"]["overrides"] == {"epochs": 3}
    for method in ("nmer", "men"):
        assert found.train("demo", method, "seed-1")["inputs"]["nmer_teacher"] == teacher["identity"]
    database = found.index("demo", "ramer_encoders", "seed-1")
    assert database["inputs"] == {"teacher": found.train("demo", "ramer_encoders", "seed-1")["identity"]}
    assert found.train("demo", "ramer", "seed-1")["inputs"]["database"] == database["identity"]


@pytest.mark.parametrize("sections", [{}, {"train": {"validation_rate": 0.5}}, {"train": {"selection": "test_oracle"}}])
def test_a_row_that_shows_a_teacher_changes_neither_the_teacher_nor_what_starts_from_it(sections):
    sections = {"teachers": {"mmin_teacher": {"batch_size": 7}}, **sections}
    shown, hidden = (recipes(methods=rows, **sections) for rows in (["mmin", "mmin_teacher"], ["mmin"]))
    for method in ("mmin", "mmin_teacher"):
        assert shown.train("demo", method, "seed-1111") == hidden.train("demo", method, "seed-1111")
        there, not_there = (Run(found.params, "demo", method, "seed-1111") for found in (shown, hidden))
        assert there.hyperparameters == not_there.hyperparameters
        assert there.mixture == not_there.mixture and there.oracle == not_there.oracle
    assert there.hyperparameters.batch_size == 7 and not there.oracle and there.mixture.validation_rate is None


def test_other_folds_or_classes_of_clips_extract_nothing_anew():
    def changed(**settings):
        return recipes(datasets={"demo": {"source": "demo", "task": "classification", **settings}})

    first = changed(classes=["a", "b"], cuts=[0])
    second = changed(classes=["a", "b"], cuts=[1], folds={"count": 3})
    scores = recipes(datasets={"demo": {"source": "demo"}})
    assert scores.extract("demo", "audio") == first.extract("demo", "audio")
    assert scores.store("demo") != first.store("demo")
    assert first.extract("demo", "audio") == second.extract("demo", "audio")
    assert first.store("demo")["identity"] != second.store("demo")["identity"]
    assert second.params.runs("demo") == [f"seed-{seed}.fold-{fold}" for seed in (1, 2) for fold in (1, 2, 3)]


def test_a_recipe_asked_for_again_is_that_of_fresh_recipes():
    sections = {
        "datasets": {"demo": {"source": "demo"}, "folds": {"source": "demo", "folds": {"count": 2}}},
        "methods": ["nmer", "ramer", {"short": {"method": "text_only", "epochs": 2}}],
        "train": {"selection": "test_oracle"},
    }
    kept = recipes(**sections)
    of = [
        (dataset, method, kept.params.runs(dataset)[1])
        for dataset in sections["datasets"]
        for method in ("short", "ramer")
    ]
    for _ in range(2):
        for step in ("evaluate", "train"):
            for run in of:
                assert getattr(kept, step)(*run) == getattr(recipes(**sections), step)(*run)
        for step in ("corrupt", "align", "store", "modalities", "prepare"):
            for dataset in sections["datasets"]:
                assert getattr(kept, step)(dataset) == getattr(recipes(**sections), step)(dataset)
        for step in ("report", "significance", "aggregate"):
            assert getattr(kept, step) == getattr(recipes(**sections), step)


def test_the_code_digest_imports_none_of_the_code():
    text = "import sys; from elision.provenance.recipe import code; "
    text += "code('training.loop', 'features.audio', 'methods.lnln'); "
    text += "print(sorted({'torch', 'librosa', 'numba', 'elision.training.loop'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """A dataset of arrays with a text encoder in a folder: a function that gives the recipes of now."""
    monkeypatch.chdir(tmp_path)
    Path("encoder").mkdir()
    for name in ("tokenizer.json", "model.safetensors"):
        Path("encoder", name).write_text(name)
    Path("samples.csv").write_text("id,label,split,text\na,1,train,x\nb,1,valid,x\nc,1,test,x\n")
    settings = {"source": "arrays", "table": "samples.csv", "encoder": "encoder"}
    return lambda: recipes(datasets={"demo": settings})


def steps(found):
    run = ("demo", "short", "seed-1")
    made = (found.store("demo"), found.corrupt("demo"), found.train(*run), found.evaluate(*run), found.report)
    return [step["identity"] for step in made]


@pytest.mark.parametrize("path", ["samples.csv", "encoder/tokenizer.json", "encoder/model.safetensors"])
def test_other_content_of_a_file_that_params_name_changes_all_that_is_made_from_it(arrays, path):
    before, time = steps(arrays()), Path(path).stat().st_mtime_ns
    assert steps(arrays()) == before
    text = Path(path).read_text()
    Path(path).write_text(f"{text[:-2]}z{text[-1]}")
    os.utime(path, ns=(time, time))
    assert not set(steps(arrays())) & set(before)


def test_two_files_that_are_swapped_change_what_is_made_from_each(arrays):
    """They have one size and one time: only the content tells them apart."""
    settings = {"source": "arrays", "table": "samples.csv", "encoder": "encoder"}
    text = Path("samples.csv").read_text()
    for name, path in (("1", "samples.csv"), ("2", "others.csv")):
        Path(path).write_text(text.replace("1", name))
        os.utime(path, (5, 5))

    def both():
        found = recipes(datasets={"one": settings, "two": {**settings, "table": "others.csv"}})
        return {found.store(name)["identity"] for name in ("one", "two")}

    before = both()
    Path("samples.csv").rename("swap")
    Path("others.csv").rename("samples.csv")
    Path("swap").rename("others.csv")
    assert not both() & before


def test_files_that_are_not_here_count_as_those_that_the_artifacts_were_made_from(arrays):
    before = arrays()
    write_table(before.layout.samples("demo"), pd.DataFrame({"id": ["a"]}), before.store("demo"))
    Path("samples.csv").unlink()
    shutil.rmtree("encoder")
    assert steps(arrays()) == steps(before)


def test_the_encoder_of_clips_is_an_input_of_the_tokens_and_of_no_other_modality():
    first, second = recipes(), recipes()
    second.params.looked_up["_encoder", "demo"] = "other content"
    assert first.extract("demo", "text")["identity"] != second.extract("demo", "text")["identity"]
    assert first.extract("demo", "audio") == second.extract("demo", "audio")
    assert first.extract("demo", "vision") == second.extract("demo", "vision")


def test_fetched_weights_of_py_feat_are_an_input_of_vision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def vision():
        return recipes(features={"vision": {"extractor": "pyfeat"}}).extract("demo", "vision")["identity"]

    before = vision()
    path = Path("data/pyfeat/retinaface_r34/model.safetensors")
    path.parent.mkdir(parents=True)
    path.write_text("weights")
    first = vision()
    path.write_text("other weights")
    assert len({before, first, vision()}) == 3


def of_hub(modality, own=False, **given):
    """Return the identities of the steps of a dataset, a modality of which a model of the hub extracts."""
    section = {"extractor": "hf", "model": "some/model", **given}
    features = {"features": {modality: section}}
    found = recipes(datasets={"demo": {"source": "demo", **features}}) if own else recipes(**features)
    return identities(found) | {"encode": found.encode("demo")["identity"]}


@pytest.mark.parametrize("modality", ["audio", "vision"])
def test_a_model_of_the_hub_changes_its_own_modality_and_what_follows(modality):
    before = identities(recipes()) | {"encode": recipes().encode("demo")["identity"]}
    after = of_hub(modality)
    # Vision is cut where audio is, so the rate of audio counts.
    follows = {modality, "vision", "store", "align", "encode", "corrupt", "train"} | DOWNSTREAM
    assert {step for step in before if before[step] != after[step]} == follows
    assert of_hub(modality, own=True) == after  # wherever it is said
    assert of_hub(modality, device="cpu") == after
    for given in ({"layers": [-1]}, {"pool": "mean"}, {"precision": "bfloat16"}, {"revision": "v1"}):
        assert of_hub(modality, **given)[modality] != after[modality], given


def test_a_model_of_the_hub_for_text_changes_vectors_alone():
    before = identities(recipes()) | {"encode": recipes().encode("demo")["identity"]}
    after = of_hub("text")
    assert {step for step in before if before[step] != after[step]} == {"encode"}


@pytest.mark.parametrize("modality", ["text", "audio", "vision"])
def test_the_weights_of_a_model_of_the_hub_are_an_input(tmp_path, monkeypatch, modality):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    step = "encode" if modality == "text" else modality
    cached = tmp_path / "hub" / "models--some--model"
    found = [of_hub(modality)[step]]
    for commit in ("a" * 40, "b" * 40):
        (cached / "snapshots" / commit).mkdir(parents=True)
        (cached / "refs").mkdir(exist_ok=True)
        (cached / "refs" / "main").write_text(commit)
        found.append(of_hub(modality)[step])
    assert len(set(found)) == 3
    pinned = of_hub(modality, revision="a" * 40)[step]
    shutil.rmtree(cached)
    assert of_hub(modality, revision="a" * 40)[step] == pinned  # known without its weights


def test_weights_that_are_not_here_count_as_those_that_the_features_were_made_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("model/weights").write_text("weights")
    sections = {"features": {"audio": {"extractor": "hf", "model": "model"}}}
    before = recipes(**sections)
    made = before.extract("demo", "audio")
    write_sequences(
        before.layout.sequences("demo", "audio"),
        Sequences.of([np.zeros((1, 2))], Header(modality="audio", length=1, extractor="hf", provenance=made)),
    )
    shutil.rmtree("model")
    assert recipes(**sections).extract("demo", "audio")["identity"] == made["identity"]


@pytest.mark.parametrize(
    ("module", "old", "new", "changed"),
    [
        ("evaluation/metrics/__init__.py", "outputs.argmax(1)", "outputs.argmin(1)", {"train", "evaluate"}),
        ("evaluation/metrics/_catalogue.py", "else _of_scores(corpus)", "else 'sims'", {"train", "evaluate"}),
        ("task.py", "int(fold or 0)", "int(fold or 1)", {"train", "evaluate", "aggregate"}),
        ("provenance/versions.py", '"numpy", "tokenizers"', '"numpy"', set()),
    ],
)
def test_code_that_scores_or_reads_the_name_of_a_run_is_part_of_recipes(monkeypatch, module, old, new, changed):
    """What decides values is in the digest of what it decides, and the list of libraries that are recorded is not."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    recipe._module.cache_clear()
    before, read = recipes(), Path.read_bytes
    codes = {"train": before.train("demo", "short", "seed-1"), "evaluate": before.evaluate("demo", "short", "seed-1")}
    codes = {name: made["code"] for name, made in {**codes, "aggregate": before.aggregate}.items()}

    def other(path):
        text = read(path)
        if path.as_posix().endswith(f"elision/{module}"):
            assert old.encode() in text
            return text.replace(old.encode(), new.encode())
        return text

    monkeypatch.setattr(Path, "read_bytes", other)
    recipe._module.cache_clear()
    try:
        after = recipes()
        now = {"train": after.train("demo", "short", "seed-1"), "evaluate": after.evaluate("demo", "short", "seed-1")}
        now = {name: made["code"] for name, made in {**now, "aggregate": after.aggregate}.items()}
    finally:
        recipe._module.cache_clear()
    assert changed <= {name for name in codes if codes[name] != now[name]}
    assert changed or codes == now


@pytest.mark.parametrize(
    ("corruption", "told"),
    [("mixed", "'mixed'; did you mean combined"), ("rain", "'rain'; "), ("gaussian", "'gaussian'; ")],
)
def test_a_run_that_is_trained_on_an_unknown_corruption_has_no_recipe(corruption, told):
    found = recipes(methods=[{"mine": {"method": "lnln", "corruption": corruption}}])
    with pytest.raises(ElisionError, match=rf"methods\.mine: corruption: unknown {told}"):
        found.train("demo", "mine", "seed-1")


def test_a_row_without_a_corruption_of_its_own_is_trained_on_that_of_the_params():
    found = recipes(methods=["mmin", {"mine": {"method": "mmin", "corruption": None}}])
    kinds = [found.train("demo", name, "seed-1")["settings"]["corruption"] for name in ("mmin", "mine")]
    assert kinds == ["absent", "half_complete"]


def test_a_test_on_another_dataset_changes_no_identity_but_those_of_what_shows_it():
    datasets = {"demo": {"source": "demo"}, "other": {"source": "demo", "seed": 5}}
    tested = {**datasets, "demo": {"source": "demo", "test_on": "other"}}
    before, after = recipes(datasets=datasets), recipes(datasets=tested)
    assert {name for name, made in identities(before).items() if made != identities(after)[name]} == {
        "aggregate",
        "significance",
        "report",
    }
    elsewhere = after.evaluate("demo-on-other", "short", "seed-1")
    assert elsewhere["inputs"] == {
        "model": after.train("demo", "short", "seed-1")["identity"],
        "corruptions": after.corrupt("other")["identity"],
        "alignment": after.align("other")["identity"],
    }


TUNED = {"methods": ["short"], "trials": 3}


@pytest.mark.parametrize(
    ("tune", "changed"),
    [
        ({"methods": ["other"]}, set()),
        (TUNED, {"train"} | DOWNSTREAM),
    ],
)
def test_tuning_changes_the_trainings_of_the_methods_that_are_tuned_and_no_others(tune, changed):
    rows = [*BASE["methods"], {"other": {"method": "text_only"}}]
    before, after = (identities(recipes(methods=rows, **more)) for more in ({}, {"tune": tune}))
    assert {name for name in before if before[name] != after[name]} - {"aggregate", "significance", "report"} == (
        changed - {"aggregate", "significance", "report"}
    )


@pytest.mark.parametrize(
    ("sections", "changed"),
    [
        ({"tune": {**TUNED, "trials": 4}}, {"tune", "train"}),
        ({"tune": {**TUNED, "seed": 2}}, {"trial", "tune", "train"}),
        ({"tune": {**TUNED, "seed": 1}}, set()),
        ({"tune": {**TUNED, "trials_at_once": 2}}, {"trial", "tune", "train"}),
        ({"tune": {**TUNED, "prune_after": None}}, {"trial", "tune", "train"}),
        ({"tune": {**TUNED, "space": {"short": {"weight_decay": None}}}}, {"trial", "tune", "train"}),
        ({"tune": {**TUNED, "methods": ["majority", "short"]}}, set()),
        ({"seeds": [1, 2, 3]}, set()),
        ({"corruption": {"random": [0.0, 0.25]}}, set()),
        ({"train": {"selection": "test_oracle"}}, {"trial", "tune", "train"}),
        ({"train": {"seeds_per_job": "all"}}, set()),
    ],
)
def test_a_setting_of_tuning_changes_the_trials_that_depend_on_it_and_more_trials_keep_the_first(sections, changed):
    def made(found):
        study = ("demo", "short", found.params.tuning_run("demo", "seed-2"))
        made = {
            "trial": found.trial(*study),
            "tune": found.tune(*study),
            "train": found.train("demo", "short", "seed-2"),
        }
        assert made["train"]["inputs"]["tuned"] == made["tune"]["identity"]
        return {name: recipe["identity"] for name, recipe in made.items()}

    before, after = made(recipes(tune=TUNED)), made(recipes(**{"tune": TUNED, **sections}))
    assert {name for name in before if before[name] != after[name]} == changed

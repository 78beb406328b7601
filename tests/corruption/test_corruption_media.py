"""Corrupted media as conditions: settings, words, and what depends on them."""

import pytest

from elision.corruption import medium, plan
from elision.corruption.kind import kind_of, kinds
from elision.corruption.plan import conditions
from elision.errors import ElisionError
from elision.provenance.layout import Layout
from elision.provenance.recipe import Recipes
from elision.report import asked, figure_names, table_names
from elision.settings import params as parameters
from elision.task import MODALITIES

DEMO = {"demo": {"source": "demo"}}
ARRAYS = {"features": {"source": "arrays", "table": "samples.csv"}}


def params(media=None, datasets=DEMO, **sections):
    content = {"datasets": datasets, "methods": ["majority"], "seeds": [1], **sections}
    return parameters.checked({**content, "corruption": {"media": media} if media else {}}, "params.yaml")


def refused(message, **what):
    with pytest.raises(ElisionError, match=message):
        params(**what)


@pytest.mark.parametrize("name", medium.names())
def test_a_kind_says_all_of_itself_without_its_libraries(name):
    facts, kind = medium.facts(name), medium.kind(name)
    for attribute in ("name", "medium", "levels", "names", "unit", "caption", "level", "about", "measured"):
        assert getattr(facts, attribute) == getattr(kind, attribute), attribute
    assert len(facts.levels) == 5
    assert facts.about.endswith(".")
    assert len({facts.level_name(severity) for severity in range(6)}) == 6
    shown = kind_of(name)
    assert shown.name == name and shown.source is kinds()["media"]
    assert shown.caption == facts.caption and set(facts.measured) <= set(shown.measured)


def test_facts_are_read_without_importing_what_the_kinds_import():
    for name in medium.names():
        medium._literal(f"elision.corruption.media.{name}", name, "measured")  # else it is imported


def test_conditions_are_those_of_the_severities_and_the_medium():
    found = params({"white_noise": [0, 3], "black": 5}).corruption
    listed = [(c.corruption, c.level, c.modalities) for c in conditions(found, MODALITIES) if c.kind.name == "media"]
    assert listed == [("black", 5, ("vision",)), ("white_noise", 0, ()), ("white_noise", 3, ("audio",))]
    assert [c.corruption for c in conditions(found, ("text", "audio")) if c.kind.name == "media"] == ["white_noise"] * 2
    assert all(len(c.kind.describe(c)) > 5 for c in conditions(found, MODALITIES) if c.kind.name == "media")
    recognised = params({"white_noise": [1], "black": [1], "recogniser": "pocketsphinx"}).corruption
    (black, white) = [c for c in conditions(recognised, MODALITIES) if c.kind.name == "media"]
    assert (black.modalities, white.modalities) == (("vision",), ("text", "audio"))
    assert params(["black"]).media_for("demo")["black"].severities == [1, 2, 3, 4, 5]
    assert "media" not in [kind.name for kind in plan.tested(params().corruption_for("demo"))]


def test_settings_that_make_no_sense_are_refused_with_what_to_write():
    refused(
        "corruption.media: unknown kind of corrupted media 'white_nois'; did you mean white_noise",
        media={"white_nois": [1]},
    )
    refused("corruption.media.black.severities.0: .*less than or equal to 5", media={"black": [7]})
    refused("corruption.media.black: found 'strong'; give severities", media={"black": "strong"})
    refused("duplicate entry: 1", media={"black": [1, 1]})
    refused("corruption.media: .*no kind corrupts sound", media={"black": [1], "recogniser": "pocketsphinx"})
    refused("corruption.media.recogniser", media={"muted": [1], "recogniser": ""})
    refused(
        "recogniser is 'pocketsphinx', but features.text.recogniser is 'openai/whisper-small'; leave out",
        media={"muted": [1], "recogniser": "pocketsphinx"},
        features={"text": {"recogniser": "openai/whisper-small"}},
    )
    refused(r"babble.voice: unknown key; did you mean voices\?", media={"babble": {"voice": 2}})
    refused(
        "datasets.demo.media: unknown kind .*did you mean black",
        datasets={"demo": {"source": "demo", "media": {"blak": 1}}},
    )
    refused(
        "datasets.demo.media.black: found .*give a severity",
        datasets={"demo": {"source": "demo", "media": {"black": [1]}}},
    )


def test_datasets_without_clips_have_no_corrupted_media():
    refused("corruption.media: no dataset consists of clips", media=["black"], datasets=ARRAYS)
    wrong = {"features": {**ARRAYS["features"], "media": {"black": 1}}}
    refused("datasets.features.media: source arrays has features and no clips", datasets=wrong)
    both = params(["black"], datasets={**DEMO, **ARRAYS})
    assert both.media_left_out == ["black: dataset 'features' (source arrays) has features and no clips"]
    assert not both.media_for("features") and list(both.media_for("demo")) == ["black"]
    openface = {"mine": {"source": "clips", "folder": "data/mine", "openface": "data/openface"}}
    told = params(["black", "muted"], datasets=openface)
    assert list(told.media_for("mine")) == ["muted"]
    assert told.media_left_out == ["black: dataset 'mine' (source clips) has the vision of OpenFace's files"]


def identities(found):
    recipes = Recipes(found)
    made = {f"extract {name}": recipes.extract("demo", name) for name in MODALITIES}
    made |= {"store": recipes.store("demo"), "train": recipes.train("demo", "majority", "seed-1")}
    made |= {"corrupt": recipes.corrupt("demo"), "evaluate": recipes.evaluate("demo", "majority", "seed-1")}
    return {name: recipe["identity"] for name, recipe in made.items()}


def test_corrupted_media_are_evaluated_and_make_no_training_and_no_extraction_stale():
    before, after = identities(params()), identities(params({"white_noise": [1]}))
    assert {name for name in before if before[name] != after[name]} == {"corrupt", "evaluate"}
    recipes = [Recipes(params({"white_noise": {"severities": levels}, "black": [1]})) for levels in ([1], [1, 3])]
    white, black = (
        [each.corrupt_media("demo", name)["identity"] for each in recipes] for name in ("white_noise", "black")
    )
    assert white[0] != white[1]
    assert black[0] == black[1]  # a kind by itself


def test_a_dataset_of_corrupted_clips_is_extracted_anew_as_far_as_its_kinds_go():
    noisy = {"demo": {"source": "demo", "media": {"white_noise": 3}}}
    before, after = identities(params()), identities(params(datasets=noisy))
    assert {name for name in before if before[name] == after[name]} == {"extract text", "extract vision"}
    orders = [
        {"demo": {"source": "demo", "media": dict(order)}}
        for order in ([("low_pass", 1), ("white_noise", 3)], [("white_noise", 3), ("low_pass", 1)])
    ]
    assert len({identities(params(datasets=order))["extract audio"] for order in orders}) == 2


def test_defences_make_what_they_change_anew():
    def changed(datasets=DEMO, **features):
        before, after = identities(params(datasets=datasets)), identities(params(datasets=datasets, features=features))
        return {name for name in MODALITIES if before[f"extract {name}"] != after[f"extract {name}"]}

    assert changed(audio={"gating": True}) == {"audio"}
    assert changed(vision={"fill": "last"}) == {"vision"}
    assert changed(text={"recogniser": "pocketsphinx"}) == {"text"}
    heard = {"text": {"recogniser": "pocketsphinx"}}
    noisy = {"demo": {"source": "demo", "media": {"white_noise": 3}}}
    clean, loud = (identities(params(datasets=each, features=heard)) for each in (DEMO, noisy))
    assert clean["extract text"] != loud["extract text"]  # of the corrupted sound
    whole = params({"white_noise": [1], "black": [1]}, features=heard)
    (black, white) = [c for c in conditions(whole.corruption_for("demo"), MODALITIES) if c.kind.name == "media"]
    assert (black.modalities, white.modalities) == (("vision",), ("text", "audio"))
    assert whole.recogniser_for("demo", "white_noise") == "pocketsphinx"


def test_the_seed_of_media_is_that_of_all_runs():
    assert params(["black"]).media_seed("demo") == 1111
    own = {"datasets": DEMO, "methods": ["majority"], "corruption": {"media": ["black"], "seed": "run"}}
    assert parameters.checked(own, "params.yaml").media_seed("demo") == 1111


def test_a_folder_of_noises_counts_by_its_content(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"one")
    found = params({"noises": {"severities": [1], "folder": str(tmp_path)}})
    first = Recipes(found).corrupt_media("demo", "noises")
    (tmp_path / "noise.wav").write_bytes(b"another")
    assert Recipes(found).corrupt_media("demo", "noises")["identity"] != first["identity"]


def test_files_tables_and_figures_follow_from_the_params():
    found = params({"white_noise": [1, 5]})
    files = Layout().stage("corruptions", found)
    assert [path.as_posix() for path in files[2:]] == [
        "results/corruptions/demo/white_noise.safetensors",
        "results/corruptions/demo/white_noise.parquet",
    ]
    tables, figures = table_names(asked(found)), [name for _, name in figure_names(asked(found))]
    assert {"white_noise", "white_noise_per_level", "white_noise_area", "white_noise_measured", "kinds"} <= set(tables)
    assert {"white_noise_curve_f1", "white_noise_curve_mae", "white_noise_measured"} <= set(figures)
    assert not [name for name in [*tables, *figures] if name.startswith(("black", "babble", "media"))]

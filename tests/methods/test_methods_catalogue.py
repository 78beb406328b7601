import inspect
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_methods import SPEC, tiny_encoder

import elision.methods
from elision.corruption.kind import kinds
from elision.errors import ElisionError
from elision.methods import build, check, counts, load, method_names, resolve, resolve_variant
from elision.settings import catalogue
from elision.settings.params import Params, known_from, made_for, needs, retrieves, teacher_names
from elision.task import OFFICIAL_SPECS, TaskKind


def test_every_file_of_the_folder_is_a_method_that_can_be_loaded():
    files = {path.stem for path in Path(elision.methods.__file__).parent.glob("*.py")}
    assert set(method_names()) == files - {"__init__", "base"}
    for name in method_names():
        assert load(name).name == name


def test_an_unknown_method_is_named_with_its_nearest_neighbour():
    with pytest.raises(ElisionError, match="unknown method 'self-mm'; did you mean self_mm"):
        load("self-mm")


def test_origins_tell_defaults_of_the_card_of_the_corpus_and_overrides_apart():
    hyperparameters, origins = resolve("lnln", "simsv2", {"learning_rate": 3e-4})
    assert (hyperparameters.adversarial_weight, origins["adversarial_weight"]) == (0.6, "sims default")
    assert (hyperparameters.learning_rate, origins["learning_rate"]) == (3e-4, "override")
    assert (hyperparameters.batch_size, origins["batch_size"]) == (64, "card default")
    assert set(origins) == set(type(hyperparameters).model_fields)


def test_an_override_wins_over_the_default_of_the_corpus():
    hyperparameters, origins = resolve("lnln", "mosei", {"fusion_depth": 3})
    assert (hyperparameters.fusion_depth, origins["fusion_depth"]) == (3, "override")


def test_every_wrong_override_is_named_with_what_is_allowed():
    with pytest.raises(ElisionError) as error:
        resolve("lnln", "mosi", {"learning_rat": 1, "epochs": -3, "corruption": "some"})
    message = str(error.value)
    assert "lnln: learning_rat: unknown hyperparameter; did you mean learning_rate? allowed: epochs" in message
    assert "lnln: epochs: Input should be greater than or equal to 0 (found -3)" in message
    trained = [repr(name) for name, kind in kinds().items() if kind.training]
    allowed = f"{', '.join(trained[:-1])} or {trained[-1]}"
    assert f"lnln: corruption: Input should be {allowed} (found 'some')" in message


def test_modalities_must_be_known_and_hold_what_the_method_requires():
    assert resolve("lnln", "mosi", {"modalities": ["audio", "vision"]})[0].modalities == ("audio", "vision")
    for wrong in ([], ["smell"]):
        with pytest.raises(ElisionError, match="lnln: modalities"):
            resolve("lnln", "mosi", {"modalities": wrong})
    with pytest.raises(ElisionError, match="text_only: modalities leaves out text, which text_only requires; add text"):
        resolve("text_only", "mosi", {"modalities": ["audio"]})


def test_checking_params_names_every_wrong_entry():
    params = Params(
        datasets={"demo": {"source": "demo"}},
        methods=["majority", {"a": {"method": "lnln", "epoch": 3}}, {"b": {"method": "self_mm", "batch_size": 0}}],
    )
    with pytest.raises(ElisionError) as error:
        check(params)
    assert "methods.a: lnln: epoch: unknown hyperparameter; did you mean epochs?" in str(error.value)
    assert "methods.b: self_mm: batch_size:" in str(error.value)


def test_a_method_refuses_a_task_that_it_is_not_made_for():
    spec = replace(SPEC, task=TaskKind.CLASSIFICATION, classes=("sad", "happy"))
    with pytest.raises(ElisionError, match="self_mm is made for regression, but the dataset asks for classification"):
        build("self_mm", resolve("self_mm", "mosi")[0], spec, tiny_encoder())


@pytest.mark.parametrize("dims", ["mosi", "mosei", "sims"])
def test_the_catalogue_counts_every_method_without_its_text_encoder(dims):
    listed = {entry["name"]: entry for entry in counts(dims)}
    assert list(listed) == method_names()
    for name, entry in listed.items():
        assert sum(entry["submodules"].values()) == entry["parameters"]
        assert load(name).official_counts.get(dims, entry["parameters"]) == entry["parameters"]
    assert listed["lnln"]["submodules"]["<own>"] == 2048
    assert listed["majority"] == {"name": "majority", "parameters": 0, "submodules": {}}
    assert listed["text_only"]["submodules"] == {"head": 769}


@pytest.mark.parametrize(
    ("entry", "epochs", "origin"),
    [
        ("text_only", 3, "train.epochs"),
        ({"mine": {"method": "text_only", "epochs": 7}}, 7, "override"),
        ("majority", 0, "card default"),
    ],
)
def test_the_epochs_of_all_methods_replace_those_of_a_method_that_has_some(entry, epochs, origin):
    params = Params(datasets={"demo": {"source": "demo"}}, methods=[entry], train={"epochs": 3})
    hyperparameters, origins = resolve_variant(params, params.methods[0], "demo")
    assert (hyperparameters.epochs, origins["epochs"]) == (epochs, origin)


@pytest.mark.parametrize("name", method_names())
def test_what_the_workflow_reads_without_pytorch_is_what_the_class_says(name):
    method = load(name)
    assert needs(name) == method.needs
    assert retrieves(name) == method.retrieves
    assert made_for(name) == method.task


def test_checking_params_names_wrong_hyperparameters_of_teachers():
    params = Params(
        datasets={"demo": {"source": "demo"}},
        methods=["mmin"],
        teachers={"mmin_teacher": {"epoch": 3}, "nmer_teacher": {"batch_size": 0}},
    )
    with pytest.raises(ElisionError) as error:
        check(params)
    assert "teachers.mmin_teacher: mmin_teacher: epoch: unknown hyperparameter; did you mean epochs?" in str(
        error.value
    )
    assert "teachers.nmer_teacher: nmer_teacher: batch_size:" in str(error.value)  # although nothing starts from it
    assert "methods." not in str(error.value)


def test_all_methods_are_those_that_are_made_for_every_task():
    classes = {"task": "classification", "classes": ["low", "high"], "cuts": [0]}
    scores, emotions = {"source": "demo"}, {"source": "demo", **classes}
    of = {
        names: {variant.method for variant in Params(datasets=datasets, methods="all").methods}
        for names, datasets in {
            "scores": {"a": scores},
            "classes": {"b": emotions},
            "both": {"a": scores, "b": emotions},
        }.items()
    }
    assert of["scores"] == set(method_names()) - set(teacher_names())
    assert of["classes"] == of["both"] == {name for name in of["scores"] if "classification" in load(name).task}


def test_a_method_sees_what_its_teacher_sees():
    def params(**teachers):
        mine = {"mine": {"method": "mmin", "modalities": ["text", "audio"]}}
        return Params(datasets={"demo": {"source": "demo"}}, methods=[mine], teachers=teachers)

    check(params(mmin_teacher={"modalities": ["text", "audio"]}))
    with pytest.raises(ElisionError, match=r"methods\.mine: modalities is text, audio, but its teacher sees text, "):
        check(params())


# What MMSA's configuration of CH-SIMS v2 says of each method, where it says something else than that of CH-SIMS.
SIMS_V2 = {
    "tfn": {
        "batch_size": 128,
        "learning_rate": 0.002,
        "text_width": 128,
        "audio_dropout": 0.3,
        "vision_dropout": 0.3,
        "fusion_dropout": 0.5,
    },
    "mult": {
        "learning_rate": 0.0005,
        "gradient_clip": 1.0,
        "width": 30,
        "heads": 6,
        "layers": 4,
        "audio_kernel": 3,
        "attention_dropout": 0.1,
        "attention_dropout_audio": 0.2,
        "relu_dropout": 0.1,
        "embedding_dropout": 0.2,
        "residual_dropout": 0.0,
        "text_dropout": 0.5,
        "output_dropout": 0.3,
    },
    "misa": {
        "batch_size": 16,
        "width": 64,
        "dropout": 0.5,
        "difference_weight": 0.5,
        "reconstruction_weight": 0.5,
        "gradient_clip": 0.8,
    },
    "self_mm": {
        "batch_size": 16,
        "learning_rate_audio": 0.001,
        "learning_rate_vision": 0.001,
        "weight_decay_text_encoder": 0.01,
        "weight_decay_audio": 0.0,
        "weight_decay_vision": 0.0,
        "audio_width": 32,
        "text_dropout": 0.0,
        "label_limit": "mosi",
    },
    "cenet": {"batch_size": 64, "learning_rate": 3e-5, "adam_epsilon": 3e-8},
    "tetfn": {
        "vision_hidden": 32,
        "text_kernel": 5,
        "audio_kernel": 3,
        "attention_dropout": 0.1,
        "attention_dropout_audio": 0.0,
        "attention_dropout_vision": 0.1,
        "relu_dropout": 0.0,
        "residual_dropout": 0.1,
        "fusion_width": 128,
        "text_dropout": 0.1,
        "learning_rate_text_encoder": 5e-6,
        "learning_rate_audio": 5e-4,
        "learning_rate_vision": 5e-3,
        "learning_rate": 3e-4,
        "weight_decay_audio": 0.001,
        "weight_decay_vision": 0.001,
    },
}


@pytest.mark.parametrize("name", method_names())
def test_ch_sims_v2_has_the_values_of_mmsa_and_otherwise_those_of_ch_sims(name):
    first, second = (resolve(name, corpus)[0].model_dump() for corpus in ("sims", "simsv2"))
    assert {key: value for key, value in second.items() if value != first[key]} == SIMS_V2.get(name, {})
    origins = set(resolve(name, "simsv2")[1].values())
    assert ("simsv2 default" in origins) == (name in SIMS_V2)


def test_generated_labels_of_self_mm_reach_3_on_ch_sims_v2_and_1_on_ch_sims():
    limits = {}
    for corpus in ("sims", "simsv2", "mosi"):
        sizes = replace(OFFICIAL_SPECS["sims"], corpus=corpus)
        method = build("self_mm", resolve("self_mm", corpus)[0], sizes, tiny_encoder())
        limits[corpus] = method.label_generator.limit
    assert limits == {"sims": 1.0, "simsv2": 3.0, "mosi": 3.0}


@pytest.mark.parametrize("name", [name for name in method_names() if known_from(name)])
def test_a_method_that_was_built_without_its_paper_says_so_in_its_first_sentence(name):
    cls = load(name)
    first = inspect.getmodule(cls).__doc__.partition(".")[0]
    assert "built without the paper" in first
    assert cls.known_from == known_from(name)
    assert cls.known_from in catalogue.card(name).replace("\n", " ").replace("               ", "")

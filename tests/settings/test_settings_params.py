from pathlib import Path

import pytest
import yaml

from elision.errors import ElisionError
from elision.methods import check, resolve
from elision.settings import params

REPOSITORY = Path(__file__).parents[2]

GOOD = {"datasets": {"demo": {"source": "demo"}}, "methods": ["majority"]}


def load(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return params.load(path)


def test_the_params_of_the_repository_are_good():
    check(params.load(REPOSITORY / "params.yaml"))


def test_the_params_of_the_repository_state_the_defaults():
    """A comment-like params.yaml that disagrees with the defaults would mislead whoever deletes a line of it."""
    written = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    loaded = params.load(REPOSITORY / "params.yaml")
    for section in ("features", "corruption", "train"):
        assert getattr(loaded, section) == type(getattr(loaded, section))(), section
        assert written[section]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trian": {}}, r"trian: unknown key; did you mean train\? allowed: .*seeds"),
        ({"train": {"epoch": 3}}, r"train\.epoch: unknown key; did you mean epochs\?"),
        (
            {"train": {"corruption": "heavy"}},
            r"train\.corruption: Input should be 'random', .*'half_complete' or 'complete' \(found 'heavy'\)",
        ),
        ({"train": {"epochs": "many"}}, r"train\.epochs: .*integer.*'many'"),
        ({"train": {"device": "gpu"}}, r"train\.device"),
        ({"corruption": {"random": [0.5, 1.5]}}, r"corruption\.random\.1: .*less than or equal to 1"),
        ({"corruption": {"random": [0.5, 0.5]}}, r"corruption\.random: duplicate entry: 0\.5"),
        (
            {"corruption": {"noise": 0.3}},
            r"corruption\.noise: found 0\.3; give a mapping of some of the keys kinds, in",
        ),
        ({"features": {"text": "minilm"}}, r"features\.text: found 'minilm'; give a mapping of .* encoder, max_length"),
        ({"train": [3]}, r"train: found \[3\]; give a mapping of some of the keys corruption, rates"),
        ({"corruption": {"burst": [1.5]}}, r"corruption\.burst\.rates\.0: .*less than or equal to 1"),
        ({"seeds": []}, r"seeds: .*at least 1"),
        ({"methods": ["lnl"]}, r"methods\.0\.method: unknown method 'lnl'; did you mean lnln\? allowed: .*majority"),
        ({"methods": ["lnln", "lnln"]}, r"methods: duplicate entry: lnln"),
        ({"methods": [{"a/b": {"method": "lnln"}}]}, r"methods\.0\.name"),
        ({"datasets": {"x": {"source": "dem"}}}, r"datasets.*unknown source 'dem'; did you mean demo\?"),
        ({"datasets": {"x": {}}}, r"datasets.*x: the source is missing; write source: .*demo"),
        (
            {"datasets": {"demo": {"source": "demo", "clip": 3}}},
            r"datasets\.demo\.clip: unknown key; did you mean clips\?",
        ),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(tmp_path, change, message):
    with pytest.raises(ElisionError, match=message):
        load(tmp_path, {**GOOD, **change})


@pytest.mark.parametrize("kind", ["burst", "synchronous"])
def test_a_list_stands_for_the_rates_of_a_kind_with_more_settings(tmp_path, kind):
    listed, mapped = ([0.1, {"text": 0.8}], {"rates": [0.1, {"text": 0.8}]})
    found, same = (load(tmp_path, {**GOOD, "corruption": {kind: given}}).corruption for given in (listed, mapped))
    assert getattr(found, kind) == getattr(same, kind)
    assert len(getattr(found, kind).rates) == 2


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(ElisionError) as caught:
        load(tmp_path, {**GOOD, "seeds": [-1], "train": {"threads": 0}})
    assert "2 wrong settings" in str(caught.value)
    assert "seeds.0" in str(caught.value)
    assert "train.threads" in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [("a: [", "not valid YAML"), ("- a", "must be a mapping")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content, message):
    with pytest.raises(ElisionError, match=message):
        load(tmp_path, content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ElisionError, match=r"params\.yaml: the file does not exist"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"source": "demo"}, None),
        ({"source": "clips", "folder": "clips", "corpus": "mosei"}, None),
        ({"source": "clips", "folder": "clips", "published": "mosei"}, "mosei"),
        ({"source": "mmsa", "file": "mosi.pkl"}, "mosi"),
        ({"source": "mmsa", "file": "sims.pkl", "corpus": "sims"}, "sims"),
        ({"source": "mmsa", "file": "sims.pkl", "corpus": "simsv2"}, None),
        ({"source": "mmsa", "file": "mosi.pkl", "published": None}, None),
        ({"source": "mmin", "root": "here", "classes": ["a", "b"]}, "iemocap"),
        ({"source": "mer2024", "labels": "labels.npz", "features": "here"}, "mer2024"),
    ],
)
def test_published_feature_files_may_stand_beside_the_numbers_of_their_corpus(tmp_path, entry, expected):
    assert load(tmp_path, {"datasets": {"data": entry}, "methods": ["majority"]}).datasets["data"].published == expected


def test_a_variant_has_a_name_a_method_and_overrides(tmp_path):
    entry = {"lnln-short": {"method": "lnln", "epochs": 3}}
    (variant,) = load(tmp_path, {**GOOD, "methods": [entry]}).methods
    assert (variant.name, variant.method, variant.overrides) == ("lnln-short", "lnln", {"epochs": 3})


def test_a_wrong_hyperparameter_is_found_before_anything_runs(tmp_path):
    loaded = load(tmp_path, {**GOOD, "methods": [{"mine": {"method": "lnln", "epoch": 3}}]})
    with pytest.raises(
        ElisionError, match=r"methods\.mine: lnln: epoch: unknown hyperparameter; did you mean epochs\?"
    ):
        check(loaded)


def test_the_origin_of_a_hyperparameter_is_told():
    _, origins = resolve("lnln", "mosei", {"epochs": 3})
    assert origins["epochs"] == "override"
    assert "mosei default" in origins.values()
    assert "card default" in origins.values()


def test_every_pin_of_an_environment_is_that_of_the_constraints():
    constraints = dict(
        line.split(";")[0].strip().split("==")
        for line in Path(REPOSITORY / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    for path in [*sorted((REPOSITORY / "envs").glob("*.yaml")), *sorted((REPOSITORY / "envs").glob("*.sh"))]:
        pins = [word.split("==") for line in path.read_text().splitlines() for word in line.split() if "==" in word]
        assert pins or path.name == "pyfeat.yaml", path
        for name, version in pins:
            assert constraints.get(name, version) == version, f"{path.name}: {name}"


def test_a_corpus_of_classes_claims_no_scores(tmp_path):
    for corpus in ("iemocap", "msp", "mer2024"):
        with pytest.raises(
            ValueError,
            match=f"{corpus} has classes and no scores; write task: classification, or give a corpus with scores",
        ):
            params.Params(
                datasets={"d": {"source": "clips", "folder": str(tmp_path), "corpus": corpus}}, methods=["tfn"]
            )


def test_a_test_on_another_dataset_has_a_name_of_its_own_after_those_of_the_datasets(tmp_path):
    entries = {"a": {"source": "demo", "test_on": "b"}, "b": {"source": "demo", "test_on": ["a"]}}
    tests = load(tmp_path, {**GOOD, "datasets": entries}).tests
    assert list(tests.items()) == [("a", ("a", "a")), ("b", ("b", "b")), ("a-on-b", ("a", "b")), ("b-on-a", ("b", "a"))]
    assert list(load(tmp_path, GOOD).tests.items()) == [("demo", ("demo", "demo"))]


ARRAYS = {"source": "arrays", "table": "table.csv", "audio": {"file": "audio.npy"}}


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({"test_on": "c"}, {}, r"datasets.a.test_on: unknown dataset 'c'"),
        ({"test_on": "a"}, {}, r"datasets.a.test_on: unknown dataset 'a'; .*b"),
        ({"test_on": ["b", "b"]}, {}, r"a.test_on: .*b"),
        ({}, {"task": "classification"}, r"the task of a and of b differ \(regression; classification\); give both"),
        ({}, {**ARRAYS, "corpus": "sims"}, r"range of the labels of a and of b differ \(-3 to 3; -1 to 1\)"),
        (
            {"task": "classification", "classes": ["sad", "happy"], "cuts": [0.0]},
            {"task": "classification", "classes": ["happy", "sad"], "cuts": [0.0]},
            r"classes of a and of b differ \(sad, happy; happy, sad\)",
        ),
        ({}, {"folds": {"count": 2}}, "b has folds in place of a test split; leave folds out, or leave b out"),
        ({"folds": {"count": 2}}, {}, "a has folds in place of a test split"),
    ],
)
def test_datasets_with_other_labels_cannot_test_each_other(tmp_path, ours, theirs, message):
    entries = {"a": {"source": "demo", "test_on": "b", **ours}, "b": {"source": "demo", **theirs}}
    with pytest.raises(ElisionError, match=message):
        load(tmp_path, {**GOOD, "datasets": entries})


def test_the_name_of_a_test_cannot_be_that_of_a_dataset(tmp_path):
    entries = {"a": {"source": "demo", "test_on": "b"}, "b": {"source": "demo"}, "a-on-b": {"source": "demo"}}
    with pytest.raises(ElisionError, match="test_on makes results of the name a-on-b twice; rename a dataset"):
        load(tmp_path, {**GOOD, "datasets": entries})

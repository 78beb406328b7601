"""Whatever stands in params.yaml: it is read, or refused with an error that names the file."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from elision.errors import ElisionError
from elision.methods import check
from elision.settings import params as parameters
from elision.settings.params import Params

REPOSITORY = Path(__file__).parents[2]

FULL = {
    "protocol": "elision",
    "datasets": {
        "demo": {"source": "demo", "clips": 40, "task": "classification", "classes": ["low", "high"], "cuts": [0.5]},
        "mine": {"source": "clips", "folder": "data/mine", "corpus": "mosi", "folds": {"by": "speaker", "count": 3}},
        "file": {"source": "mmsa", "file": "data/mosi.pkl", "audio_inf": "zero", "standardise": True},
        "own": {
            "source": "arrays",
            "table": "samples.csv",
            "columns": {"id": "name"},
            "audio": {
                "file": "a.npz",
                "values": "audio",
                "padding": "end",
                "pad_value": 0.0,
                "missing_values": ["nan"],
            },
        },
        "mmin": {"source": "mmin", "root": "data/IEMOCAP", "classes": ["a", "b", "c", "d"], "cross_validation": 10},
        "dialogues": {"source": "gcnet", "corpus": "mosi", "labels": "l.pkl", "features": "f", "audio": None},
        "challenge": {"source": "mer2024", "labels": "l.npz", "features": "f", "seed": 3},
    },
    "methods": ["majority", {"short": {"method": "mult", "epochs": 4}}, {"mmin": None}],
    "teachers": {"mmin_teacher": {"constant_epochs": 5}},
    "seeds": [1111, 1112],
    "features": {"shards": 4, "audio": {"mfcc": 20, "f0_max": 500.0}, "vision": {"fps": None, "centre": "none"}},
    "corruption": {"random": [0.0, 0.5], "noise": {"kinds": ["gaussian"], "first": 0.01}},
    "train": {"selection": "valid", "device": "cpu"},
    "statistics": {"resamples": 1000, "cluster": "none"},
}

wrong = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, -1, 1, 10**30, -(10**400), 1e308, 5e-324, float("nan"), float("inf"), float("-inf")]),
        st.integers(),
        st.floats(),
        st.sampled_from(
            ["", "demo", "all", "lnln", "self_mm", "cuda:x", "../..", "/", "a\0b", "é😀", "x" * 5000, "1e3"]
        ),
        st.text(max_size=8),
        st.binary(max_size=4),
        st.dates(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=5), st.integers(), st.none(), st.booleans(), st.sampled_from(["method", "source"])
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


def places(item, path=()):
    """Every place of a document, the whole of it included."""
    yield path
    pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for key, value in pairs:
        yield from places(value, (*path, key))


def at(document, path):
    """Return what is in a place of a document."""
    for key in path:
        document = document[key]
    return document


def put(document, path, value, key):
    """Return the document with another value in a place, or beside it under a key."""
    if not path:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if key != "in its place" and isinstance(inner, dict):
        inner[key] = value
    elif key != "in its place":
        inner.append(value)
    else:
        inner[path[-1]] = value
    return document


def read_or_refused(path):
    """Read params; returns the message where they are refused."""
    try:
        params = parameters.load(path)
        assert isinstance(params, Params)
        check(params)
    except ElisionError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("params") / "params.yaml"


def test_the_document_that_is_mutated_is_good(file):
    file.write_text(yaml.safe_dump(FULL))
    assert read_or_refused(file) is None


KEYS = ["in its place", "in its place", "unknown", "method", "source", 1, None, True]
ENTRIES = [{"self_mm": 5}, {"self_mm": [1]}, {1: 2}, {"source": "demo", 1: 2}, {"a": {1: 2, "method": "mult"}}, []]


@given(
    place=st.sampled_from(list(places(FULL))),
    value=st.one_of(wrong, st.sampled_from(ENTRIES)),
    key=st.sampled_from(KEYS),
)
@settings(max_examples=300, derandomize=True)
def test_a_wrong_value_anywhere_is_read_or_refused(file, place, value, key):
    file.write_text(yaml.safe_dump(put(FULL, place, value, key)), encoding="utf-8")
    message = read_or_refused(file)
    assert message is None or "params" in message
    assert message is None or len(message) < 50_000


@given(
    at=st.floats(0, 1),
    length=st.integers(0, 12),
    insert=st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b"\t", b"\xef\xbb\xbf", b"\xe9", b"&a ", b"*a ", b"<<: ", b"!!int ", b"!!timestamp ", b"- ", b": ", b"{"]
        ),
    ),
)
@settings(max_examples=150, derandomize=True)
def test_a_damaged_file_is_read_or_refused(file, at, length, insert):
    whole = yaml.safe_dump(FULL).encode()
    place = round(at * len(whole))
    file.write_bytes(whole[:place] + insert + whole[place + length :])
    message = read_or_refused(file)
    assert message is None or "params" in message


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 60))
GOOD = "datasets: {demo: {source: demo}}\nmethods: [majority]\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a mapping"),
        (b"# nothing\n", "must be a mapping"),
        (b"words", "must be a mapping"),
        (b"- majority\n", "must be a mapping"),
        (GOOD.encode() + b"seeds: [1]\nseeds: [2]\n", r"line 4: duplicate key 'seeds' \(first defined on line 3\)"),
        (b"datasets:\n  demo: {source: demo}\n  demo: {}\n", "line 3: duplicate key 'demo'"),
        (b"datasets:\n\tdemo: {}\n", "not valid YAML"),
        (GOOD.encode() + b"# caf\xe9\n", r"is not UTF-8 \(byte 58\); save the file as UTF-8"),
        (b"\x80\x04\x95\x00\x01" + bytes(range(256)), "not UTF-8"),
        (b"\x00" * 50, "not valid YAML"),
        (b"[" * 100_000, "nested too deeply"),
        (BOMB.encode(), "more than 100000 values"),
        (b"datasets: &a {demo: *a}\n", "contains itself"),
        (b"seeds: !!python/object/apply:os.system [false]\n", "not valid YAML"),
        (b"seeds: [2001-99-99]\n", "not valid YAML"),
        (b"seeds: [!!timestamp x]\n", "not valid YAML"),
        (b"? [a, b]\n: c\n", "not valid YAML"),
        (b"1: x\n2: y\n", "wrong setting"),
        (GOOD.encode() + b"seeds: [" + b"9" * 5000 + b"]\n", "not valid YAML"),
        (
            GOOD.encode() + b"teachers: {mmin_teacher: {method: lnln}}\n",
            "mmin_teacher.method: the method of a teacher is always",
        ),
        (b"datasets: {demo: {source: demo}}\nmethods: [majority: 5]\n", "majority: write a mapping of hyper"),
        (GOOD.encode() + b"features: {vision: {fps: .inf}}\n", "features.vision.fps: .*finite"),
        (GOOD.encode() + b"corruption: {random: [.nan]}\n", "corruption.random.0: .*"),
    ],
)
def test_what_is_wrong_is_said(file, content, message):
    file.write_bytes(content)
    with pytest.raises(ElisionError, match=message) as caught:
        parameters.load(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_byte_order_mark_windows_lines_anchors_and_merges_are_fine(file):
    methods = b"methods: [one: &one {method: self_mm, epochs: 3}, two: {<<: *one, epochs: 4}]"
    file.write_bytes(b"\xef\xbb\xbfdatasets: {demo: {source: demo}}\r\n" + methods + b"\r\n")
    assert parameters.load(file).variants["two"].overrides == {"epochs": 4}


def test_what_is_no_file_is_named(tmp_path):
    for path, message in ((tmp_path, "cannot be read"), (tmp_path / "nothing.yaml", "does not exist")):
        with pytest.raises(ElisionError, match=message) as caught:
            parameters.load(path)
        assert str(caught.value).startswith(f"{path}: ")


MAPPINGS = [path for path in places(FULL) if isinstance(at(FULL, path), dict) and at(FULL, path)]
# Users name what these hold: no key of theirs is unknown.
NAMED = [("datasets",), ("methods", 1), ("methods", 2), ("teachers",)]


@pytest.mark.parametrize("path", [path for path in MAPPINGS if path not in NAMED], ids=str)
def test_a_wrong_key_at_any_depth_is_answered_with_the_right_one(file, path):
    for key in at(FULL, path):
        if key == "method":
            continue  # the name of the row is then looked for among the methods
        document = copy.deepcopy(FULL)
        inner = at(document, path)
        inner[f"{key}x"] = inner.pop(key) if key in ("id", "file", "values") else inner[key]
        file.write_text(yaml.safe_dump(document))
        message = read_or_refused(file)
        assert message and f"{key}x" in message and f"did you mean {key}?" in message, message


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("[{mine: {metod: mult}}]", r"mine\.metod: unknown key; did you mean method\?"),
        ("[{mine: {method: mutl}}]", r"unknown method 'mutl'; did you mean mult\?"),
        ("[majority]\nprotocol: lnnl", r"protocol: unknown protocol 'lnnl'; did you mean lnln\? allowed: elision, "),
        ("[majority]\ntrain: {corruption: absnt}", r"did you mean absent\?"),
    ],
)
def test_a_wrong_value_is_answered_with_the_right_one(file, methods, message):
    file.write_text(f"datasets: {{demo: {{source: demo}}}}\nmethods: {methods}\n")
    with pytest.raises(ElisionError, match=message):
        parameters.load(file)


NUMBERS = [
    path for path in places(FULL) if isinstance(at(FULL, path), int | float) and not isinstance(at(FULL, path), bool)
]


@pytest.mark.parametrize("value", [10**30, -(10**30), 1e300])
@pytest.mark.parametrize("path", NUMBERS, ids=str)
def test_an_absurd_number_anywhere_is_refused(file, path, value):
    if path[-1] == "pad_value" or "cuts" in path:
        pytest.skip("any number may stand for padding, or part labels")
    document = copy.deepcopy(FULL)
    at(document, path[:-1])[path[-1]] = value
    file.write_text(yaml.safe_dump(document))
    assert "wrong setting" in (read_or_refused(file) or "accepted")


@pytest.mark.parametrize(
    ("section", "most"),
    [
        ("features: {shards: %d}", 10_000),
        ("features: {text: {max_length: %d}}", 1_000_000),
        ("features: {audio: {sample_rate: %d}}", 400_000),
        ("features: {vision: {batch_size: %d}}", 100_000),
        ("train: {threads: %d}", 1024),
        ("train: {jobs_per_gpu: %d}", 100),
        ("train: {epochs: %d}", 1_000_000),
        ("statistics: {resamples: %d}", 1_000_000),
        ("statistics: {seed: %d}", 2**32 - 1),
        ("corruption: {seed: %d}", 2**32 - 1),
        ("corruption: {noise: {intensities: [%d]}}", 1_000_000),
        ("seeds: [%d]", 2**32 - 1),
    ],
)
def test_the_largest_number_is_allowed_and_a_larger_one_is_not(file, section, most):
    file.write_text(GOOD + section % most)
    assert parameters.load(file)
    file.write_text(GOOD + section % (most + 1))
    with pytest.raises(ElisionError, match=f"less than or equal to {most} "):
        parameters.load(file)


@pytest.mark.parametrize(
    ("text", "read", "told"),
    [
        ("010", 8, r"\(base 8\); write 8 or 10"),
        ("-0_17", -15, r"\(base 8\); write -15 or -17"),
        ("1:30", 90, r"\(base 60\); write 90, or \"1:30\" in quotes"),
        ("1:30:00.5", 5400.5, r"\(base 60\); write 5400.5"),
    ],
)
@pytest.mark.parametrize(
    "place", ["seeds: [%s]", "train: {epochs: %s}", "teachers: {%s: {}}", "methods: [{a: {b: %s}}]"]
)
def test_numbers_that_yaml_misreads_are_refused(file, place, text, read, told):
    file.write_text("datasets: {demo: {source: demo}}\n" + place % text)
    with pytest.raises(ElisionError, match=rf"line 2: YAML 1\.1 reads {text} as {read} {told}"):
        parameters.load(file)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("1_000", 1000), ("0x10", 16), ("08", 8)])
def test_numbers_that_yaml_reads_as_people_do_are_read(file, text, number):
    file.write_text(GOOD + f"seeds: [{text}]\n")
    assert parameters.load(file).seeds == [number]


@pytest.mark.parametrize(
    ("datasets", "methods", "message"),
    [
        (
            ["MANIFEST"],
            ["majority"],
            r"datasets\.MANIFEST: the workflow writes a file of this name; choose another name",
        ),
        (["manifest"], ["majority"], r"datasets\.manifest: the workflow writes a file of this name"),
        (
            ["demo"],
            [{"Manifest": {"method": "majority"}}],
            r"methods\.Manifest: the workflow writes a file of this name",
        ),
        (["demo", "Demo"], ["majority"], r"datasets\.demo: demo and Demo differ only in upper and lower case"),
        (
            ["demo"],
            ["majority", {"MAJORITY": {"method": "majority"}}],
            r"methods\.MAJORITY: MAJORITY and majority differ only in upper and lower case",
        ),
        (["demo"], ["mmin", {"MMIN_teacher": {"method": "lnln"}}], "differ only in upper and lower case"),
        (["x" * 81], ["majority"], "at most 80 characters"),
        (["demo"], [{"x" * 81: {"method": "majority"}}], "at most 80 characters"),
        (["demo"], [{"mmin_teacher": {"method": "lnln"}}], r"  methods\.mmin_teacher: .* is the name of a teacher"),
        (["demo"], [{"mmin_teacher": {"method": "lnln"}}, "mmin"], "but this row is the method lnln; give the row"),
        (["demo"], [{"ramer_encoders": {"method": "majority"}}, "ramer"], "is the name of a teacher"),
    ],
)
def test_names_that_collide_are_refused(file, datasets, methods, message):
    content = {"datasets": {name: {"source": "demo"} for name in datasets}, "methods": methods}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ElisionError, match=message):
        parameters.load(file)


def test_a_teacher_is_a_row_under_its_own_name(file):
    file.write_text(GOOD.replace("[majority]", "[mmin, mmin_teacher, {other: {method: mmin_teacher}}]"))
    assert parameters.load(file).trained["mmin_teacher"].method == "mmin_teacher"


def test_a_teacher_is_set_in_one_place(file):
    file.write_text(GOOD.replace("[majority]", "[mmin, {mmin_teacher: {epochs: 5}}]"))
    with pytest.raises(ElisionError, match=r"write teachers: \{mmin_teacher: \{epochs: \.\.\.\}\}, or train one more"):
        parameters.load(file)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"parms": "params.yaml"},
            "--config: unknown key 'parms'; did you mean params? allowed: params, results, adopt",
        ),
        ({"result": "x"}, "did you mean results?"),
        ({"params": 5}, "--config: params is 5; give a path, for example --config params=params.yaml"),
        ({"params": ""}, "--config: params is ''; give a path"),
        ({"results": None}, "--config: results is None; give a path, for example --config results=results"),
    ],
)
def test_a_key_of_the_config_is_known(config, message):
    with pytest.raises(ElisionError) as caught:
        parameters.check_config(config)
    assert message in str(caught.value)


def test_the_config_of_the_workflow_is_accepted():
    parameters.check_config({"params": "a.yaml", "results": "out", "adopt": 1})
    parameters.check_config({})

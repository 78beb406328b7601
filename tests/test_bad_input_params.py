"""Whatever stands in params.yaml: it is read, or refused with an error that names the file."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from elision import params as parameters
from elision.errors import ElisionError
from elision.methods import check
from elision.params import Params

REPOSITORY = Path(__file__).parent.parent

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
    "stages": {"mmin_teacher": {"constant_epochs": 5}},
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
        (b"", "must hold a mapping"),
        (b"# nothing\n", "must hold a mapping"),
        (b"words", "must hold a mapping"),
        (b"- majority\n", "must hold a mapping"),
        (GOOD.encode() + b"seeds: [1]\nseeds: [2]\n", r"line 4: duplicate key 'seeds' \(first defined on line 3\)"),
        (b"datasets:\n  demo: {source: demo}\n  demo: {}\n", "line 3: duplicate key 'demo'"),
        (b"datasets:\n\tdemo: {}\n", "not valid YAML"),
        (GOOD.encode() + b"# caf\xe9\n", r"not UTF-8 \(byte 58\); save it as UTF-8"),
        (b"\x80\x04\x95\x00\x01" + bytes(range(256)), "not UTF-8"),
        (b"\x00" * 50, "not valid YAML"),
        (b"[" * 100_000, "nested too deeply"),
        (BOMB.encode(), "more than 100000 values"),
        (b"datasets: &a {demo: *a}\n", "holds itself"),
        (b"seeds: !!python/object/apply:os.system [false]\n", "not valid YAML"),
        (b"seeds: [2001-99-99]\n", "not valid YAML"),
        (b"seeds: [!!timestamp x]\n", "not valid YAML"),
        (b"? [a, b]\n: c\n", "not valid YAML"),
        (b"1: x\n2: y\n", "wrong setting"),
        (GOOD.encode() + b"seeds: [" + b"9" * 5000 + b"]\n", "not valid YAML"),
        (GOOD.encode() + b"stages: {mmin_teacher: {method: lnln}}\n", "mmin_teacher.method: a stage is always"),
        (b"datasets: {demo: {source: demo}}\nmethods: [majority: 5]\n", "majority: give a mapping of hyper"),
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
    for path, message in ((tmp_path, "cannot be read"), (tmp_path / "nothing.yaml", "no such file")):
        with pytest.raises(ElisionError, match=message) as caught:
            parameters.load(path)
        assert str(caught.value).startswith(f"{path}: ")

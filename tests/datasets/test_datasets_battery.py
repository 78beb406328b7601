"""What every source must do, whatever it reads: a new file in `datasets/` is tested here without being named.

A source needs one thing for it, an example: `source_examples/NAME.py` beside this file.
"""

import hashlib
import importlib.util
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import BaseModel

from elision import cli
from elision.cli import importing, steps
from elision.features.media import probe
from elision.provenance.layout import Layout
from elision.provenance.recipe import Recipes
from elision.settings import params as parameters
from elision.settings.params import dataset_source, source_names, text_encoder, user_files
from elision.store import Store, read_table
from elision.task import MODALITIES, SPLITS
from elision.training.split import SplitData
from elision.training.view import View

EXAMPLES = Path(__file__).parent / "source_examples"
# Prepares each params file in its folder, in a process whose sets and dicts have another order.
AGAIN = """
import os, sys, traceback
from pathlib import Path
from elision import cli
from elision.cli import steps
for place in sys.argv[1:]:
    os.chdir(place)
    try:
        steps.prepare("mine", params=Path(place).parent / "params.yaml")
    except Exception:
        traceback.print_exc()
"""


@dataclass
class Example:
    """The example of a source: its files are in ``data``, and ``params`` is a params file whose dataset it is.

    ``touched`` and ``drew`` tell whether preparing it changed its files, or the state of global random numbers.
    """

    name: str
    folder: Path
    entry: dict
    unlabel: Callable[[Path], None] | None = None
    touched: bool = False
    drew: bool = False

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def params(self) -> Path:
        return self.folder / "params.yaml"

    def load(self) -> parameters.Params:
        return parameters.load(self.params)

    def write(self, **settings: object) -> None:
        content = {"datasets": {"mine": self.entry | settings}, "methods": ["majority"], "seeds": [1]}
        self.params.write_text(yaml.safe_dump(content))

    def place(self, name: str) -> Path:
        """Return a folder for results of their own."""
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name


def example_of(name: str, folder: Path) -> Example:
    """Make the example of a source in a folder."""
    file = EXAMPLES / f"{name}.py"
    if not file.exists():
        pytest.fail(
            f"source {name} has no example; write tests/datasets/source_examples/{name}.py with a function "
            "make(folder: Path) -> dict: it writes a small valid input into the folder, with at least 4 samples and "
            "nothing that the source does not read, and returns the entry of the dataset in params.yaml. Another "
            "function, unlabel(folder: Path), takes the label of one training sample away"
        )
    spec = importlib.util.spec_from_file_location(f"example_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (folder / "data").mkdir(parents=True)
    made = Example(name, folder, module.make(folder / "data"), getattr(module, "unlabel", None))
    made.write()
    return made


def remembered(make: Callable[[str], object]) -> Callable[[str], object]:
    """Return a function that makes what belongs to a source once."""
    made: dict[str, object] = {}

    def of(name: str) -> object:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return of


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[[str], Example]:
    """Examples that are prepared, and never changed."""

    def make(name: str) -> Example:
        made, state = example_of(name, tmp_path_factory.mktemp(name)), global_state()
        before = files(made.data)
        with inside(made.place("first")):
            steps.prepare("mine", params=made.params)
        made.touched = files(made.data) != before
        made.drew = global_state() != state
        return made

    return remembered(make)


@pytest.fixture
def prepared(whole, request) -> Example:
    return whole(request.getfixturevalue("name"))


@pytest.fixture
def example(request, tmp_path) -> Example:
    """An example of the test's own."""
    return example_of(request.getfixturevalue("name"), tmp_path)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def files(folder: Path) -> dict[str, str]:
    """Checksums of all files."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def global_state() -> tuple:
    numpy = np.random.get_state()  # noqa: NPY002 - whether anybody uses it is what is asked
    return random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes()


def results(example: Example) -> Layout:
    return Layout(example.place("first") / "results")


@pytest.fixture
def elision(monkeypatch, capfd) -> Callable[..., tuple[int, str]]:
    """Run a verb in a folder; returns the exit code, and what it wrote to stderr."""

    def run(*arguments: object, folder: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["elision", *map(str, arguments)])
        capfd.readouterr()
        with inside(folder), pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capfd.readouterr().err

    return run


def described(model: type[BaseModel]) -> Iterator[tuple[str, str | None]]:
    """Every setting of a model, and of the models that it holds, with its description."""
    definitions = model.model_json_schema()
    for of, schema in ("", definitions), *definitions.get("$defs", {}).items():
        for key, field in schema.get("properties", {}).items():
            yield f"{of}.{key}".strip("."), field.get("description")


@pytest.mark.parametrize("name", source_names())
def test_every_setting_is_described(name):
    assert [key for key, description in described(dataset_source(name).Settings) if not description] == []


@pytest.mark.parametrize("name", source_names())
def test_a_file_says_what_it_reads(name):
    assert dataset_source(name).__doc__ and dataset_source(name).prepare.__doc__


@pytest.mark.parametrize("name", source_names())
def test_params_check_accepts_the_example(name, prepared, elision):
    assert elision("params", "check", "--params", prepared.params, folder=prepared.folder) == (0, "")


@pytest.mark.parametrize("name", source_names())
def test_an_unknown_setting_is_refused_with_the_one_that_is_near(name, example, elision):
    for key in type(example.load().datasets["mine"]).model_fields:
        example.write(**{f"{key}x": 1})
        code, message = elision("params", "check", "--params", example.params, folder=example.folder)
        assert code == 2 and f"{key}x: unknown key; did you mean {key}?" in message


@pytest.mark.parametrize("name", source_names())
def test_settings_are_the_same_after_they_are_written_as_json(name, prepared):
    settings = prepared.load().datasets["mine"]
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("name", source_names())
def test_nothing_but_the_dataset_is_written(name, prepared):
    assert not prepared.touched, "the user's files are as they were"
    layout = results(prepared)
    if dataset_source(name).MAKES == "clips":
        paths = [Path(path).name for path in read_table(layout.clips("mine"))[0]["path"].dropna()]
        expected = {layout.clips("mine"), *(layout.media("mine") / path for path in paths)}
        found = {path for path in layout.root.rglob("*") if path.is_file()}
        assert found <= expected and layout.clips("mine") in found
    else:
        store = Store.open(layout.store("mine"))
        expected = {layout.samples("mine"), *(layout.sequences("mine", modality) for modality in store.modalities)}
        assert {path for path in layout.root.rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize("name", source_names())
def test_no_global_random_numbers_are_drawn(name, prepared):
    assert not prepared.drew


@pytest.fixture(scope="module")
def again(whole, request) -> None:
    """Prepare all examples of the tests that are to run once more: in one process, because its start takes seconds."""
    here = (item for item in request.session.items if item.path == request.path)
    tests = [item for item in here if "again" in getattr(item, "fixturenames", ())]
    names = {item.callspec.params["name"] for item in tests}
    places = []
    for name in sorted(names):
        try:
            places.append(whole(name).place("second"))
        except BaseException:  # the test of this source says so
            continue
    subprocess.run(
        [sys.executable, "-c", AGAIN, *map(str, places)], check=True, env={**os.environ, "PYTHONHASHSEED": "1"}
    )


@pytest.mark.parametrize("name", source_names())
def test_preparing_twice_gives_the_same_bytes(name, prepared, again):
    assert files(prepared.place("second")) == files(prepared.place("first"))


@pytest.mark.parametrize("name", source_names())
def test_every_file_of_the_example_is_an_input(name, prepared):
    listed = user_files(prepared.load(), "mine")
    assert all(path.exists() for path in listed)
    read = {inner for path in listed for inner in ([path] if path.is_file() else path.rglob("*")) if inner.is_file()}
    assert read == {path for path in prepared.data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", source_names())
def test_a_changed_byte_of_any_file_changes_the_identity(name, example):
    def identity() -> str:
        return Recipes(example.load()).prepare("mine")["identity"]

    before = identity()
    assert identity() == before
    for path in [path for path in example.data.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert identity() != before, path
        path.write_bytes(content)


@pytest.mark.parametrize("name", source_names())
@pytest.mark.parametrize("left", [None, b""], ids=["deleted", "empty"])
def test_a_file_that_is_gone_or_empty_is_named(name, left, example, prepared, elision):
    before = files(prepared.place("first"))
    for number, path in enumerate(sorted(path for path in example.data.rglob("*") if path.is_file())):
        content = path.read_bytes()
        path.unlink() if left is None else path.write_bytes(left)
        place = example.place(str(number))
        code, message = elision("prepare", "--dataset", "mine", "--params", example.params, folder=place)
        if left is None and code == 0:  # what the file held is absent
            assert files(place) != before, path
        else:
            assert code == 2 and path.stem in message and "Traceback" not in message, path
            assert files(place) == {}
        path.write_bytes(content)


@pytest.mark.parametrize("name", source_names())
def test_a_sample_without_a_label_is_refused_or_left_out_and_counted(name, example, prepared, elision, caplog):
    def made(of: Example) -> tuple[int, int]:
        layout = results(of)
        of_clips = dataset_source(name).MAKES == "clips"
        table, provenance = read_table(layout.clips("mine") if of_clips else layout.samples("mine"))
        return len(table), provenance.get("unlabelled", 0)

    if not user_files(example.load(), "mine"):
        pytest.skip("the samples are made with labels")
    if example.unlabel is None:
        pytest.fail(
            f"write a function unlabel(folder: Path) into source_examples/{name}.py: it takes the label of one "
            "training sample away"
        )
    example.unlabel(example.data)
    command = ("prepare", "--dataset", "mine", "--params", example.params)
    code, message = elision(*command, folder=example.place("first"))
    assert code == 2 and "skip_unlabelled: true" in message and files(example.place("first")) == {}
    example.write(skip_unlabelled=True)
    caplog.set_level(logging.INFO)
    assert elision(*command, folder=example.place("first"))[0] == 0
    count, _ = made(prepared)
    assert f"skip_unlabelled: left out 1 of {count} samples without a label" in caplog.text
    assert made(example) == (count - 1, 1)


@pytest.mark.parametrize("name", source_names())
def test_the_source_of_a_folder_is_recognised_by_this_source_alone(name, prepared):
    if hasattr(dataset_source(name), "found"):
        entry = importing.entry(
            prepared.data, {key: prepared.entry[key] for key in ("audio",) if key in prepared.entry}
        )
        assert entry["source"] == name
        for key, value in entry.items():
            if key not in ("source", "audio"):
                assert Path(prepared.entry[key]).resolve() == (prepared.data / value).resolve()


@pytest.mark.parametrize("name", source_names())
def test_folds_of_the_settings_replace_the_splits_of_the_source(name, example):
    example.write(folds={"by": "id", "count": 2})
    with inside(example.place("first")):
        steps.prepare("mine", params=example.params)
    assert example.load().datasets["mine"].fold_count() == 2
    if dataset_source(name).MAKES == "sequences":
        samples = Store.open(results(example).store("mine")).samples
        assert [column for column in samples if column == "split" or column.startswith("fold-")] == ["fold-1", "fold-2"]


@pytest.mark.parametrize("name", [name for name in source_names() if dataset_source(name).MAKES == "sequences"])
def test_batches_observe_nothing_that_is_not_valid(name, prepared):
    store, folds = Store.open(results(prepared).store("mine")), prepared.load().datasets["mine"].fold_count()
    assert text_encoder(prepared.load(), "mine") == (
        store.modalities["text"].header.extractor if "text" in store.modalities else None
    )
    for view in (View(fold=int(folds > 0)), View(fold=int(folds > 0), reads_text="vectors")):
        for split in SPLITS:
            data = SplitData(store, split, scales={}, view=view)
            batch = data.batch(torch.arange(len(data)), None)
            assert batch.label.isfinite().all() and (store.classes == () or (batch.label >= 0).all())
            for modality in MODALITIES:
                sequence = getattr(batch, modality)
                assert not (sequence.observed & ~sequence.valid).any()
                assert sequence.values.isfinite().all() and not sequence.values[~sequence.observed].any()
                assert (sequence.lengths <= sequence.values.shape[1]).all()


@pytest.mark.parametrize("name", [name for name in source_names() if dataset_source(name).MAKES == "clips"])
def test_a_table_of_clips_says_what_the_media_hold(name, prepared):
    with inside(prepared.place("first")):
        table, _ = read_table(results(prepared).clips("mine"))
        for clip in table.itertuples():
            if clip.path is None:
                assert not clip.has_audio and not clip.has_vision
                continue
            media = probe(clip.path)
            assert (clip.has_audio, clip.has_vision) == (media.audio, media.vision)
            assert clip.duration == pytest.approx(media.duration, abs=0.1)
            assert clip.sha256 == hashlib.sha256(Path(clip.path).read_bytes()).hexdigest()


def test_a_source_without_an_example_is_told_what_to_write(tmp_path):
    with pytest.raises(
        pytest.fail.Exception, match=r"write tests/datasets/source_examples/new\.py with a function make"
    ):
        example_of("new", tmp_path)

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from elision.errors import ElisionError
from elision.files import sha256
from elision.provenance import kept
from elision.provenance.layout import Layout
from elision.store import write_table, write_tensors

RUN = ("mine", "lnln", "seed-1")


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path / "results")


def train(layout: Layout, identity: str, *, run=RUN, data: str = "abc", text: str = "weights") -> Path:
    """Write what a training leaves; returns its record."""
    weights, history, record = layout.model(*run)
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text(text)
    history.write_text("epoch\n")
    record.write_text(json.dumps({"provenance": {"identity": identity, "data": data}, "weights": sha256(weights)}))
    return record


def files(layout: Layout) -> set[str]:
    return {path.relative_to(layout.root).as_posix() for path in layout.root.rglob("*") if path.is_file()}


def test_a_run_that_is_put_aside_comes_back_as_it_was(layout):
    record = train(layout, "one")
    before = {path: path.read_bytes() for path in kept.together(layout.root, record)}
    assert len(before) == 3
    assert kept.put_aside(layout, before) == 1
    assert not any(path.exists() for path in before)
    assert not kept.make_room(layout, record, "two", data="abc")
    assert kept.make_room(layout, record, "one", data="abc")
    assert {path: path.read_bytes() for path in before} == before
    assert not layout.unused.exists() or not files(Layout(layout.unused))


def test_work_of_other_settings_makes_room_and_both_are_kept(layout):
    record = train(layout, "one", text="first")
    assert not kept.make_room(layout, record, "two")
    train(layout, "two", text="second")
    assert kept.make_room(layout, record, "one")
    weights = record.with_name("model.safetensors")
    assert weights.read_text() == "first"
    assert kept.make_room(layout, record, "two")
    assert weights.read_text() == "second"
    assert len([name for name in files(layout) if name.endswith("run.json")]) == 2


def test_work_that_fits_is_left_alone(layout):
    record = train(layout, "one")
    before = files(layout)
    assert not kept.make_room(layout, record, "one")
    assert files(layout) == before


@pytest.mark.parametrize("known", [{"data": "other"}, {"weights": "other"}, {"data": "abc", "weights": "other"}])
def test_work_made_from_other_data_or_weights_does_not_come_back(layout, known):
    record = train(layout, "one")
    kept.put_aside(layout, kept.together(layout.root, record))
    assert not kept.make_room(layout, record, "one", **known)
    weights = json.loads(next(layout.unused.rglob("run.json")).read_text())["weights"]
    assert kept.make_room(layout, record, "one", data="abc", weights=weights, missing=None)


def test_a_run_whose_weights_are_damaged_does_not_come_back(layout):
    record = train(layout, "one")
    kept.put_aside(layout, kept.together(layout.root, record))
    next(layout.unused.rglob("model.safetensors")).write_text("zeros")
    assert not kept.make_room(layout, record, "one")


def test_a_row_of_the_same_settings_does_not_take_the_work_of_another(layout):
    first, second = train(layout, "one"), train(layout, "one", run=("mine", "again", "seed-1"))
    kept.put_aside(layout, [*kept.together(layout.root, first), *kept.together(layout.root, second)])
    assert kept.make_room(layout, first, "one")
    assert not second.exists()
    assert kept.make_room(layout, second, "one")


def test_a_database_moves_without_the_run_that_holds_its_folder(layout):
    record = train(layout, "one")
    *indexes, vectors = layout.database_files(*RUN)
    write_tensors(vectors, {"x": np.zeros(2)}, {"identity": "of the database"})
    for path in indexes:
        path.write_text("index")
    kept.put_aside(layout, kept.together(layout.root, vectors))
    assert record.exists()
    assert not any(path.exists() for path in (*indexes, vectors))
    assert kept.make_room(layout, vectors, "of the database")
    assert all(path.exists() for path in (*indexes, vectors))


def test_media_move_with_the_table_of_the_clips(layout):
    table, media = layout.clips("mine"), layout.media("mine")
    write_table(table, pd.DataFrame({"id": ["a"]}), {"identity": "one", "data": "abc"})
    media.mkdir()
    (media / "a.mp4").write_text("media")
    kept.put_aside(layout, kept.together(layout.root, table))
    assert not files(Layout(layout.store("mine")))
    assert kept.make_room(layout, table, "one")
    assert (media / "a.mp4").read_text() == "media"


def test_a_store_that_one_job_made_moves_whole_and_its_alignment_by_itself(layout):
    samples = layout.samples("mine")
    write_table(samples, pd.DataFrame({"id": ["a"]}), {"identity": "one", "data": "abc"})
    write_tensors(layout.sequences("mine", "audio"), {"values": np.zeros(2)}, {"provenance": {"identity": "one"}})
    write_tensors(layout.alignment("mine"), {"values": np.zeros(2)}, {"identity": "of the alignment"})
    kept.put_aside(layout, kept.together(layout.root, samples))
    assert {path.name for path in layout.store("mine").iterdir()} == {"alignment.safetensors"}
    assert kept.make_room(layout, samples, "one")
    assert len(list(layout.store("mine").iterdir())) == 3


def test_a_plan_moves_with_its_description_and_leaves_that_of_another_dataset(layout):
    for dataset in ("mine", "other"):
        draws, description = layout.corruptions(dataset)
        write_tensors(draws, {"x": np.zeros(2)}, {"identity": "one"})
        description.write_text("{}")
    kept.put_aside(layout, kept.together(layout.root, layout.corruptions("mine")[0]))
    assert {path.name for path in (layout.root / "corruptions").iterdir()} == {"other.safetensors", "other.json"}


def test_an_interrupted_training_goes_on(layout):
    folder = layout.run(*RUN)
    folder.mkdir(parents=True)
    (folder / "state.pt").write_text("state")
    assert kept.put_aside(layout, [folder / "state.pt"]) == 0
    assert not kept.make_room(layout, folder / "run.json", "one")
    assert (folder / "state.pt").read_text() == "state"


def test_tables_and_figures_move_though_they_do_not_say_how_they_were_made(layout):
    paths = [layout.root / "figures" / "curve_f1_other.svg", layout.root / "tables" / "mine.csv"]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text("of another dataset")
    assert kept.put_aside(layout, paths) == 0
    assert files(layout) == {"unused/unfinished/figures/curve_f1_other.svg", "unused/unfinished/tables/mine.csv"}
    assert "elision clean --unused" in kept.notice(layout)


def test_a_link_into_a_cache_is_kept_as_a_file(layout, tmp_path):
    record = train(layout, "one")
    weights = record.with_name("model.safetensors")
    weights.replace(tmp_path / "cached")
    weights.symlink_to(tmp_path / "cached")
    kept.put_aside(layout, kept.together(layout.root, record))
    (tmp_path / "cached").unlink()
    assert kept.make_room(layout, record, "one")
    assert weights.read_text() == "weights"


def test_what_is_kept_is_counted_and_removed_on_request(layout):
    assert kept.notice(layout) == ""
    for number in range(12):
        record = train(layout, f"id{number}", run=("mine", "lnln", f"seed-{number}"))
        kept.put_aside(layout, kept.together(layout.root, record))
    assert "12 trained runs (0.0 MB)" in kept.notice(layout)
    assert "elision clean --unused" in kept.notice(layout)
    kept.clean(layout)
    assert kept.notice(layout) == ""


RUNS = [f"seed-{number}" for number in (1, 2, 3)]


def turns_of(layout, runs=RUNS, **made_from) -> kept.Turns:
    turns = kept.Turns(layout, runs)
    for run in runs:
        turns.ask(run, layout.model("mine", "lnln", run)[-1], f"of {run}", **made_from)
    return turns


def take(turns, layout, *, until: int = 3) -> list[str]:
    """Train the missing runs; from number ``until`` on they fail."""
    made = []
    for run, (record,) in turns:
        if len(made) == until:
            raise KeyboardInterrupt
        assert record == train(layout, f"of {run}", run=("mine", "lnln", run))
        made.append(run)
    return made


def test_the_runs_of_a_job_are_in_their_places_when_all_are_finished(layout):
    assert take(turns_of(layout), layout) == RUNS
    assert {name.split("/")[3] for name in files(layout)} == set(RUNS)
    assert not layout.unused.exists()
    assert not turns_of(layout).missing


def test_finished_runs_of_a_job_that_fails_are_out_of_its_reach_and_are_not_made_again(layout):
    with pytest.raises(KeyboardInterrupt):
        take(turns_of(layout), layout, until=2)
    assert all(name.startswith("unused/") for name in files(layout))
    turns = turns_of(layout)
    assert list(turns.missing) == ["seed-3"]
    assert take(turns, layout) == ["seed-3"]
    assert len(files(layout)) == 9


def test_only_missing_runs_of_a_job_are_made_and_the_others_stay_where_they_are(layout):
    assert take(turns_of(layout), layout) == RUNS
    layout.model("mine", "lnln", "seed-2")[1].unlink()
    layout.model("mine", "lnln", "seed-3")[0].write_text("zeros")
    before = layout.model("mine", "lnln", "seed-1")[0].stat().st_mtime_ns
    assert take(turns_of(layout), layout) == ["seed-2", "seed-3"]
    assert layout.model("mine", "lnln", "seed-1")[0].stat().st_mtime_ns == before


def test_runs_of_other_data_or_other_teachers_are_made_again(layout):
    take(turns_of(layout), layout)
    assert not turns_of(layout, data="abc").missing
    assert list(turns_of(layout, data="other").missing) == RUNS
    assert list(turns_of(layout, starts={"lnln_teacher": "weights"}).missing) == RUNS


def test_a_run_that_is_deleted_while_it_waits_is_told(layout):
    turns = iter(turns_of(layout))
    for _ in RUNS:
        run, _ = next(turns)
        train(layout, f"of {run}", run=("mine", "lnln", run))
        kept.clean(layout) if layout.unused.exists() else None
    with pytest.raises(ElisionError, match=r"run\.json was deleted while the job was running"):
        next(turns)


def test_a_single_run_does_not_wait(layout):
    (run,) = RUNS[:1]
    for name, (record,) in turns_of(layout, [run]):
        assert record == train(layout, f"of {name}", run=("mine", "lnln", name))
    assert not layout.unused.exists()

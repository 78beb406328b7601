import json
import os

import pytest
from typer.testing import CliRunner

from elision import cli
from elision.cli.profile import profile
from elision.errors import ElisionError
from elision.provenance.layout import Layout

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n"


def measured(root, *name, seconds, ended, memory="100.00"):
    path = Layout(root).benchmark(*name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:00\t{memory}\t0\t0\n")
    os.utime(path, (ended, ended))


@pytest.fixture
def results(tmp_path):
    measured(tmp_path, "train", "mosi", "lnln", "seed-1", seconds=60.0, ended=1060, memory="900.5")
    measured(tmp_path, "train", "mosi", "tfn", "seed-1", seconds=30.0, ended=1030)
    measured(tmp_path, "aggregate", seconds=0.1, ended=2000, memory="NA")
    record = tmp_path / "models" / "mosi" / "lnln" / "seed-1" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"epochs": 10, "seconds_per_epoch": 5.5}))
    return tmp_path


def test_jobs_are_summed_by_rule_and_the_rule_that_took_most_comes_first(results):
    train, aggregate = profile(Layout(results)).rows
    assert (train.rule, train.jobs, train.seconds, train.longest, train.slowest, train.memory) == (
        "train",
        2,
        90.0,
        60.0,
        "mosi.lnln.seed-1",
        900.5,
    )
    assert (aggregate.rule, aggregate.slowest, aggregate.memory) == ("aggregate", "", None)


def test_breaks_between_jobs_do_not_count(results):
    found = profile(Layout(results))
    assert found.seconds == pytest.approx(90.1)
    assert found.span == pytest.approx(60.1)
    assert found.epochs == 55.0


def test_the_table_names_each_rule(results):
    shown = CliRunner().invoke(cli.app, ["profile", str(results)])
    assert shown.exit_code == 0
    assert "mosi.lnln.seed-1" in shown.stdout
    assert "All jobs: 90 s. The workflow took 60 s, without breaks." in shown.stdout
    as_json = CliRunner().invoke(cli.app, ["profile", str(results), "--json"])
    assert [row["rule"] for row in json.loads(as_json.stdout)["rows"]] == ["train", "aggregate"]


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "fast\t0\t1\t1\t1\n", "a\tb\n1\t2\n"])
def test_a_damaged_file_is_named(results, text):
    Layout(results).benchmark("aggregate").write_text(text)
    with pytest.raises(ElisionError, match=r"aggregate\.tsv is damaged"):
        profile(Layout(results))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"epochs": "many", "seconds_per_epoch": 1.0}'])
def test_a_damaged_record_is_named(results, text):
    (results / "models" / "mosi" / "lnln" / "seed-1" / "run.json").write_text(text)
    with pytest.raises(ElisionError, match=r"run\.json is damaged"):
        profile(Layout(results))


def test_a_folder_without_jobs_is_refused(tmp_path):
    with pytest.raises(ElisionError, match="run the workflow first"):
        profile(Layout(tmp_path))

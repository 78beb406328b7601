"""What `elision plan` makes of planned and former jobs; `tests/workflow` asks Snakemake."""

import json
import sys

import pytest
import yaml

from elision import cli
from elision.cli import people
from elision.cli import plan as plans
from elision.cli.plan import Planned, estimated
from elision.cli.profile import Job

FORMER = [
    Job("train", "mosi.lnln.seed-1", 100.0, None, 100.0),
    Job("train", "mosi.lnln.seed-2", 140.0, None, 140.0),
    Job("train", "sims.lnln.seed-1", 300.0, None, 440.0),
    Job("train", "mosi.tfn.seed-1", 10.0, None, 450.0),
    Job("report", "", 30.0, None, 480.0),
]


def train(dataset, method, run):
    return Planned("train", ("train", f"{dataset}.{method}.{run}"), True)


@pytest.mark.parametrize(
    ("job", "seconds"),
    [
        (("mosi", "lnln", "seed-1"), 100),  # itself
        (("mosi", "lnln", "seed-3"), 120),  # the same dataset and method
        (("mosi", "lnln", "seed-3.fold-2"), 120),
        (("other", "lnln", "seed-1"), 180),  # the same method
        (("other", "new", "seed-1"), 137.5),  # the same rule
    ],
)
def test_a_job_takes_as_long_as_the_former_jobs_that_are_most_like_it(job, seconds):
    (row,) = estimated([train(*job)], FORMER).rows
    assert row.seconds == pytest.approx(seconds)
    assert (row.rule, row.jobs, row.missing, row.unknown) == ("train", 1, 1, 0)


def test_rules_share_the_times_of_one_folder_of_benchmarks():
    former = [Job("evaluate", "mosi.lnln.seed-1", 7.0, None, 7.0)]
    jobs = [
        Planned(rule, ("evaluate", f"mosi.lnln.seed-{s}"), True) for rule, s in (("evaluate", 2), ("evaluate_first", 1))
    ]
    assert [(row.rule, row.seconds) for row in estimated(jobs, former).rows] == [("evaluate", 7), ("evaluate_first", 7)]


def test_only_what_would_run_takes_time_and_what_no_job_tells_is_counted():
    jobs = [
        Planned("prepare", ("prepare", "mosi"), False),
        train("mosi", "lnln", "seed-1"),
        Planned("train", ("train", "mosi.lnln.seed-2"), False),
        Planned("index", ("index", "mosi.ramer_encoders.seed-1"), True),
        Planned("models", (), True),  # not measured: a moment
        Planned("report", ("report",), True),
    ]
    found = estimated(jobs, FORMER)
    assert [row.rule for row in found.rows] == ["prepare", "train", "index", "models", "report"]
    assert (found.jobs, found.missing, found.unknown) == (6, 4, 1)
    assert found.seconds == pytest.approx(130)
    # 580 s of jobs, of which 100 s at the same time as others.
    assert found.at_once == pytest.approx(580 / 480)


def test_without_former_jobs_all_times_are_unknown():
    found = estimated([train("mosi", "lnln", "seed-1")], [])
    assert (found.seconds, found.unknown, found.at_once) == (0, 1, 1)


@pytest.mark.parametrize(
    ("seconds", "missing", "unknown", "text"),
    [
        (0, 0, 0, ""),
        (0, 2, 2, "unknown"),
        (0, 1, 0, "a moment"),
        (59.6, 1, 0, "60 s"),
        (600, 3, 1, "10 min and more"),
        (9000, 3, 0, "2.5 h"),
    ],
)
def test_times_are_short(seconds, missing, unknown, text):
    assert people._time(seconds, missing, unknown) == text


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """A function that types `elision plan` where Snakemake finds these jobs."""
    monkeypatch.chdir(tmp_path)
    params = {"datasets": {"mine": {"source": "demo"}}, "methods": ["majority"], "seeds": [1]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def type_line(*arguments, jobs=None):
        if jobs is not None:
            monkeypatch.setattr(plans, "planned", lambda layout, params: jobs)
        monkeypatch.setattr(sys, "argv", ["elision", "plan", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return type_line


def test_the_table_has_a_row_per_rule_and_the_sums(typed):
    jobs = [train("mosi", "lnln", "seed-1"), train("mosi", "lnln", "seed-2"), Planned("models", (), False)]
    code, told, _ = typed(jobs=jobs)
    assert code == 0
    assert "2 of 3 jobs would run. Estimated time, one after the other: unknown." in told
    assert "No former job tells the time of 2 jobs." in told
    code, told, _ = typed("--json", jobs=jobs)
    assert json.loads(told)["rows"][0] == {"rule": "train", "jobs": 2, "missing": 2, "seconds": 0, "unknown": 2}


def test_nothing_to_do_is_said(typed):
    assert "Nothing to do: 2 jobs are up to date." in typed(jobs=[Planned("models", (), False)] * 2)[1]
    assert "Nothing to do: 1 job is up to date." in typed(jobs=[Planned("models", (), False)])[1]


def test_a_folder_without_a_snakefile_is_refused(typed, tmp_path):
    code, _, told = typed()
    assert code == 2
    assert told == f"elision: {tmp_path / 'Snakefile'} does not exist; type the command in the folder of the project\n"


def test_what_snakemake_says_is_told_in_one_line(typed, tmp_path):
    (tmp_path / "Snakefile").write_text('rule all:\n    input: "nowhere"\n')
    code, _, told = typed()
    assert code == 2
    assert told.startswith("elision: Snakemake could not plan (Missing input files for rule all:")
    assert "nowhere" in told and told.count("\n") == 1

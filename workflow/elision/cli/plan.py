"""What the workflow would run: its jobs by rule, and how long such jobs took when they last ran.

Snakemake plans and is asked for its jobs, of which ``snakemake -n`` prints a paragraph each.
"""

import io
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from elision.cli.profile import Job, jobs, span
from elision.errors import ElisionError
from elision.provenance.layout import Layout

_SNAKEFILE = Path("Snakefile")
_TARGET = "all"  # the rule that makes nothing


@dataclass(frozen=True)
class Planned:
    """A job of the workflow.

    Attributes
    ----------
    rule : str
    measured : tuple of str
        By what its time is known: the name of its folder of benchmarks, and ``DATASET.METHOD.RUN`` and the like; empty
        for jobs that Snakemake does not measure, which last a moment.
    missing : bool
        Whether it would run.
    """

    rule: str
    measured: tuple[str, ...]
    missing: bool


@dataclass(frozen=True)
class Row:
    """The jobs of one rule.

    Attributes
    ----------
    rule : str
    jobs : int
    missing : int
        Jobs that would run.
    seconds : float
        Of the jobs that would run, one after the other, as far as former jobs tell.
    unknown : int
        Jobs that would run and are not part of ``seconds``: no job like them was measured.
    """

    rule: str
    jobs: int
    missing: int
    seconds: float
    unknown: int


@dataclass(frozen=True)
class Plan:
    """What would run.

    Attributes
    ----------
    rows : list of Row
        In the order in which their jobs can begin.
    jobs, missing, unknown : int
    seconds : float
        Of all jobs that would run, one after the other.
    at_once : float
        How many jobs ran at a time in former runs, on average; 1 without former runs.
    """

    rows: list[Row]
    jobs: int
    missing: int
    unknown: int
    seconds: float
    at_once: float


def plan(layout: Layout, params: Path) -> Plan:
    """Plan the workflow in the current folder, and estimate how long what is missing takes.

    Parameters
    ----------
    layout : Layout
        Of the results.
    params : Path
        The params file.

    Raises
    ------
    ElisionError
        If there is no Snakefile here, Snakemake cannot plan, or the benchmark file of a job is damaged.
    """
    with suppress(FileNotFoundError):
        layout.root.stat()  # the path of a first run is told before Snakemake is asked
    found = planned(layout, params)
    former = jobs(layout) if any((layout.root / "benchmarks").rglob("*.tsv")) else []
    return estimated(found, former)


def planned(layout: Layout, params: Path) -> list[Planned]:
    """Let Snakemake plan, and return all jobs; what can begin first comes first.

    Raises
    ------
    ElisionError
        See `plan`.
    """
    if not _SNAKEFILE.is_file():
        raise ElisionError(f"{_SNAKEFILE.absolute()} does not exist; type the command in the folder of the project")
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

    quiet = OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    config = ConfigSettings(config={"params": str(params), "results": str(layout.root)})
    with _silent(), SnakemakeApi(quiet) as api:
        workflow = api.workflow(
            snakefile=_SNAKEFILE, config_settings=config, resource_settings=ResourceSettings(cores=1)
        )
        workflow.dag().summary()
        dag = workflow._workflow.dag  # the public interface prints jobs, but does not return them; tests hold this
        return [
            Planned(job.rule.name, _measured(job.benchmark, layout), dag.needrun(job))
            for level in dag.toposorted()
            for job in sorted(level, key=lambda job: job.rule.name)
            if job.rule.name != _TARGET
        ]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what Snakemake prints, unless it fails; what a Snakefile puts into the environment is for jobs alone."""
    told, environment = io.StringIO(), dict(os.environ)
    logging.disable(logging.CRITICAL)  # Snakemake logs to the real stream, whatever sys.stderr is
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(told):
            yield
    except SystemExit:  # the Snakefile has said what is wrong
        sys.stderr.write("".join(line for line in told.getvalue().splitlines(True) if line.startswith("elision: ")))
        raise
    except Exception as error:
        raise ElisionError(f"Snakemake could not plan ({' '.join(str(error).split())}); see snakemake -n") from error
    finally:
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(environment)


def _measured(benchmark: str | None, layout: Layout) -> tuple[str, ...]:
    if not benchmark:
        return ()
    return Path(benchmark).relative_to(layout.root / "benchmarks").with_suffix("").parts


def _alike(rule: str, name: str) -> Iterator[tuple[str, ...]]:
    """Yield what a job has in common with other jobs, beginning with most: of ``train``, all but the run comes next."""
    parts = tuple(name.split("."))
    yield (rule, "job", name)
    yield (rule, "first two", *parts[:2])
    yield (rule, "second", *parts[1:2])
    yield (rule,)


def estimated(found: Sequence[Planned], former: Iterable[Job]) -> Plan:
    """Add up what jobs took that are most like those that would run.

    The time of a job is its own when it last ran; else the mean of those of the same dataset and method (or modality),
    else of the same method, else of the rule.

    Parameters
    ----------
    found : sequence of Planned
    former : iterable of Job
        Jobs that were measured.
    """
    former, times = list(former), defaultdict(list)
    for job in former:
        for key in _alike(job.rule, job.name):
            times[key].append(job.seconds)
    means = {key: sum(seconds) / len(seconds) for key, seconds in times.items()}
    groups: dict[str, list[Planned]] = {}
    for each in found:
        groups.setdefault(each.rule, []).append(each)
    rows = []
    for rule, of in groups.items():
        missing = [each for each in of if each.missing]
        measured = [(each.measured[0], "/".join(each.measured[1:])) for each in missing if each.measured]
        seconds = [next((means[key] for key in _alike(*names) if key in means), None) for names in measured]
        known = [value for value in seconds if value is not None]
        rows.append(Row(rule, len(of), len(missing), sum(known), len(seconds) - len(known)))
    total, at_once = sum(job.seconds for job in former), span(former)
    counts = (sum(getattr(row, name) for row in rows) for name in ("jobs", "missing", "unknown", "seconds"))
    return Plan(rows, *counts, at_once=total / at_once if at_once else 1.0)

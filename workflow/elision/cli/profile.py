"""Where the time of a workflow went: its jobs, by rule, from their benchmark files."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass

from elision.errors import ElisionError
from elision.provenance.layout import Layout


@dataclass(frozen=True)
class Job:
    """One job, as Snakemake measured it when it last ran.

    Attributes
    ----------
    rule : str
    name : str
        ``DATASET.METHOD.RUN`` and the like; empty for a rule with one job.
    seconds : float
        Wall-clock time.
    memory : float or None
        Most resident memory, in MB; None if the job ended before it was measured.
    ended : float
        Time of its end, in seconds since 1970.
    """

    rule: str
    name: str
    seconds: float
    memory: float | None
    ended: float


@dataclass(frozen=True)
class Row:
    """The jobs of one rule; times in seconds, memory in MB."""

    rule: str
    jobs: int
    seconds: float
    longest: float
    slowest: str
    memory: float | None


@dataclass(frozen=True)
class Profile:
    """All jobs of a folder of results.

    Attributes
    ----------
    rows : list of Row
        The rule that took most comes first.
    seconds : float
        Of all jobs.
    span : float
        From the start of the first job to the end of the last one, without the gaps in which no job ran.
    epochs : float
        Seconds that finished runs spent in epochs; the rest of ``train`` is start, loading and saving.
    """

    rows: list[Row]
    seconds: float
    span: float
    epochs: float


def jobs(layout: Layout) -> list[Job]:
    """Read the benchmark files of a folder of results.

    Raises
    ------
    ElisionError
        If the folder has none, or one is damaged.
    """
    root, found = layout.root / "benchmarks", []
    for path in sorted(root.rglob("*.tsv")):
        rule, *of = path.relative_to(root).with_suffix("").parts
        try:
            with path.open(newline="", encoding="utf-8") as file:
                measured = next(csv.DictReader(file, delimiter="\t"))
            seconds, memory = float(measured["s"]), measured["max_rss"]
            most = None if memory in ("-", "NA") else float(memory)
        except (StopIteration, KeyError, ValueError) as error:
            raise ElisionError(f"{path} is damaged ({error!r}); delete the file") from None
        found.append(Job(rule, "/".join(of), seconds, most, path.stat().st_mtime))
    if not found:
        raise ElisionError(f"{root} has no measured jobs; run the workflow first")
    return found


def profile(layout: Layout) -> Profile:
    """Sum up the jobs of a folder of results by rule.

    Raises
    ------
    ElisionError
        See `jobs`.
    """
    found = jobs(layout)
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in found:
        by_rule[job.rule].append(job)
    rows = [_row(rule, of) for rule, of in by_rule.items()]
    rows.sort(key=lambda row: -row.seconds)
    return Profile(rows, sum(job.seconds for job in found), span(found), _epochs(layout))


def _row(rule: str, of: list[Job]) -> Row:
    slowest = max(of, key=lambda job: job.seconds)
    memory = max((job.memory for job in of if job.memory is not None), default=None)
    return Row(rule, len(of), sum(job.seconds for job in of), slowest.seconds, slowest.name, memory)


def span(found: list[Job]) -> float:
    """Return the length of the union of the jobs' times: breaks between two runs of the workflow do not count."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted((job.ended - job.seconds, job.ended) for job in found):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _epochs(layout: Layout) -> float:
    """Seconds in epochs of all finished runs."""
    total = 0.0
    for path in (layout.root / "models").glob("*/*/*/run.json"):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            total += run["epochs"] * run["seconds_per_epoch"]
        except (ValueError, KeyError, TypeError) as error:
            again = f"snakemake --cores all --force {path}"
            raise ElisionError(f"{path} is damaged ({error!r}); train the run again: {again}") from None
    return total

"""The checks of a method, and of a trained run of it: what `elision check` tells, and the report."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.table import Column, Table
from torch import nn

from elision.errors import ElisionError, plural
from elision.evaluation.loaded import Loaded
from elision.methods import load, resolve
from elision.methods.checks import Outcome, Subject, check
from elision.methods.layers.text_encoder import TextEncoder
from elision.progress import track
from elision.training.record import Record

COLUMNS = ("dataset", "method", "check", "holds", "status", "reason", "about", "text", "declared")
_SIGNS = {"passed": "ok", "failed": "FAILED", "declared": "declared", "skipped": "-"}
_WORDS = 1000  # of a vocabulary, before which special and unused tokens lie


def of_method(name: str) -> dict[str, Any]:
    """Check a method at small sizes, for each of its tasks.

    Returns
    -------
    document : dict
        A JSON value; docs/checks.md tells its keys.

    Raises
    ------
    ElisionError
        If there is no such method, or its file is broken.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _document(name, check(Subject.each(load(name).name)))
    finally:
        torch.set_num_threads(threads)


def of_run(folder: Path, *, accept_code: bool = False) -> dict[str, Any]:
    """Check a method with the hyperparameters, the sizes and the weights of a trained run, on the CPU.

    What depends on none of these is checked at small sizes.

    Parameters
    ----------
    folder : Path
        ``results/models/DATASET/METHOD/RUN``, or a copy of it.
    accept_code : bool
        Check the run though the code has changed since its training.

    Returns
    -------
    document : dict
        As `of_method` returns it.

    Raises
    ------
    ElisionError
        If the run cannot be opened.
    """
    loaded = Loaded.open(folder, device="cpu", accept_code=accept_code, chosen_on_test=True)
    run = _subject(loaded)
    small = [each for each in Subject.each(run.name) if each.spec.task is run.spec.task]
    return _document(run.name, check(small, run), folder, loaded.record)


def table(folders: Mapping[tuple[str, str], Path]) -> pd.DataFrame:
    """Check runs for the report.

    Parameters
    ----------
    folders : mapping
        Folders of trained runs, by dataset and method.

    Returns
    -------
    table : pd.DataFrame
        Columns ``COLUMNS``: a row for each finding, and one for each check without findings.
    """
    rows = []
    for (dataset, method), folder in track(list(folders.items()), "check"):
        for outcome in map(Outcome.of, of_run(folder, accept_code=True)["checks"]):
            row = {"dataset": dataset, "method": method, "check": outcome.check, "holds": outcome.holds}
            row |= {"status": outcome.status, "reason": outcome.reason, "about": "", "text": "", "declared": ""}
            found = [{"about": f.about, "text": f.text, "declared": f.declared} for f in outcome.findings]
            rows += [{**row, **finding} for finding in found or [{}]]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _document(
    name: str, outcomes: list[Outcome], folder: Path | None = None, record: Record | None = None
) -> dict[str, Any]:
    return {
        "method": name,
        "run": None if folder is None else str(folder),
        "dataset": None if record is None else record.dataset,
        "passed": not any(outcome.status == "failed" for outcome in outcomes),
        "checks": [outcome.document for outcome in outcomes],
    }


def _subject(loaded: Loaded) -> Subject:
    record, model = loaded.record, loaded.model

    def encoder(seed: int = 0, *, pooler: bool = False) -> nn.Module:
        return copy.deepcopy(model.encoder)

    words = {}
    if isinstance(model.encoder, TextEncoder):
        embeddings: Any = model.encoder.model.embeddings
        count = int(embeddings.word_embeddings.num_embeddings)
        settings = record.sequences["text"].settings if "text" in record.sequences else {}
        words = {"tokens": range(min(_WORDS, count // 2), count), "unknown": settings.get("unk", 0)}
    subject = Subject(
        record.method, record.spec, loaded.assembled.hyperparameters, encoder, finished=lambda: model, words=words
    )
    return _with_teachers(subject, loaded.folder.absolute().parent.parent, record.run)


def _with_teachers(subject: Subject, models: Path, run: str) -> Subject:
    """Add the teachers with the hyperparameters of their runs beside that of the subject; else with the usual ones."""
    teachers = {}
    for need in subject.cls.needs:
        hyperparameters, _ = resolve(need, subject.spec.corpus)
        with suppress(ElisionError):
            hyperparameters = load(need).Hyperparameters(**Record.read(models / need / run).hyperparameters)
        teacher = Subject(need, subject.spec, hyperparameters, subject.encoder, words=subject.words)
        teachers[need] = _with_teachers(teacher, models, run)
    return replace(subject, teachers=teachers)


def show(documents: list[dict[str, Any]], console: Console) -> None:
    """Print what `of_method` and `of_run` return: a table for a single one, else a row each, and all findings."""
    if len(documents) == 1:
        listed = Table("", "check", "what holds", title=_title(documents[0]))
        for outcome in map(Outcome.of, documents[0]["checks"]):
            listed.add_row(_SIGNS[outcome.status], outcome.check, outcome.reason or outcome.holds)
    else:
        listed = Table("", "method or run", *(Column(name, justify="right") for name in _SIGNS))
        for document in documents:
            statuses = [outcome["status"] for outcome in document["checks"]]
            sign = _SIGNS["passed" if document["passed"] else "failed"]
            listed.add_row(sign, _title(document), *(str(statuses.count(name)) for name in _SIGNS))
    console.print(listed)
    for document in documents:
        for outcome in map(Outcome.of, document["checks"]):
            for finding in outcome.findings:
                verdict = f"declared: {finding.declared}" if finding.declared else "FAILED"
                where = f"{_title(document)}, {outcome.check}"
                console.print(f"{where}: {finding.text} ({verdict})", highlight=False, markup=False)
    failed = [document for document in documents if not document["passed"]]
    checks = sum(outcome["status"] == "failed" for document in failed for outcome in document["checks"])
    if failed:
        console.print(f"{plural(checks, 'check')} of {', '.join(map(_title, failed))} failed", markup=False)


def _title(document: dict[str, Any]) -> str:
    return document["run"] or document["method"]

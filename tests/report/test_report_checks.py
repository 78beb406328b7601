import pandas as pd
import pytest
from report_results import blocks, frame, latex, markdown, notes, results

from elision.report import asked, table_names
from elision.settings.params import Params


def row(dataset, method, check, status, text="", declared=""):
    found = {"holds": "It holds.", "reason": "", "about": "", "text": text, "declared": declared}
    return {"dataset": dataset, "method": method, "check": check, "status": status, **found}


CHECKS = pd.DataFrame(
    [
        row("d", "sound", "alone", "passed"),
        row("d", "sound", "padding", "declared", "The output changes.", "as released"),
        row("d", "faulty", "alone", "failed", "The output is another one alone."),
        row("d", "faulty", "alone", "failed", "The output is another one in another order."),
        row("d", "faulty", "gradients", "failed", "a never learns.", ""),
        row("d", "faulty", "gradients", "failed", "b never learns.", "unused"),
        row("d", "faulty", "gpu", "skipped"),
        row("d", "majority", "alone", "passed"),
        row("d", "mmin_teacher", "alone", "passed"),
        row("d", "not_shown", "alone", "failed", "Bad."),
        row("other", "sound", "alone", "passed"),
    ]
)


@pytest.fixture
def table():
    records = {("other", "sound", "seed-1"): {"checkpoints": {"mae": {}, "corr": {}}}}
    return frame("checks", results(pd.DataFrame(), checks=CHECKS, records=records), ["faulty", "sound"])


def test_a_row_is_a_method_or_a_teacher_and_the_floor_is_the_last(table):
    assert list(zip(table["dataset"], table["method"], strict=True)) == [
        ("d", "faulty"),
        ("d", "sound"),
        ("d", "mmin_teacher"),
        ("d", "majority"),
        ("other", "sound"),
    ]
    assert table["checkpoints"].tolist() == ["valid"] * 4 + ["TEST"]


def test_checks_are_counted_once_and_findings_are_listed(table):
    faulty, sound = table.iloc[0], table.iloc[1]
    assert faulty[["passed", "failed", "declared", "skipped"]].tolist() == [0, 2, 0, 1]
    assert sound[["passed", "failed", "declared", "skipped"]].tolist() == [1, 0, 1, 0]
    assert faulty["failed_checks"] == "alone, gradients"
    assert faulty["exceptions"] == "gradients: b never learns (unused)"
    assert "b never learns" not in faulty["failures"]


def test_the_text_says_all_hold_or_what_failed(table):
    (block,) = blocks("checks", table[table["dataset"] == "d"])
    assert {method: cells[0].text for method, cells in block.rows} == {
        "faulty": "FAILED: alone, gradients",
        "sound": "all hold",
        "mmin_teacher": "all hold",
        "majority": "all hold",
    }
    assert not any(cell.rank for _, cells in block.rows for cell in cells)
    told = notes("checks", table[table["dataset"] == "d"])
    assert told[0].startswith("faulty fails alone: The output is another one alone.; alone: ")
    assert "sound declares padding: The output changes (as released)." in told
    for text in (markdown(table, "checks"), latex(table, "checks")):
        assert "FAILED: alone, gradients" in text and "all hold" in text


def test_without_checks_the_table_is_empty_and_no_report_has_it():
    assert frame("checks", results(pd.DataFrame()), ["sound"]).empty
    entries = {"datasets": {"demo": {"source": "demo"}}, "methods": ["majority"]}
    assert "checks" not in table_names(asked(Params(**entries)))
    assert "checks" in table_names(asked(Params(**entries, report={"check": True})))

"""The parts of README.md and docs/ that follow from the code are those of this code."""

import importlib.util
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


def test_the_documents_are_up_to_date():
    generate.main(["--check"])


@pytest.mark.parametrize(
    ("page", "row"),
    [
        ("README.md", "- Sentiment: `"),
        ("docs/metrics.md", "| `mae` | MAE | "),
        ("docs/add-a-dataset.md", "| `header.rate` | "),
    ],
)
def test_a_page_that_is_out_of_date_is_named_with_the_command_and_then_written(page, row, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        shutil.copy(path, tmp_path / path.relative_to(REPOSITORY))
    text = (tmp_path / page).read_text()
    assert row in text
    (tmp_path / page).write_text(text.replace(row, f"{row}somebody "))
    with pytest.raises(SystemExit, match=rf"^out of date: {page}; run: .venv/bin/python docs/generate.py$"):
        generate.main(["--check", "--root", str(tmp_path)])
    assert f"{row}somebody " in (tmp_path / page).read_text()
    generate.main(["--root", str(tmp_path)])
    assert capsys.readouterr().out == f"written: {page}\n"
    assert (tmp_path / page).read_text() == text


def test_switches_are_listed_with_the_value_of_the_released_code_and_methods_that_share_one_in_one_row():
    rows = [line.split(" | ") for line in generate.switches().splitlines()[2:]]
    found = {(row[0].strip("| "), row[1]): row[2:4] for row in rows}
    assert found["`ae`, `cra`", "`recon_reduction`"] == ["`sum`; demo: `mean`", "`sum`"]
    assert found["`nmer`", "`batch_attention`"] == ["`false`", "`true`"]
    assert found["`hrlf`", "`start_from_teacher`"] == ["`true`", "nothing released"]
    assert found["`mmim`", "`bound_share`"] == ["`1.0`; mosei: `0.5`", "1; mosei: 0.5"]
    assert len(found) == len(rows)
    text = (REPOSITORY / "docs" / "methods.md").read_text()
    assert all(f"| {row[1]} |" in text for row in rows)


def test_the_released_value_of_a_switch_is_one_that_the_switch_can_have():
    switches = 0
    for method in map(generate.load, generate.method_names()):
        for key, field in method.Hyperparameters.model_fields.items():
            if not isinstance(facts := field.json_schema_extra, dict):
                continue
            released = facts["released"]
            switches += 1
            if released is not None and not generate.noted(released):
                assert getattr(method.Hyperparameters(**{key: released}), key) == released
    assert switches > 50

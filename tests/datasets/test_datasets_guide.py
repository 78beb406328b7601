"""The source that the guide shows: it is whole, and the battery finds what is wrong with sources like it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n# (\S+/speeches\.py)\n(.*?)```", re.DOTALL)
SHOWN = dict(BLOCK.findall((REPOSITORY / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")))
SOURCE, EXAMPLE = "workflow/elision/datasets/speeches.py", "tests/datasets/source_examples/speeches.py"

# Sources like that of the guide, but for a mistake; and the tests of the battery that tell.
MISTAKES = {
    "undescribed": ('Field(description="the .jsonl file")', "Field()", {"test_every_setting_is_described"}),
    "forgetful": (
        "return [settings.file]",
        "return []",
        {"test_every_file_of_the_example_is_an_input", "test_a_changed_byte_of_any_file_changes_the_identity"},
    ),
    "drawing": (
        "refuse(settings.file, problems)",
        'refuse(settings.file, problems)\n    rows = [row | {"mood": np.random.random()} for row in rows]',
        {"test_no_global_random_numbers_are_drawn", "test_preparing_twice_gives_the_same_bytes"},
    ),
    "hashing": (
        "refuse(settings.file, problems)",
        'refuse(settings.file, problems)\n    rows = [row | {"mood": hash(row["id"]) % 99} for row in rows]',
        {"test_preparing_twice_gives_the_same_bytes"},
    ),
    "pickling": (
        "refuse(settings.file, problems)",
        'refuse(settings.file, problems)\n    folder.mkdir(parents=True)\n    pd.to_pickle(rows, folder / "rows.pkl")',
        {
            "test_a_sample_without_a_label_is_refused_or_left_out_and_counted",
            "test_nothing_but_the_dataset_is_written",
        },
    ),
    "overwriting": (
        "refuse(settings.file, problems)",
        'refuse(settings.file, problems)\n    settings.file.write_text("{}")',
        {
            "test_a_sample_without_a_label_is_refused_or_left_out_and_counted",
            "test_nothing_but_the_dataset_is_written",
            "test_preparing_twice_gives_the_same_bytes",
        },
    ),
    "careless": (
        "refuse(settings.file, problems)",
        "rows = rows or [{}]",
        {"test_a_file_that_is_gone_or_empty_is_named"},
    ),
    "folding": (
        "return samples, {",
        'samples["fold-1"] = samples.pop("split")\n    return samples, {',
        None,  # it never gets as far as a dataset
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the package and the battery, with the source of the guide and those with mistakes added."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("workflow/elision", "tests/datasets/source_examples"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("tests/conftest.py", "tests/datasets/test_datasets_battery.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, copy / file)
    for file, content in SHOWN.items():
        (copy / file).write_text(content, encoding="utf-8")
        for name, (right, wrong, _) in MISTAKES.items():
            text = content.replace("speeches", name)
            if file == SOURCE:
                assert right in text
                text = text.replace(right, wrong)
            (copy / file).with_stem(name).write_text(text, encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def failed(copy) -> dict[str, set[str]]:
    """Tests of the battery that fail, for each of these sources."""
    names = {"speeches": set(), **{name: set() for name in MISTAKES}}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=found.xml"]
    subprocess.run(
        [*command, "tests/datasets/test_datasets_battery.py", "-k", " or ".join(names)],
        cwd=copy,
        env={"PATH": "", "PYTHONPATH": str(copy / "workflow"), "PYTHONHASHSEED": "0", "HOME": str(copy)},
        capture_output=True,
        check=False,
    )
    ran = set()
    for case in ElementTree.parse(copy / "found.xml").iter("testcase"):
        test, _, end = case.get("name").partition("[")
        (name,) = names.keys() & set(re.split(r"[-\]]", end))
        ran.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            names[name].add(test)
    assert ran == names.keys()
    return names


def test_the_source_of_the_guide_works_without_any_other_edit(failed):
    assert SHOWN.keys() == {SOURCE, EXAMPLE}
    assert failed["speeches"] == set()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_source_is_found_by_the_test_that_is_made_for_it(failed, name):
    expected = MISTAKES[name][-1]
    assert failed[name] == expected if expected is not None else "test_params_check_accepts_the_example" in failed[name]


@pytest.mark.parametrize("verb", ["check", "format --check"])
def test_the_files_of_the_guide_pass_lint(copy, verb):
    command = [sys.executable, "-m", "ruff", *verb.split(), "--no-cache", SOURCE, EXAMPLE]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""A file of methods/ that cannot be used: it is told in a line, and stops nobody who does not ask for it."""

import json

import pytest
from typer.testing import CliRunner

from elision.cli import app
from elision.errors import ElisionError
from elision.methods import check, counts, load, load_all, method_names
from elision.settings.params import Params, made_for, needs, teacher_names, unreadable_methods

BASE = "from elision.methods.base import Method\nclass Mine(Method):\n"
BROKEN = {
    "no Python": ("class Mine(Method:\n", "methods/mine.py, line 1: "),
    "a null byte": ("\0", "methods/mine.py"),
    "another name": (
        f"{BASE}    name = 'yours'\n",
        "methods/mine.py: no class has name = \"mine\", but name = 'yours'; rename the file or the class",
    ),
    "no name": (
        "from elision.methods.lnln import LNLN\nclass Mine(LNLN):\n    pass\n",
        'methods/mine.py: no class has name = "mine", add this line to the class',
    ),
    "no method": ("class Mine:\n    name = 'mine'\n", "does not extend Method"),
    "an import that fails": (
        "from elision.methods.base import Method, Missing\nclass Mine(Method):\n    name = 'mine'\n",
        "methods/mine.py: cannot be imported: ImportError: cannot import name 'Missing'",
    ),
    "teachers of its base class": (
        "from elision.methods.mmin import MMIN\nclass Mine(MMIN):\n    name = 'mine'\n",
        "methods/mine.py: class Mine inherits needs; write needs = ('mmin_teacher',) in the class",
    ),
    "the task of its base class": (
        "from elision.methods.mmim import MMIM\nclass Mine(MMIM):\n    name = 'mine'\n",
        "methods/mine.py: class Mine inherits task; write task = ('regression',) in the class",
    ),
    "computed teachers": (
        f"{BASE}    name = 'mine'\n    needs = tuple('a')\n",
        "methods/mine.py: needs must be a literal",
    ),
    "a teacher that is not there": (
        f"{BASE}    name = 'mine'\n    needs = ('mmin_teach',)\n",
        "methods/mine.py: needs: unknown 'mmin_teach'; did you mean mmin_teacher?",
    ),
    "a text for a tuple": (
        f"{BASE}    name = 'mine'\n    task = ('regression')\n",
        'methods/mine.py: task must be a literal, such as ("regression",)',
    ),
    "a task that is not there": (
        f"{BASE}    name = 'mine'\n    task = ('ranking',)\n",
        "methods/mine.py: task: unknown 'ranking'",
    ),
}


def params(**sections) -> dict:
    return {"datasets": {"demo": {"source": "demo"}}, "methods": ["majority"], **sections}


@pytest.fixture(params=BROKEN)
def message(request, add_method) -> str:
    """What is said of a broken file, which is there."""
    text, message = BROKEN[request.param]
    add_method("mine", text)
    return message


def test_a_broken_file_is_told_with_its_remedy_and_the_others_can_be_used(message):
    with pytest.raises(ElisionError) as error:
        load("mine")
    assert message in str(error.value) and "\n" not in str(error.value)
    methods, problems = load_all()
    assert problems == {"mine": str(error.value)}
    assert [*methods] == [name for name in method_names() if name != "mine"]


def test_a_broken_file_stops_only_who_asks_for_it(message, tmp_path):
    check(Params(**params()))
    assert "mmin_teacher" in teacher_names()
    for methods in (["mine"], [{"another": {"method": "mine"}}], "all"):
        with pytest.raises(ElisionError) as error:
            check(Params(**params(methods=methods)))
        assert message in str(error.value)


def test_the_commands_tell_of_a_broken_file_and_show_the_rest(message, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(params()))
    runner = CliRunner()
    listed = runner.invoke(app, ["methods"])
    assert listed.exit_code == 0 and "nmer_teacher" in listed.output
    assert message in " ".join(listed.output.split())
    checked = runner.invoke(app, ["params", "check", "--params", str(file)])
    assert (
        checked.exit_code == 0
        and f"{file} does not use this broken method: " in checked.stderr
        and message in checked.stderr
    )


def test_what_is_read_without_pytorch_says_nothing_of_files_that_are_whole(add_method):
    assert unreadable_methods() == {}
    add_method("mine", "class Mine(")
    assert [*unreadable_methods()] == ["mine"]
    assert made_for("lnln") and needs("mmin") == ("mmin_teacher",)


def test_counts_leave_a_broken_file_out(add_method):
    add_method("mine", "class Mine(")
    assert "mine" not in {entry["name"] for entry in counts("mosi")}

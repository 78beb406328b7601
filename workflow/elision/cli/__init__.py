"""Run one step of the workflow, or inspect params, methods and results."""

import logging
import os
import re
import sys

import typer

from elision.cli import people, steps
from elision.errors import ElisionError, of_disk, of_path, stop
from elision.settings.params import suggestion

# What is said of verbs and options of earlier versions, by the old name.
_OLD = {
    "complete": "complete is now called assemble; write assemble",
    "represent": "evaluate now does the work of represent; write evaluate",
    "--stage": "--stage is now called --teacher; write --teacher",
}

app = typer.Typer(suggest_commands=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__)
for part in (steps.app, people.app):
    app.add_typer(part)


def _usage(error: typer.TyperException) -> str:
    """Say in one line what is wrong with what was typed, and where to read what is right."""
    told, context = error.message.rstrip("."), getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    verbs = list(getattr(context.command, "commands", {}))
    if option := getattr(error, "option_name", None):
        word, allowed = option, [name for known in context.command.get_params(context) for name in known.opts]
    elif verbs:
        word, allowed = "".join(re.findall("'(.*)'", told)), verbs
    else:
        told = error.format_message().rstrip(".")
        return f"{told}; see {context.command_path} --help"
    old = _OLD.get(word, "")
    told += f"; {old if old.endswith(tuple(allowed)) else suggestion(word, allowed)}"
    return f"{told}; see {context.command_path} --help"


def main() -> None:
    """Run the command line; what the user can put right ends with its message and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("numexpr", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        try:
            code = app(sys.argv[1:] or ["--help"], prog_name="elision", standalone_mode=False)
        finally:
            sys.stdout.flush()  # a log on a full disk fails here, where it can be told
    except ElisionError as error:
        stop(error)
    except typer.TyperException as error:
        stop(_usage(error))
    except BrokenPipeError:  # the reader has seen enough: elision methods | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if told := of_disk(error) or of_path(error):
            stop(told)
        raise
    sys.exit(code)

"""The catalogue of methods, as `elision methods` prints it."""

import inspect
import re
import textwrap
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from elision.methods import load, load_all

if TYPE_CHECKING:
    from elision.methods.base import Method

_NOTHING = "–"
_WIDTH = 80  # of a terminal
_YEAR = re.compile(r"\b(?:19|20)\d\d\b(?!\.\d)")  # 2010.05804 is the number of a preprint


def citation(paper: str) -> str:
    """Shorten the reference to a paper.

    Parameters
    ----------
    paper : str
        ``Authors: Title. Venue year``, as methods write it.

    Returns
    -------
    short : str
        ``First et al. year``; ``paper`` itself, where it is written otherwise.

    Examples
    --------
    >>> citation("Zhang, Wang, Yu: Towards Robust Sentiment Analysis. NeurIPS 2024, arXiv 2409.20012")
    'Zhang et al. 2024'
    """
    authors, colon, _ = paper.partition(":")
    year = _YEAR.search(paper)
    if not colon or not year:
        return paper
    names = re.sub(r".*\bof ", "", authors).split(", ")  # "Autoencoder baseline of Lian, Chen, Sun"
    first = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f"{first} {year[0]}"


def title(method: "type[Method]") -> str:
    """Return what a method is in a few words: the first line of its file, without the name of the method."""
    first = (inspect.getmodule(method).__doc__ or "").strip().partition("\n")[0].rstrip(".")
    name, colon, words = first.partition(": ")
    return (words if colon and " " not in name else first).replace("``", "`")


def listing() -> Group:
    """Return a table of a row per method, and what is wrong with the files that cannot be used."""
    columns = ("method", "task", "starts from", "requires", "paper")
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    methods, problems = load_all()
    for name, method in methods.items():
        task = "both" if len(method.task) > 1 else method.task[0]
        table.add_row(name, task, _names(method.needs), _names(method.requires), citation(method.paper) or _NOTHING)
    told = ["\nboth: regression and classification. Describe one: elision methods NAME"]
    if problems:
        told += ["\nBroken files, which cannot be used:", *(Text(f"  {problem}") for problem in problems.values())]
    return Group(table, *told)


def card(name: str) -> str:
    """Return all that is known of a method: its idea, its paper, what it needs, and its hyperparameters.

    Parameters
    ----------
    name : str

    Raises
    ------
    ElisionError
        If there is no such method.
    """
    method = load(name)
    facts = {
        "paper": method.paper or _NOTHING,
        "known from": method.known_from or "the paper or the code",
        "task": _names(method.task),
        "starts from": _names(method.needs),
        "trained on": method.corruption or "train.corruption",
        "searches": f"the database of {method.retrieves}" if method.retrieves else _NOTHING,
        "requires": _names(method.requires),
        "reads text as": method.reads_text,
        "told of noise": "which modalities are noisy" if method.told_absent else _NOTHING,
    }
    lines = [name, "", *_wrapped_paragraphs(inspect.cleandoc(inspect.getmodule(method).__doc__ or "")), ""]
    for fact, told in facts.items():
        lines += _wrapped(told, first=f"{fact + ':':15}", rest=15)
    lines += ["", "Hyperparameters and defaults (in parentheses: defaults for some corpora):"]
    for key, field in method.Hyperparameters.model_fields.items():
        others = [f"{corpus}: {values[key]}" for corpus, values in method.corpus_defaults.items() if key in values]
        default = field.get_default(call_default_factory=True)
        shown = "null" if default is None else default
        lines += _wrapped(f"{key}: {shown}" + (f" ({', '.join(others)})" if others else ""), first="  ", rest=6)
        lines += _wrapped(field.description or "", first=" " * 6, rest=6)
    return "\n".join(lines)


def _wrapped(text: str, *, first: str = "", rest: int = 0) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=" " * rest, break_on_hyphens=False)


def _wrapped_paragraphs(text: str) -> list[str]:
    """Wrap paragraphs and lists; lines that are indented are formulas, and stay as they are."""
    lines: list[str] = []
    for paragraph in re.split(r"\n(?=\n|- )", text):
        indented = paragraph.lstrip("\n").startswith(" ")
        lines += [""] * (len(paragraph) - len(paragraph.lstrip("\n")))
        joined = " ".join(paragraph.split())
        lines += paragraph.strip("\n").splitlines() if indented else _wrapped(joined, rest=2 * joined.startswith("- "))
    return lines


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or _NOTHING

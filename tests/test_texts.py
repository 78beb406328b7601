"""What a user reads is plain English: sentences of at most 25 words, in the docs and in the texts of the code."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
LONGEST = 25  # words
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))
MODULES = sorted((REPOSITORY / "workflow" / "elision").rglob("*.py"))
# What raises, logs and prints, and the arguments that hold words for users.
SAYING = {"ElisionError", "ValueError", "stop", "print", "debug", "info", "warning", "error", "Problem", "Finding"}
ARGUMENTS = {"description", "help", "epilog", "caption", "title", "note", "notes", "words", "summary", "label"}
UNCLEAR = re.compile(
    r"\b(stands? there|of everything|is worth|as it were|so to speak|the very same|a thing of|thereof|whereof|therein"
    r"|as such|not least|for want of|in vain)\b"
)


def sentences(text):
    """Split prose at full stops, question marks and colons."""
    text = re.sub(r"`[^`]*`", "`code`", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\b(e\.g|i\.e|cf|vs|et al|Eq|eq|Sec|Fig|Tab|pp?)\. ", r"\1 ", text)
    return [part.strip() for part in re.split(r"(?<=[.!?:])[)\"*]*\s+|\n\s*\n", text) if part.strip()]


def too_much(text):
    """Return the sentences that are too long, and those with words that a reader must guess at.

    A list of names, such as those of the methods, is no sentence.
    """
    return [
        sentence
        for sentence in sentences(text)
        if re.search(r"[a-z]", sentence.replace("`code`", ""))
        and (len(re.findall(r"[^\W_]+(?:['’.,/_-][^\W_]+)*", sentence)) > LONGEST or UNCLEAR.search(sentence))
    ]


def prose(page):
    """Return a page's paragraphs, list items and cells of tables; without code, comments and headings."""
    text = re.sub(r"^ *(```|~~~).*?^ *\1$", "\n", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "\n", text, flags=re.DOTALL)
    text = re.sub(r"^#.*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\|.*$", lambda row: "\n\n" + row[0].replace("|", "\n\n") + "\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^ *([-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)


def said(module):
    """Yield line and text of what a module says to users; a value that is put in counts as one word."""
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            values = list(node.args) if name in SAYING else []
            values += [keyword.value for keyword in node.keywords if keyword.arg in ARGUMENTS]
            for value in values:
                yield from ((part.lineno, "".join(literal(part))) for part in ast.walk(value) if whole(part))


def whole(node):
    """Whether a node is a text; what is inside an f-string belongs to that."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def literal(node):
    for part in node.values if isinstance(node, ast.JoinedStr) else [node]:
        yield str(part.value) if isinstance(part, ast.Constant) else "VALUE"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_of_a_page_are_short(page):
    assert too_much(prose(page)) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(REPOSITORY / "workflow").as_posix())
def test_sentences_of_the_code_are_short(module):
    found = [f"line {line}: {sentence}" for line, text in said(module) for sentence in too_much(text)]
    assert found == []


def test_a_long_sentence_is_found():
    words = " ".join(["word"] * (LONGEST + 1))
    assert too_much(f"Short. {words}. Short.") == [f"{words}."]
    assert not too_much(" ".join(["word"] * LONGEST))
    assert too_much("The number stands there twice.")

"""Which packages a function of Elision can import: read from the code, function by function.

What is reached is a function, a class with all of its methods, or what a module does when it is imported. A module that
is found by a part of its name, such as ``elision.methods.{name}``, can be any that fits.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "workflow" / "elision"
ERRORS = {"ImportError", "ModuleNotFoundError", "Exception"}


class Part(NamedTuple):
    """A function or class of a module; without a name, what the module does when it is imported."""

    module: str
    name: str = ""


class Import(NamedTuple):
    """An import of a package of others."""

    package: str
    module: str  # of ours, which imports the package
    otherwise: str = ""  # what the module does without the package: "" is to end, "says" to say so, "goes on"


@cache
def file(module: str) -> Path | None:
    """Find the file of a module of ours."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((found for found in (path / "__init__.py", path.with_suffix(".py")) if found.is_file()), None)


@dataclass
class Module:
    """A parsed module: its functions and classes, and what the names in it are."""

    name: str
    parts: dict[str, ast.AST] = field(default_factory=dict)
    names: dict[str, Part] = field(default_factory=dict)  # of imports; a whole module has no name

    @classmethod
    @cache
    def of(cls, name: str) -> "Module":
        tree = ast.parse(file(name).read_text(encoding="utf-8"))
        made = cls(name)
        rest = []
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                made.parts[node.name] = node
                if isinstance(node, ast.FunctionDef):  # what is evaluated at once
                    rest += [ast.Expr(value) for value in (*node.decorator_list, *node.args.defaults)]
                else:
                    rest.append(node)  # bases, fields
            else:
                rest.append(node)
        made.parts[""] = ast.Module(rest, [])
        for node in walk(made.parts[""]):
            made.names |= imported(node)
        return made

    def resolve(self, name: str) -> Part | None:
        """Return the part that a name of this module stands for."""
        if name in self.parts:
            return Part(self.name, name)
        found = self.names.get(name)
        if found and found.name:
            return Module.of(found.module).resolve(found.name)
        return found


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through code that runs: without what only type checkers read."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk(child)


def imported(node: ast.AST) -> dict[str, Part]:
    """Return the names that an import of ours defines."""
    names = {}
    if isinstance(node, ast.ImportFrom) and file(node.module):
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            names[alias.asname or alias.name] = Part(whole) if file(whole) else Part(node.module, alias.name)
    elif isinstance(node, ast.Import):
        names = {alias.asname: Part(alias.name) for alias in node.names if alias.asname and file(alias.name)}
    return names

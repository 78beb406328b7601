"""Which packages a function of Elision can import: read from the code, function by function.

What is reached is a function, a class with all of its methods, or what a module does when it is imported. Of an object
that a function makes and keeps in a variable, only the methods are reached that are named. Where a module is found by a
part of its name, such as ``elision.methods.{name}``, every module is reached whose name fits.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "workflow" / "elision"
# Names that stand for words of the Snakefile's wildcards: the same words.
WORDS = dict(re.findall(r'^    (\w+)="([\w|]+)"', (PACKAGE.parent.parent / "Snakefile").read_text(), re.MULTILINE))
ALL = "*"
PROGRAM = "__main__"
PARAMS = "elision.settings.params"
Function = ast.FunctionDef | ast.Lambda


class Part(NamedTuple):
    """A function, class or method (CLASS.NAME) of a module; without a name what the module does when it is imported."""

    module: str
    name: str = ""


class Import(NamedTuple):
    """An import of a package of others by a module of ours."""

    package: str
    module: str
    without: str  # the package, the module "fails", "says so" (an error of ours) or "goes on"


@cache
def file(module: str) -> Path | None:
    """Find the file of a module of ours; None for other modules and for names of anything else."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    found = (path / "__init__.py", path.with_suffix(".py")) if module.split(".")[0] == PACKAGE.name else ()
    return next((each for each in found if each.is_file()), None)


@cache
def modules() -> list[str]:
    """Return the names of all modules of ours that can be found by name: those without a leading underscore."""
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("[!_]*.py")]
    packages = [path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")]
    return sorted(".".join(path.parts) for path in [*paths, *packages])


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through code that runs, without what only type checkers read."""
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from walk(child)


@cache
def parts(module: str) -> dict[str, ast.AST]:
    """Parse a module: its functions, classes and values by name, what `python -m` does, and what runs at once."""
    body = ast.parse(file(module).read_text(encoding="utf-8")).body
    named = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    program = [node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"]
    rest = [node for node in body if node not in (*named.values(), *program)]
    values = {
        target.id: node for node in rest for target in getattr(node, "targets", []) if isinstance(target, ast.Name)
    }
    rest += [each for node in named.values() for each in at_once(node)]
    methods = {f"{name}.{each.name}": each for name, node in named.items() for each in methods_of(node)}
    return {**values, **named, **methods, PROGRAM: ast.Module(program, []), "": ast.Module(rest, [])}


def methods_of(node: ast.AST) -> list[ast.FunctionDef]:
    """Return the methods of a class; none for another node."""
    return [each for each in node.body if isinstance(each, ast.FunctionDef)] if isinstance(node, ast.ClassDef) else []


def at_once(node: ast.FunctionDef | ast.ClassDef) -> list[ast.AST]:
    """Return what a definition evaluates before it is used: a class all but its methods."""
    decorators = [ast.Call(decorator, [], []) for decorator in node.decorator_list]
    if isinstance(node, ast.FunctionDef):
        return [*decorators, *node.args.defaults, *filter(None, node.args.kw_defaults)]
    methods = methods_of(node)
    fields = [each for each in node.body if each not in methods]
    return [*decorators, *node.bases, *fields, *(each for method in methods for each in at_once(method))]


def ours(node: ast.AST) -> dict[str, Part]:
    """Return the names that an import of ours defines."""
    if isinstance(node, ast.ImportFrom) and file(node.module):
        wholes = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        return {name: Part(whole) if file(whole) else Part(*whole.rsplit(".", 1)) for name, whole in wholes.items()}
    if isinstance(node, ast.Import):
        return {alias.asname: Part(alias.name) for alias in node.names if alias.asname and file(alias.name)}
    return {}


def others(node: ast.AST) -> set[str]:
    """Return the packages of others that an import or a look-up of a package needs."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module]
    elif isinstance(node, ast.Call) and called(node) == "find_spec" and isinstance(node.args[0], ast.Constant):
        names = [node.args[0].value]
    else:
        names = []
    return {name.split(".")[0] for name in names if name.split(".")[0] != PACKAGE.name}


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


@cache
def resolve(part: Part) -> Part:
    """Follow a name to the module that defines it."""
    if file(part.module) and part.name not in (*parts(part.module), ALL):
        found = imported(part.module).get(part.name)
        return resolve(found) if found else Part(part.module)
    return part


@cache
def imported(module: str) -> dict[str, Part]:
    """Return the names of ours that a module imports at once."""
    return {name: part for node in walk(parts(module)[""]) for name, part in ours(node).items()}


class Visitor(ast.NodeVisitor):
    """What one part reaches: other parts, and packages of others."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.reached: set[Part] = set()
        self.imports: set[Import] = set()
        self.names = dict(imported(part.module)) | {name: Part(part.module, name) for name in parts(part.module)}
        self.found: dict[str, list[str]] = {}  # variables that hold a module found by its name
        self.objects: dict[str, Part] = {}  # variables that hold an object, and its class
        self.without = "fails"
        node = parts(part.module)[part.name]
        if "." in part.name and node.args.args:
            self.objects[node.args.args[0].arg] = Part(part.module, part.name.partition(".")[0])
        self.visit(node)

    def visit(self, node: ast.AST) -> None:
        names = ours(node)
        self.names |= names
        self.reached |= {Part(part.module) for part in names.values()}
        without = "says so" if isinstance(node, ast.Call) else self.without  # a look-up is followed by a message
        self.imports |= {Import(package, self.part.module, without) for package in others(node)}
        super().visit(node)

    def visit_If(self, node: ast.If) -> None:
        if node in walk(node):
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        caught = {name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)}
        before = self.without
        if caught & {"ImportError", "ModuleNotFoundError", "Exception"}:
            raises = any(isinstance(each, ast.Raise) for handler in node.handlers for each in ast.walk(handler))
            self.without = "says so" if raises else "goes on"
        for each in node.body:
            self.visit(each)
        self.without = before
        for each in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(each)

    def visit_With(self, node: ast.With) -> None:
        before = self.without
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        if any(called(call) == "suppress" and "ImportError" in map(ast.unparse, call.args) for call in calls):
            return  # whatever is not installed is done without
        if any(called(call) == "installed" for call in calls):  # turns a failed import into an error of ours
            self.without = "says so"
        self.generic_visit(node)
        self.without = before

    def visit_FunctionDef(self, node: Function) -> None:
        arguments = [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)]
        stored = [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
        before = self.names
        self.names = {name: part for name, part in before.items() if name not in {*arguments, *stored}}
        self.generic_visit(node)
        self.names = before

    visit_Lambda = visit_FunctionDef  # noqa: N815 ast's

    def modules_of(self, node: ast.AST) -> list[str]:
        """Return the modules that an expression can be, if it finds a module by its name."""
        if isinstance(node, ast.Name):
            return self.found.get(node.id, [])
        if not isinstance(node, ast.Call):
            return []
        if called(node) == "import_module":
            return fitting(node.args[0], self.part.module)
        part = self.target(node.func)
        definition = part and part.name and parts(part.module).get(part.name)
        if isinstance(definition, ast.FunctionDef):
            returned = [each.value for each in walk(definition) if isinstance(each, ast.Return)]
            for value in returned:
                if isinstance(value, ast.Call) and called(value) == "import_module":
                    return fitting(value.args[0], part.module)
        return []

    def target(self, node: ast.AST) -> Part | None:
        """Return the part that a name, or an attribute of a module, stands for."""
        if isinstance(node, ast.Name) and node.id in self.names:
            return resolve(self.names[node.id])
        if isinstance(node, ast.Attribute):
            base = self.target(node.value)
            return resolve(Part(base.module, node.attr)) if base and not base.name else None
        return None

    def made(self, node: ast.AST) -> Part | None:
        """Return the class whose object an expression makes, if all of its methods stand in it."""
        part = self.target(node.func) if isinstance(node, ast.Call) and self.part.name else None
        definition = part and part.name and parts(part.module).get(part.name)
        return part if isinstance(definition, ast.ClassDef) and not definition.bases else None

    def use_of(self, part: Part, name: str) -> None:
        """Reach a method of an object; what has no such method is a value that a method has set."""
        if f"{part.name}.{name}" in parts(part.module):
            self.reached.add(Part(part.module, f"{part.name}.{name}"))

    def reach(self, found: list[str], name: str) -> None:
        self.reached |= {Part(module, name) for module in found}  # of that module, also if another one defines it

    def visit_Assign(self, node: ast.Assign) -> None:
        pairs = [(target, node.value) for target in node.targets]
        while pairs:
            target, value = pairs.pop()
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs += zip(target.elts, value.elts, strict=True)
            elif isinstance(target, ast.Name) and (found := self.modules_of(value)):
                self.found[target.id] = found
                self.reach(found, "")
                for each in ast.iter_child_nodes(value):
                    self.visit(each)
            elif isinstance(target, ast.Name) and (part := self.made(value)):
                self.objects[target.id] = part
                for method in methods_of(parts(part.module)[part.name]):  # Python calls some by itself
                    if method.name.startswith("__"):
                        self.use_of(part, method.name)
                for each in (*value.args, *value.keywords):
                    self.visit(each)
            else:
                self.visit(target)
                self.visit(value)

    def visit_Return(self, node: ast.Return) -> None:
        found = isinstance(node.value, ast.Call) and called(node.value) == "import_module"
        if found:  # whoever calls the function says what it wants of the module
            self.reach(fitting(node.value.args[0], self.part.module), "")
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "__path__":  # of a package, to list its modules
            return
        if isinstance(node.value, ast.Name) and node.value.id in self.objects:
            self.use_of(self.objects[node.value.id], node.attr)
            return
        if found := self.modules_of(node.value):
            self.reach(found, node.attr)
            for each in ast.iter_child_nodes(node.value):
                self.visit(each)
        elif part := self.target(node):
            self.use(part)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if called(node) == "getattr" and (found := self.modules_of(node.args[0])):
            self.reach(found, node.args[1].value)
            return
        if found := self.modules_of(node):
            self.reach(found, ALL)
        if not self.part.name and (part := self.target(node.func)):
            self.reached.add(part)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if node.id in self.objects:
                self.use(self.objects[node.id])
            elif node.id in self.found:
                self.reach(self.found[node.id], ALL)
            elif node.id == "__name__" and self.part.name:  # for `python -m`
                self.reached.add(Part(self.part.module, PROGRAM))
            elif part := self.target(node):
                self.use(part)

    def use(self, part: Part) -> None:
        """Reach what is named; when a module is imported, what it names is kept and not yet used."""
        if self.part.name:
            self.reached.add(part)


def fitting(name: ast.AST, module: str) -> list[str]:
    """Return the modules whose names fit that of a call of import_module."""
    assert isinstance(name, ast.JoinedStr), f"{module}: cannot tell which modules {ast.unparse(name)} names"
    pattern = ""
    for piece in name.values:
        if isinstance(piece, ast.Constant):
            pattern += re.escape(piece.value)
        else:
            words = WORDS | {"__name__": re.escape(module)}
            pattern += "(?:" + words.get(getattr(piece.value, "id", ""), r"\w+") + ")"
    return [each for each in modules() if re.fullmatch(pattern, each)]


visited = cache(Visitor)


def imports(root: Part, *, foreign: Iterable[str] = ()) -> set[Import]:
    """Return what a part imports of others, directly or through others of ours.

    ``foreign`` are modules that only other jobs use. Every job reads all of the params, so they count for what the
    params ask of them.
    """
    seen: set[Part] = set()
    found: set[Import] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part in seen or file(part.module) is None:
            continue
        seen.add(part)
        names = part.module.split(".")
        waiting += [Part(".".join(names[:length])) for length in range(1, len(names) + 1)]
        if part.name == ALL:
            reached = {Part(part.module, name) for name in parts(part.module)}
        else:
            visitor = visited(part)
            reached = visitor.reached
            found |= visitor.imports
        waiting += [resolve(each) for each in reached if each.module not in foreign or part.module == PARAMS]
    return found

"""The conda environments of the rules hold what the verbs that run in them import."""

import ast
import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ENVIRONMENTS = Path(__file__).parent.parent / "envs"
BEHIND_EVERY_VERB = ("layout", "recipe", "store", "progress")
MODULES = {
    "data": ("datasets._prepare", "datasets.demo", "datasets.clips"),
    "features": (
        "datasets._prepare",
        "datasets.arrays",
        "datasets.mmsa",
        "features.shards",
        "features.text",
        "features.audio",
        "features.vision",
        "features.align",
    ),
    "train": (
        "training.trainer",
        "training.index",
        "evaluation.predict",
        "evaluation.metrics",
        "methods.lnln",
        "methods.self_mm",
        "methods.ramer",
        "methods.hrlf",
    ),
    "report": (
        "manifest",
        "corruption.plan",
        "evaluation.aggregate",
        "evaluation.significance",
        "evaluation.representations",
        "report",
        "report.page",
    ),
}
# Only where py-feat is: envs/pyfeat.yaml.
ELSEWHERE = {"feat", "huggingface_hub"}


def pins(name):
    document = yaml.safe_load((ENVIRONMENTS / f"{name}.yaml").read_text())
    (pip,) = (entry["pip"] for entry in document["dependencies"] if isinstance(entry, dict))
    script = ENVIRONMENTS / f"{name}.post-deploy.sh"
    words = [*pip, *(re.findall(r"\S+==\S+", script.read_text()) if script.exists() else [])]
    return {word.split("==")[0].lower() for word in words}


def with_requirements(names):
    """Return distributions and all that they require on this machine."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [re.split(r"[\s;<>=!~\[(]", line)[0] for line in requirements if "extra ==" not in line]
    return found


def imports(modules):
    """Return the top-level packages that modules of ours import, directly or through others of ours."""
    seen, packages, waiting = set(), set(), [f"elision.{module}" for module in modules]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue
        if spec is None or not spec.origin:
            continue
        tree = ast.parse(Path(spec.origin).read_text())
        typing_only = {
            node
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            if node in typing_only:
                continue
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [n for n in names if n.startswith("elision.")]
            packages |= {n.split(".")[0] for n in names if not n.startswith("elision")}
    return packages - set(sys.stdlib_module_names) - ELSEWHERE


@pytest.mark.parametrize("name", MODULES)
def test_an_environment_holds_what_its_verbs_import(name):
    held = with_requirements(pins(name) | {"typer", "rich"})
    distributions = metadata.packages_distributions()
    for package in imports(BEHIND_EVERY_VERB + MODULES[name]):
        options = {option.lower().replace("_", "-") for option in distributions.get(package, [package])}
        assert options & held, f"envs/{name}.yaml lacks {package}"


def test_every_environment_of_a_rule_is_there():
    rules = "".join(path.read_text() for path in (ENVIRONMENTS.parent / "workflow" / "rules").glob("*.smk"))
    for name in re.findall(r"envs/(\w+)\.yaml", rules):
        assert (ENVIRONMENTS / f"{name}.yaml").exists()
    assert {path.stem for path in ENVIRONMENTS.glob("*.yaml")} == {*MODULES, "pyfeat"}

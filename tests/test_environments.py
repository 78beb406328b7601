"""The conda environments of the rules: their pins, what they hold, and what Snakemake does with them.

What each must hold is read from the rules and from the code of the verbs. Here a small program that makes environments
out of the packages of this one replaces conda; tests/workflow/test_workflow_conda.py creates the real environments.
"""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import reach
from elision.settings.params import dataset_source, source_names
from environments import ENVIRONMENTS, NAMES, PYPI, REPOSITORY, document, from_conda, from_pip, held

RULES = REPOSITORY / "workflow" / "rules"
# What changes numbers, by the names of PyPI: the only exact versions.
EXACT = {"av", "librosa", "numba", "numpy", "optuna", "pandas", "scikit-learn", "scipy", "torch", "transformers"}
EXACT_OF_PYFEAT = {"timm", "torchcodec", "torchvision", "xgboost"}
# py-feat, and what nothing else needs: constraints.txt does not have it.
OF_PYFEAT = EXACT_OF_PYFEAT | {"celluloid", "easing-functions", "numexpr", "plotly", "py-feat", "seaborn", "skops"}
# The distribution of a package that is not installed where tests run.
ABSENT = {"feat": "py-feat"}
# The names that rules give to datasets of one kind, and what sources of it make.
KINDS = {"MEDIA": "clips", "SEQUENCES": "sequences"}


class Use(NamedTuple):
    """A verb that a rule runs in an environment, and modules that only its jobs in other environments use."""

    environment: str
    verb: str
    foreign: frozenset[str] = frozenset()


def assigned(name):
    """Return the expressions that the files of the rules assign to a name."""
    lines = "".join(path.read_text() for path in RULES.glob("*.smk"))
    return [ast.parse(value, mode="eval").body for value in re.findall(rf"^{name} = (.+)$", lines, re.MULTILINE)]


def texts(node, given):
    """Yield every text that an expression of a rule can be, with the values of wildcards in its conditions."""
    if isinstance(node, ast.Constant):
        yield node.value, given
    elif isinstance(node, ast.Lambda):
        yield from texts(node.body, given)
    elif isinstance(node, ast.Name):
        for value in assigned(node.id):
            yield from texts(value, given)
    elif isinstance(node, ast.FormattedValue):
        yield from texts(node.value, given)
    elif isinstance(node, ast.IfExp):
        equal = [each for each in ast.walk(node.test) if isinstance(each, ast.Compare)]
        # A wildcard, or what a function says of the wildcards: the modality that a kind of corrupted media changes.
        asked = {getattr(each.left, "attr", "modality"): each.comparators[0].value for each in equal}
        yield from texts(node.body, given | asked)
        yield from texts(node.orelse, given)
    elif isinstance(node, ast.JoinedStr):
        found = [("", given)]
        for piece in node.values:
            found = [(text + more, now) for text, known in found for more, now in texts(piece, known)]
        yield from found
    else:
        raise AssertionError(f"cannot tell what {ast.unparse(node)} is")


@cache
def uses():
    """Return which verb the rules run in which environment."""
    modalities = reach.WORDS["modality"].split("|")
    rules = "".join(path.read_text() for path in sorted(RULES.glob("*.smk")))
    found = set()
    # A rule of a loop is indented, and has its name in a line of its own.
    for rule in re.findall(r"^ *rule\b.*?(?=^\S|\Z)", rules, re.MULTILINE | re.DOTALL):
        [verb] = re.findall(r"python -m elision ([\w-]+)", rule)
        [conda] = re.findall(r"^ +conda:\n +(.+)$", rule, re.MULTILINE)
        kind = next((kind for name, kind in KINDS.items() if f"dataset=any_of({name})" in rule), "")
        sources = {name for name in source_names() if kind in ("", dataset_source(name).MAKES)}
        assert all(
            part.module.rpartition(".")[2] not in set(source_names()) - sources
            for name in sources
            for part in reach.imported(f"elision.datasets.{name}").values()
        )
        for path, given in texts(ast.parse(conda, mode="eval").body, {}):
            foreign = {f"elision.datasets.{name}" for name in set(source_names()) - sources}
            foreign |= {f"elision.features.{name}" for name in modalities if given.get("modality", name) != name}
            foreign |= {"elision.features.recognise"} if given.get("modality") == "vision" else set()
            found.add(Use(Path(path).stem, verb, frozenset(foreign)))
    return sorted(found, key=str)


distributions_of_packages = cache(metadata.packages_distributions)


def lacking(use, folder=ENVIRONMENTS):
    """Return what a verb imports and its environment lacks, as sentences.

    Where the verb says so without a package, such as an extractor that is one of two, another environment of the same
    verb may hold the package. Where the verb goes on without the package, none has to.
    """
    verb = reach.Part("elision.cli.steps", use.verb.replace("-", "_"))
    assert verb.name in reach.parts(verb.module), f"no function is named like the verb {use.verb}"
    same = [other.environment for other in uses() if other.verb == use.verb]
    missing = set()
    for found in reach.imports(verb, foreign=use.foreign):
        if found.package in sys.stdlib_module_names or found.without == "goes on":
            continue
        options = distributions_of_packages().get(
            found.package, [{"feat": "py-feat"}.get(found.package, found.package)]
        )
        places = same if found.without == "says so" else [use.environment]
        if not any(canonicalize_name(name) in held(place, folder) for name in options for place in places):
            missing.add(f"envs/{use.environment}.yaml lacks {found.package}, which {found.module} imports")
    return missing


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_has_one_channel_and_packages_that_pip_does_not_change(name):
    found = document(name)
    assert found["channels"] == ["conda-forge"]
    assert all(isinstance(line, str) for line in found["dependencies"])  # a section `pip:` is lost by a pin file
    assert from_conda(name)
    script = ENVIRONMENTS / f"{name}.post-deploy.sh"
    assert script.exists() == ("pip" in found["dependencies"])
    if script.exists():
        *_, last = script.read_text().splitlines()
        assert re.fullmatch(r"python -m pip install --no-deps( \S+==\S+)+", last)
    assert not {PYPI.get(package, package) for package in from_conda(name)} & set(from_pip(name))


@pytest.mark.parametrize("name", NAMES)
def test_what_changes_numbers_has_the_exact_version_that_is_tested_and_the_rest_a_lower_bound(name):
    lines = (REPOSITORY / "constraints.txt").read_text()
    tested = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lines, re.MULTILINE))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    declared = dict(re.fullmatch(r"([\w-]+)(\S*)", line).groups() for line in project)
    found = {PYPI.get(package, package): limits for package, limits in from_conda(name).items()}
    assert {package for package, limits in found.items() if limits.startswith("==")} == set(found) & (
        EXACT | EXACT_OF_PYFEAT
    )
    assert all(limits.startswith(("==", ">=")) for limits in found.values())
    bounds = {package: limits for package, limits in found.items() if limits.startswith(">=")}
    assert all(bounds[package] == declared[package] for package in set(bounds) & set(declared))
    found |= {package: f"=={version}" for package, version in from_pip(name).items()}
    assert set(found) - set(tested) == (OF_PYFEAT if name == "pyfeat" else set())
    for package in set(found) & set(tested):
        assert tested[package] in SpecifierSet(found[package]), package
        if found[package].startswith("=="):
            assert found[package] == f"=={tested[package]}"


def test_the_environments_of_training_differ_in_the_build_of_pytorch_alone():
    cpu, gpu = from_conda("train-cpu"), from_conda("train-gpu")
    assert cpu.pop("pytorch-cpu") == gpu.pop("pytorch-gpu")
    assert cpu == gpu
    assert from_pip("train-cpu") == from_pip("train-gpu")


def test_the_environment_of_the_hub_is_that_of_features_with_a_pytorch_for_gpus_and_pillow():
    features, hub = from_conda("features"), from_conda("hf")
    assert features.pop("pytorch-cpu") == hub.pop("pytorch")
    assert hub.pop("pillow")
    assert hub == features
    assert from_pip("hf") == from_pip("features")


def test_every_rule_runs_in_an_environment_that_is_there():
    assert {use.environment for use in uses()} == set(NAMES)


@pytest.mark.parametrize("use", uses(), ids=lambda use: f"{use.environment} {use.verb}")
def test_an_environment_holds_what_its_verbs_import(use):
    assert lacking(use) == set()


@pytest.mark.parametrize(
    ("name", "module"), [("hf", "audio_hf"), ("hf", "vision_hf"), ("train-cpu", "text_hf"), ("train-gpu", "text_hf")]
)
def test_an_environment_holds_what_models_of_the_hub_need(name, module):
    """Jobs of other extractors do without some of these packages, so that verbs alone do not tell."""
    root = f"elision.features.{module}"
    other = {"elision.features.pyfeat"}
    packages = {
        found.package
        for part in reach.parts(root)
        for found in reach.imports(reach.Part(root, part), foreign=other)
        if found.without != "goes on"
    }
    packages = packages - set(sys.stdlib_module_names) - {"elision"}
    assert {"torch", "transformers"} <= packages
    there = set(held(name))
    for package in packages:
        owners = {canonicalize_name(owner) for owner in distributions_of_packages().get(package, [package])}
        assert owners & there, package


@pytest.mark.parametrize(
    ("name", "package", "verbs"),
    [
        ("report", "psutil", {"collect", "aggregate", "significance", "report"}),  # imported by what the verb imports
        ("report", "jinja2", {"report"}),
        ("data", "scikit-image", {"prepare"}),  # imported in a function of a dataset, found by its name
        ("features", "h5py", {"prepare"}),
        ("features", "librosa", {"corrupt-clips", "extract", "merge"}),  # of a modality, found by its name
        # One of several extractors, and another environment has another.
        ("features and hf", "mediapipe", {"corrupt-clips", "extract"}),
        ("train-cpu", "transformers", {"encode", "examine", "tune", "train", "index", "evaluate"}),
        ("train-gpu", "pytorch-gpu", {"encode", "examine", "tune", "train", "index", "evaluate"}),
        ("pyfeat", "py-feat", {"corrupt-clips", "extract"}),
    ],
)
def test_a_package_that_an_environment_loses_is_missed(tmp_path, name, package, verbs):
    names = name.split(" and ")
    for path in ENVIRONMENTS.iterdir():
        lines = path.read_text().splitlines(keepends=True)
        if path.name.split(".")[0] in names:
            lines = [re.sub(rf" {package}==\S+", "", line) for line in lines if not line.startswith(f"  - {package} ")]
        (tmp_path / path.name).write_text("".join(lines))
    missed = {use.verb for use in uses() if use.environment in names and lacking(use, tmp_path)}
    assert missed == verbs


def test_the_command_line_starts_in_every_environment_without_an_installation(tmp_path):
    common = set.intersection(*(set(held(name)) for name in NAMES))
    for distribution in filter(None, (held("report")[package] for package in common)):
        for part in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            link = tmp_path / part
            if not link.exists():
                link.symlink_to(Path(sysconfig.get_path("purelib")) / part)
    path = os.pathsep.join([str(REPOSITORY / "workflow"), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-S", "-m", "elision", "--help"],  # -S: nothing of what is installed here
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "prepare" in done.stdout
    assert not (tmp_path / "torch").exists()


def test_the_face_mesh_runs_with_what_its_environment_holds():
    """pip installs mediapipe without what it declares, so what it imports has to be there for other reasons."""
    there = set(held("features"))
    absent = {
        package
        for package, owners in distributions_of_packages().items()
        if package != "elision" and not there & {canonicalize_name(owner) for owner in owners}
    }
    assert {"absl", "flatbuffers"} & absent == {"absl", "flatbuffers"} & set(distributions_of_packages())
    program = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
from elision.features.vision import NAMES, _mediapipe
print(_mediapipe([np.zeros((32, 32, 3), np.uint8)], None)[0].shape == (1, len(NAMES)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stderr


CONDA = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path

words, base = sys.argv[1:], Path(__file__).parent.parent
if words == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": str(base), "platform": "linux-64"}}))
elif words == ["--version"]:
    print("conda 25.1.0")
elif words[:2] == ["config", "--get"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[0] == "clean":
    pass
elif words[:2] == ["env", "create"]:
    python = Path(words[words.index("--prefix") + 1], "bin", "python")
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\\n'
        'if [ "$1 $2" = "-m pip" ]; then echo "$@" >> "{{base}}/pip.log"; exit; fi\\n'
        'PYTHONPATH="$PYTHONPATH:{sysconfig.get_path("purelib")}" exec {sys.executable} -S "$@"\\n'
        .replace("{{base}}", str(base))
    )
    python.chmod(0o755)
else:
    sys.exit(f"conda: not known here: {{words}}")
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a small params.yaml, and a function that runs Snakemake in it with a conda and GPUs on the PATH."""
    programs = {
        "conda": CONDA,
        "activate": 'export PATH="$1/bin:$PATH"\n',
        "nvidia-smi": "#!/bin/sh\nprintf 'GPU %s: Fake (UUID: GPU-%s)\\n' 0 0 1 1\n",
    }
    for name, text in programs.items():
        path = tmp_path / "base" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def snakemake(train, *arguments):
        params = {"datasets": {"demo": {"source": "demo", "clips": 12}}, "methods": ["majority"], "train": train}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        command = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile"), "--cores", "1", *arguments]
        hidden = ("PYTHONPATH", "ELISION_PARAMS", "ELISION_GPUS", "CUDA_VISIBLE_DEVICES")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment["PATH"] = os.pathsep.join([str(tmp_path / "base" / "bin"), os.environ["PATH"]])
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    snakemake.folder = tmp_path
    return snakemake


def test_the_device_chooses_the_form_of_the_training_environment(project):
    said = project({"device": "auto"}, "--use-conda", "--dry-run", "--quiet", "rules")
    created = set(re.findall(r"Conda environment \S*envs/([\w-]+)\.yaml will be created", said))
    assert created == {"data", "features", "report", "train-gpu"}


def test_a_job_in_an_environment_finds_the_package_and_the_limit_of_gpus_holds(project):
    target = "results/datasets/demo/clips.parquet"
    said = project({"jobs_per_gpu": 3}, "--use-conda", target)
    assert 'Provided resources: gpu=Resource("gpu", 6)' in said
    assert (project.folder / target).exists()
    asked = " ".join(f"{name}=={version}" for name, version in from_pip("data").items())
    assert (project.folder / "base" / "pip.log").read_text() == f"-m pip install --no-deps {asked}\n"

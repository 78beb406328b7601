"""The conda environments of the rules: their pins, what they hold, and what Snakemake does with them.

There is no conda here: a small program stands in for it, which makes environments out of the packages of this one.
"""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent
ENVIRONMENTS = REPOSITORY / "envs"
BEHIND_EVERY_VERB = ("layout", "recipe", "store", "progress")
TRAINING = (
    "devices",
    "training.trainer",
    "training.index",
    "evaluation.predict",
    "evaluation.metrics",
    "methods.lnln",
    "methods.self_mm",
    "methods.ramer",
    "methods.hrlf",
)
MODULES = {
    "data": ("datasets._prepare", "datasets.demo", "datasets.clips"),
    "features": (
        "devices",
        "datasets._prepare",
        "datasets.arrays",
        "datasets.mmsa",
        "features.shards",
        "features.text",
        "features.audio",
        "features.vision",
        "features.align",
    ),
    "train-cpu": TRAINING,
    "train-gpu": TRAINING,
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
NAMES = [*MODULES, "pyfeat"]
# Only where py-feat is: envs/pyfeat.yaml.
ELSEWHERE = {"feat", "huggingface_hub"}
# What conda-forge calls otherwise than PyPI.
PYPI = {
    "huggingface_hub": "huggingface-hub",
    "matplotlib-base": "matplotlib",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "pysoundfile": "soundfile",
    "python-flatbuffers": "flatbuffers",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
}
# py-feat, and what nothing else needs: constraints.txt does not have it.
OF_PYFEAT = {
    "celluloid",
    "easing-functions",
    "numexpr",
    "plotly",
    "py-feat",
    "seaborn",
    "skops",
    "timm",
    "torchcodec",
    "torchvision",
    "xgboost",
}


def document(name):
    return yaml.safe_load((ENVIRONMENTS / f"{name}.yaml").read_text())


def from_conda(name):
    """Return names and versions of what conda installs, apart from Python and pip."""
    lines = [line for line in document(name)["dependencies"] if line not in ("python =3.11", "pip")]
    return dict(re.fullmatch(r"([\w-]+) ==([\w.]+)", line).groups() for line in lines)


def from_pip(name):
    """Return names and versions of what the script after the deployment installs."""
    script = ENVIRONMENTS / f"{name}.post-deploy.sh"
    return dict(re.findall(r"(\S+)==(\S+)", script.read_text())) if script.exists() else {}


def constraints():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", "\n".join(lines), re.M))


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


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_has_one_channel_and_exact_versions_that_pip_does_not_change(name):
    found = document(name)
    assert found["channels"] == ["conda-forge", "nodefaults"]
    assert all(isinstance(line, str) for line in found["dependencies"])  # a section `pip:` is lost by a pin file
    assert from_conda(name)
    script = ENVIRONMENTS / f"{name}.post-deploy.sh"
    assert script.exists() == ("pip" in found["dependencies"])
    if script.exists():
        *_, last = script.read_text().splitlines()
        assert re.fullmatch(r"python -m pip install --no-deps( \S+==\S+)+", last)
    assert not {PYPI.get(package, package) for package in from_conda(name)} & set(from_pip(name))


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_has_the_versions_of_the_constraints(name):
    expected = constraints()
    # The last number of OpenCV's wheels counts wheels.
    expected["opencv-python-headless"] = expected["opencv-python-headless"].rpartition(".")[0]
    found = {PYPI.get(package, package): version for package, version in from_conda(name).items()} | from_pip(name)
    assert set(found) - set(expected) == (OF_PYFEAT if name == "pyfeat" else set())
    assert {p: v for p, v in found.items() if p in expected} == {p: expected[p] for p in found if p in expected}


def test_the_environments_of_training_differ_in_the_build_of_pytorch_alone():
    cpu, gpu = from_conda("train-cpu"), from_conda("train-gpu")
    assert cpu.pop("pytorch-cpu") == gpu.pop("pytorch-gpu")
    assert cpu == gpu
    assert from_pip("train-cpu") == from_pip("train-gpu")


@pytest.mark.parametrize("name", MODULES)
def test_an_environment_holds_what_its_verbs_import(name):
    packages = {PYPI.get(package, package) for package in from_conda(name)} | set(from_pip(name))
    held = with_requirements(packages)
    distributions = metadata.packages_distributions()
    for package in imports(BEHIND_EVERY_VERB + MODULES[name]):
        options = {option.lower().replace("_", "-") for option in distributions.get(package, [package])}
        assert options & held, f"envs/{name}.yaml lacks {package}"


def test_every_environment_of_a_rule_is_there():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    for name in re.findall(r"envs/([\w-]+)\.yaml", rules):
        assert (ENVIRONMENTS / f"{name}.yaml").exists()
    assert {path.stem for path in ENVIRONMENTS.glob("*.yaml")} == set(NAMES)


def test_the_command_line_starts_in_every_environment_without_an_installation(tmp_path):
    common = set.intersection(*({PYPI.get(p, p) for p in from_conda(name)} for name in NAMES))
    for name in with_requirements(common):
        try:
            files = metadata.files(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        for part in {file.parts[0] for file in files} - {"..", "__pycache__"}:
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
    assert (project.folder / "base" / "pip.log").read_text() == (
        "-m pip install --no-deps espeakng-loader==" + from_pip("data")["espeakng-loader"] + "\n"
    )

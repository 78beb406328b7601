"""What all rules share: the params, where files lie, what they are made of, and where jobs find the package."""

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which

PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)

from elision import params as parameters
from elision.errors import ElisionError
from elision.layout import Layout
from elision.methods import check
from elision.recipe import Recipes

PARAMS_FILE = config.get("params", "params.yaml")
try:
    PARAMS = parameters.load(PARAMS_FILE)
    if workflow.is_main_process:
        check(PARAMS)
except ElisionError as error:
    sys.exit(f"elision: {error}")

RESULTS = Layout(Path("results"))
RECIPES = Recipes(PARAMS)

# Jobs run this package with this Python (or that of their conda environment), wherever they start.
os.environ.update(
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    ),
    PYTHONPATH=PACKAGE,
    ELISION_PARAMS=str(PARAMS_FILE),
)

# One training at a time per GPU of this machine; `--resources gpu=N` or a cluster profile says otherwise.
GPUS = (
    len(subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout.splitlines())
    if which("nvidia-smi")
    else 0
)
TRAINING_GPUS = int(GPUS > 0 and PARAMS.train.device not in ("cpu", "mps"))
if GPUS and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", GPUS)


def any_of(names):
    """Return a pattern for one of the names; it matches nothing if there is none."""
    return "|".join(sorted(map(re.escape, names))) or "(?!)"


def user_files(wildcards):
    """Return the user's own files that a dataset reads."""
    settings = PARAMS.datasets[wildcards.dataset]
    return parameters.dataset_source(settings.source).inputs(settings)


def starts(wildcards):
    """Return the weights of the stages that a run starts from, and the database that it searches."""
    method = PARAMS.trained[wildcards.method].method
    files = [
        path
        for stage in parameters.needs(method)
        for path in RESULTS.model(wildcards.dataset, stage, wildcards.run)
    ]
    return files + database(wildcards)


def database(wildcards):
    """Return the files of the database that a method searches."""
    stage = parameters.retrieves(PARAMS.trained[wildcards.method].method)
    return (
        RESULTS.database_files(wildcards.dataset, stage, wildcards.run) if stage else []
    )

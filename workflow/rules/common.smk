"""What all rules share: the params, the paths and recipes of files, and the environment of jobs."""

import atexit
import gc
import os
import re
import sys
from pathlib import Path

# Planning makes objects that stay. By default Python looks through them again and again, and once more at its end, for
# some that could go, which is a quarter of the time that planning takes.
gc.freeze()
gc.set_threshold(100_000)
atexit.register(gc.freeze)

PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)

from elision import devices
from elision.errors import ElisionError, stop
from elision.methods import check
from elision.provenance import adopt, kept
from elision.provenance.layout import STAGES, Layout
from elision.provenance.recipe import Recipes
from elision.settings import params as parameters

PARAMS_FILE = config.get("params", "params.yaml")
try:
    parameters.check_config(config)
    PARAMS = parameters.load(PARAMS_FILE)
    RESULTS = Layout(Path(config.get("results") or PARAMS.results))
    RECIPES = Recipes(PARAMS, RESULTS)
    FILES = {stage: RESULTS.stage(stage, PARAMS) for stage in STAGES}
    if workflow.is_main_process:
        if not adopt.is_checked(PARAMS, RESULTS):
            check(PARAMS)
            for problem in parameters.unreadable_methods().values():
                print(
                    f"elision: {PARAMS_FILE} does not use this broken method: {problem}",
                    file=sys.stderr,
                )
            for problem in PARAMS.left_out:
                print(f"elision: methods: all leaves out {problem}", file=sys.stderr)
        if "adopt" not in config:
            adopt.put_typed_aside(PARAMS, RESULTS)
            adopt.refuse_unknown(RESULTS.root)
except ElisionError as error:
    stop(error)

# Jobs run this package with this Python (or that of their conda environment), wherever they start. Snakemake takes
# PYTHONPATH from the surroundings of a conda environment, so it is set inside.
shell.prefix("set -euo pipefail; export PYTHONPATH={PACKAGE:q}; ")
# A job that reads this file on another machine must come to the GPUs of the one that plans.
GPUS = int(os.environ.get("ELISION_GPUS") or devices.count())
os.environ.update(
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    ),
    ELISION_PARAMS=str(PARAMS_FILE),
    ELISION_RESULTS=str(RESULTS.root),
    ELISION_GPUS=str(GPUS),
)

DEVICE = PARAMS.train.device
TRAINING_GPUS = int(devices.takes_gpu(DEVICE, GPUS))
TRAINING_ENVIRONMENT = f"../../envs/train-{'gpu' if TRAINING_GPUS else 'cpu'}.yaml"
# `--resources gpu=N` or a profile says otherwise. Snakemake has no other way to set a limit in a Snakefile; this one is
# not of its public interface, but tests hold it.
if GPUS and "gpu" not in workflow.global_resources:
    workflow.register_resource(
        "gpu", devices.places(DEVICE, GPUS, PARAMS.train.jobs_per_gpu)
    )


def any_of(names):
    """Return a pattern for one of the names; it matches nothing if there is none."""
    return "|".join(sorted(map(re.escape, names))) or "(?!)"


def user_files(wildcards):
    """Return the user's own files that a dataset reads; their content counts, which recipes know, not their times.

    Braces are wildcards to Snakemake, also in names of files that exist: it is not told of such files.
    """
    files = parameters.user_files(PARAMS, wildcards.dataset)
    return [ancient(path) for path in files if not set(str(path)) & set("{}")]


def starts(wildcards):
    """Return the weights of the teachers that a run starts from, and the database that it searches."""
    method = PARAMS.trained[wildcards.method].method
    files = [
        path
        for teacher in parameters.needs(method)
        for path in RESULTS.model(wildcards.dataset, teacher, wildcards.run)
    ]
    return files + database(wildcards)


def database(wildcards):
    """Return the files of the database that a method searches."""
    teacher = parameters.retrieves(PARAMS.trained[wildcards.method].method)
    return (
        RESULTS.database_files(wildcards.dataset, teacher, wildcards.run)
        if teacher
        else []
    )

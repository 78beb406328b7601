"""From raw clips to a report on robustness under missing data. Every rule calls one verb of the elision package."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

from snakemake.utils import min_version

min_version("9.27")
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from elision import params as parameters
from elision.errors import ElisionError
from elision.layout import Layout
from elision.recipe import Recipes

PARAMS_FILE = config.get("params", "params.yaml")
try:
    PARAMS = parameters.load(PARAMS_FILE)
    if workflow.is_main_process:
        from elision.methods import check

        check(PARAMS)
except ElisionError as error:
    sys.exit(f"elision: {error}")

RESULTS = Layout(Path("results"))
RECIPES = Recipes(PARAMS)

# Jobs run this package with this Python (or the one of their conda environment), wherever they start.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = str(Path(workflow.basedir) / "workflow")
os.environ["ELISION_PARAMS"] = str(PARAMS_FILE)

# One training at a time per GPU of this machine; `--resources gpu=N` or a cluster profile says otherwise.
GPUS = len(subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout.splitlines()) if which("nvidia-smi") else 0
TRAINING_GPUS = int(GPUS > 0 and PARAMS.train.device not in ("cpu", "mps"))
if GPUS and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", GPUS)


def any_of(names):
    """Return a pattern for one of the names; it matches nothing if there is none."""
    return "|".join(names) or "(?!)"



wildcard_constraints:
    dataset=any_of(PARAMS.datasets),
    method=any_of(PARAMS.variants),
    run=any_of(PARAMS.runs),
    modality="text|audio|vision|text_features",
    shard=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/corrupt.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    datasets,
    corruptions,
    models,
    predictions,


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/datasets/MANIFEST",
        "results/corruptions/MANIFEST",
        "results/models/MANIFEST",
        "results/predictions/MANIFEST",

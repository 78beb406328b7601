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

from elision import compilers, devices
from elision.corruption import medium
from elision.errors import ElisionError, stop
from elision.evaluation import elsewhere
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
    # A job that reads this file on another machine must come to the GPUs of the one that plans.
    GPUS = int(os.environ.get("ELISION_GPUS") or devices.count())
    DEVICE = PARAMS.train.device
    TRAINING_GPUS = int(devices.takes_gpu(DEVICE, GPUS))
    if workflow.is_main_process:
        if PARAMS.train.compile:
            compilers.require(on_gpu=bool(TRAINING_GPUS))
        if not adopt.is_checked(PARAMS, RESULTS):
            check(PARAMS)
            for problem in parameters.unreadable_methods().values():
                print(
                    f"elision: {PARAMS_FILE} does not use this broken method: {problem}",
                    file=sys.stderr,
                )
            for problem in PARAMS.left_out:
                print(f"elision: methods: all leaves out {problem}", file=sys.stderr)
            for problem in PARAMS.media_left_out:
                print(
                    f"elision: corruption.media leaves out {problem}", file=sys.stderr
                )
        elsewhere.check(RECIPES)
        if "adopt" not in config:
            adopt.put_typed_aside(PARAMS, RESULTS)
            adopt.refuse_unknown(RESULTS.root)
except ElisionError as error:
    stop(error)

# Jobs run this package with this Python (or that of their conda environment), wherever they start. Snakemake takes
# PYTHONPATH from the surroundings of a conda environment, so it is set inside.
shell.prefix("set -euo pipefail; export PYTHONPATH={PACKAGE:q}; ")
os.environ.update(
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    ),
    ELISION_PARAMS=str(PARAMS_FILE),
    ELISION_RESULTS=str(RESULTS.root),
    ELISION_GPUS=str(GPUS),
)

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


SHARED = adopt.share_jobs(PARAMS, RESULTS)


class Job:
    """Runs that one job computes: one, which is a wildcard, or several (train.seeds_per_job)."""

    def __init__(self, runs, datasets):
        self.several = PARAMS.train.seeds_per_job != 1
        self.runs = runs if self.several else ["{run}"]
        self.name = "-to-".join(dict.fromkeys((self.runs[0], self.runs[-1])))
        self.datasets, self.pattern = any_of(datasets), any_of(runs)

    def output(self, path, runs=None):
        """Return the files of the runs; what a run has already is not deleted to make what another lacks."""
        paths = [path("{dataset}", "{method}", run) for run in runs or self.runs]
        return update(paths) if SHARED else paths

    def of(self, wildcards):
        """Return the names of the runs of a job with these wildcards."""
        return self.runs if self.several else [wildcards.run]

    def each(self, function):
        """Return an input function with what another one returns for each run."""
        return lambda w: [path for run in self.of(w) for path in function(w, run)]

    def told(self, recipe):
        """Return a function that tells a verb the runs and their identities.

        Snakemake does not record a param that depends on the output: an identity must not depend on other runs of the
        job. What all runs have in common is a param of its own (see `common`).
        """
        return lambda w, output: " ".join(
            f"--run {run} --recipe {recipe(w.dataset, w.method, run)['identity']}"
            for run in self.of(w)
        )


def common(recipe):
    """Return a function of wildcards with the identity of what all runs of a method have in common."""
    return lambda w: recipe(w.dataset, w.method, "")["identity"]


def jobs(name, runs_of, datasets):
    """Return jobs by the name of each: `name`, and where jobs have several runs, also `name_2`, ...

    Parameters
    ----------
    name : str
    runs_of : function
        Returns the runs of each job on a dataset.
    datasets : mapping of str to str
        What the wildcard `dataset` may be, and the dataset that its runs are trained on.
    """
    of_runs = {}
    for value, dataset in datasets.items():
        for runs in runs_of(dataset):
            of_runs.setdefault(tuple(runs), []).append(value)
    if PARAMS.train.seeds_per_job == 1:
        found = [Job(sorted({run for runs in of_runs for run in runs}), datasets)]
    else:
        found = [Job(list(runs), those) for runs, those in of_runs.items()]
    return {
        name if number == 1 else f"{name}_{number}": job
        for number, job in enumerate(found, start=1)
    }


# What runs are trained and tested on. In rules of evaluation, the wildcard `dataset` is a test (see Params.tests).
TRAINED_ON = {test: trained_on for test, (trained_on, _) in PARAMS.tests.items()}
TESTED_ON = {test: tested_on for test, (_, tested_on) in PARAMS.tests.items()}

TRAINING = jobs("train", PARAMS.jobs, {name: name for name in PARAMS.datasets})
# The first run of each method is represented, too.
EVALUATION = jobs("evaluate", lambda name: PARAMS.jobs(name)[1:], TRAINED_ON)
EVALUATION_OF_FIRST = jobs(
    "evaluate_first", lambda name: PARAMS.jobs(name)[:1], TRAINED_ON
)
# What a profile sets for the first holds for all that were made of it.
for key in ("overwrite_resources", "overwrite_threads"):
    given = dict(getattr(workflow.resource_settings, key))
    for first, *others in filter(None, (TRAINING, EVALUATION, EVALUATION_OF_FIRST)):
        given |= {other: given[first] for other in others if first in given}
    setattr(workflow.resource_settings, key, given)


def user_files(wildcards):
    """Return the user's own files that a dataset reads; their content counts, which recipes know, not their times.

    Braces are wildcards to Snakemake, also in names of files that exist: it is not told of such files.
    """
    files = parameters.user_files(PARAMS, wildcards.dataset)
    return [ancient(path) for path in files if not set(str(path)) & set("{}")]


def of_pyfeat(dataset):
    """Tell whether py-feat extracts the vision of a dataset."""
    return PARAMS.features_for(dataset).vision.extractor == "pyfeat"


def of_hub(dataset, modality):
    """Tell whether a model of the hub extracts a modality; vectors of text are made by `encode`."""
    return modality != "text" and getattr(PARAMS.features_for(dataset), modality).hub


def extraction_gpus(dataset, modality):
    """Return the GPUs that a job needs which extracts a modality: 1 or 0."""
    device = PARAMS.features_for(dataset).device_of(modality)
    return int(devices.takes_gpu(device, GPUS))


def changed(wildcards):
    """Return the modality that a kind of corrupted media changes."""
    return medium.MODALITY[medium.facts(wildcards.kind).medium]


def recognised(wildcards):
    """Tell whether the words of corrupted sound are recognised."""
    return PARAMS.recogniser_for(wildcards.dataset, wildcards.kind) is not None


def corrupted_clips(wildcards):
    """Return the features of the corrupted test clips that a test needs."""
    dataset = TESTED_ON[wildcards.dataset]
    pairs = (RESULTS.corrupted(dataset, kind) for kind in PARAMS.media_for(dataset))
    return [path for pair in pairs for path in pair]


def starts(wildcards, run):
    """Return the weights of the teachers that a run starts from, and the database that it searches."""
    method = PARAMS.trained[wildcards.method].method
    files = [
        path
        for teacher in parameters.needs(method)
        for path in RESULTS.model(wildcards.dataset, teacher, run)
    ]
    return files + database(wildcards, run)


def text_vectors(wildcards):
    """Return the text vectors of a dataset, if the method of a job reads those that are made of tokens."""
    dataset = TESTED_ON[wildcards.dataset]
    needed = parameters.reads_encoded(PARAMS, dataset, wildcards.method)
    return [RESULTS.text_vectors(dataset)] if needed else []


def database(wildcards, run):
    """Return the files of the database that a method searches."""
    dataset = TRAINED_ON[wildcards.dataset]
    teacher = parameters.retrieves(PARAMS.trained[wildcards.method].method)
    return RESULTS.database_files(dataset, teacher, run) if teacher else []


def tuned(wildcards, run):
    """Return the search that gives the hyperparameters of a run, if its method is tuned."""
    dataset = TRAINED_ON[wildcards.dataset]
    if wildcards.method not in PARAMS.tuned:
        return []
    return [RESULTS.trials(dataset, wildcards.method, PARAMS.tuning_run(dataset, run))]


def trials_before(wildcards):
    """Return the trials that a trial knows."""
    return [
        RESULTS.trial(wildcards.dataset, wildcards.method, wildcards.run, number)
        for number in PARAMS.tune.known_to(int(wildcards.trial))
    ]


def trained(wildcards, run):
    """Return the weights, the history and the record of a run."""
    return RESULTS.model(TRAINED_ON[wildcards.dataset], wildcards.method, run)


def first_run(dataset, method, teacher):
    """Return the files of the first run of a method, and of the database that the method searches, if it does."""
    run = PARAMS.runs(dataset)[0]
    searched = RESULTS.database_files(dataset, teacher, run) if teacher else []
    return [*RESULTS.model(dataset, method, run), *searched]

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from report_results import results

from elision.evaluation.aggregate import FLOOR, aggregate, confusions
from elision.evaluation.metrics import family as family_of
from elision.evaluation.significance import significance
from elision.settings.params import Statistics
from elision.task import MODALITIES

EMOTION = "emotion:happy,angry,sad,neutral"
DATASETS = {"emotion_data": EMOTION, "mosi_data": "mosi", "sims_data": "sims"}
METHODS = ["steady", "brittle_one", FLOOR]
SETS = ["+".join(subset) for size in (1, 2) for subset in combinations(MODALITIES, size)]
CONDITIONS = [("random", rate / 10, "+".join(MODALITIES) if rate else "") for rate in range(10)]
CONDITIONS += [("absent", 0.0, ""), *(("absent", 1.0, subset) for subset in SETS)]
COMBINED = [("combined", rate, modalities) for rate in (0.2, 0.8) for modalities in SETS]
NOISE = [(kind, t, modalities) for kind in ("gaussian", "impulse") for t in (20.0, 100.0) for modalities in SETS[:2]]


# How much less sure methods are than ``steady``, of scores and of classes.
FACTORS = {"brittle_one": (2, 1.3), "third": (1.2, 1.05), "fourth": (1.5, 1.15), "fifth": (0.98, 0.99)}


def predictions(family, method, seed, checkpoint):
    """``steady`` loses accuracy slowly, ``brittle_one`` becomes constant from r = 0.7 on, ``majority`` always is."""
    samples, end = 60, 3 if family == "mosi" else 1
    labels = np.random.default_rng(1111).choice(np.linspace(-end, end, 31), samples).round(3)
    generator = np.random.default_rng([seed, len(checkpoint)])
    tables = []
    for corruption, level, modalities in CONDITIONS:
        noise = generator.normal(0, end * (0.2 + level), samples)
        constant = method == FLOOR or (method == "brittle_one" and level >= 0.7)
        tables.append(
            pd.DataFrame(
                {
                    "id": [f"clip-{i}" for i in range(samples)],
                    "corruption": corruption,
                    "level": level,
                    "modalities": modalities,
                    "checkpoint": checkpoint,
                    "prediction": 0.2 * end if constant else labels + noise * FACTORS.get(method, (1, 1))[0],
                    "label": labels,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def class_predictions(method, seed, fold, checkpoint):
    """As ``predictions``; the test samples of a fold are its own, the class neutral is rare."""
    samples, names = 30, np.array(family_of(EMOTION).labels, dtype=object)
    labels = np.random.default_rng([1111, fold]).choice(4, samples, p=[0.4, 0.3, 0.2, 0.1])
    generator = np.random.default_rng([seed, fold, len(checkpoint)])
    tables = []
    for corruption, level, modalities in [*CONDITIONS, *COMBINED, *NOISE]:
        share = level / 100 if corruption in ("gaussian", "impulse") else level
        drawn = generator.random(samples) < 0.1 + 0.6 * share * FACTORS.get(method, (1, 1))[1]
        found = np.where(drawn, generator.integers(0, 4, samples), labels)
        if method == FLOOR or (method == "brittle_one" and level >= 0.7):
            found[:] = 0
        table = {"id": [f"clip-{fold}-{i}" for i in range(samples)], "corruption": corruption, "level": level}
        table |= {"modalities": modalities, "checkpoint": checkpoint}
        tables.append(pd.DataFrame({**table, "prediction": names[found], "label": names[labels]}))
    return pd.concat(tables, ignore_index=True)


def inputs(*, on_test=False, methods=METHODS, seeds=(1111, 1112), datasets=tuple(DATASETS)):
    """Predictions for three datasets as ``aggregate`` takes them; that of classes has two folds."""
    rows = []
    for dataset in datasets:
        family = DATASETS[dataset]
        checkpoints = ["valid", *(family_of(family).checkpoints if on_test else ())]
        for method in methods:
            for seed in seeds:
                if family == EMOTION:
                    for fold in (1, 2):
                        tables = [class_predictions(method, seed, fold, checkpoint) for checkpoint in checkpoints]
                        rows.append((dataset, family, method, f"seed-{seed}.fold-{fold}", pd.concat(tables)))
                else:
                    tables = [predictions(family, method, seed, checkpoint) for checkpoint in checkpoints]
                    rows.append((dataset, family, method, f"seed-{seed}", pd.concat(tables)))
    return rows


@pytest.fixture(scope="session")
def inputs_of():
    return inputs


@pytest.fixture(scope="session")
def metrics():
    return aggregate(inputs())


@pytest.fixture(scope="session")
def counted():
    return confusions(inputs())


@pytest.fixture(scope="session")
def metrics_on_test():
    return aggregate(inputs(on_test=True))


@pytest.fixture(scope="session")
def single():
    return aggregate(inputs(seeds=(1111,), datasets=("mosi_data",)))


@pytest.fixture(scope="session")
def single_seed():
    return aggregate(inputs(seeds=(1111,), datasets=("emotion_data",)))


@pytest.fixture(scope="session")
def methods():
    return METHODS


@pytest.fixture(scope="session")
def five():
    """Results of five methods and the floor, on classes and on scores; of these, checkpoints were chosen on test."""
    names = ("emotion_data", "mosi_data")
    tables = inputs(methods=["steady", "brittle_one", "third", "fourth", "fifth", FLOOR], datasets=names)
    samples = {
        name: pd.DataFrame({"id": pd.concat([t["id"] for d, *_, t in tables if d == name]).unique()}) for name in names
    }
    intervals, comparisons = significance(tables, samples, Statistics(resamples=100))
    metrics = aggregate(tables)
    metrics["checkpoint"] = metrics["checkpoint"].mask(metrics["dataset"] == "mosi_data", "mae")
    return results(metrics, confusions=confusions(tables), intervals=intervals, comparisons=comparisons)

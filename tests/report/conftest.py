from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from elision.evaluation.aggregate import FLOOR, aggregate, confusions
from elision.evaluation.metrics import FAMILIES
from elision.task import MODALITIES

METHODS = ["steady", "brittle_one", FLOOR]
SETS = ["+".join(subset) for size in (1, 2) for subset in combinations(MODALITIES, size)]
CONDITIONS = [("random", rate / 10, "+".join(MODALITIES) if rate else "") for rate in range(10)]
CONDITIONS += [("absent", 0.0, ""), *(("absent", 1.0, subset) for subset in SETS)]


def predictions(family, method, seed, checkpoint):
    """``steady`` loses accuracy slowly, ``brittle_one`` becomes constant from r = 0.7 on, ``majority`` always is."""
    samples, end = 60, 3 if family == "mosi" else 1
    labels = np.random.default_rng(1111).choice(np.linspace(-end, end, 31), samples).round(3)
    generator = np.random.default_rng([seed, len(checkpoint)])
    tables = []
    for protocol, level, modalities in CONDITIONS:
        noise = generator.normal(0, end * (0.2 + level), samples)
        constant = method == FLOOR or (method == "brittle_one" and level >= 0.7)
        tables.append(
            pd.DataFrame(
                {
                    "id": [f"clip-{i}" for i in range(samples)],
                    "protocol": protocol,
                    "level": level,
                    "modalities": modalities,
                    "checkpoint": checkpoint,
                    "prediction": 0.2 * end if constant else labels + noise * (2 if method == "brittle_one" else 1),
                    "label": labels,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def inputs(*, on_test=False, methods=METHODS, seeds=(1111, 1112), families=tuple(FAMILIES)):
    """Predictions for two datasets, named after their families, as ``aggregate`` takes them."""
    rows = []
    for family in families:
        checkpoints = sorted(set(FAMILIES[family].selected_by.values())) if on_test else ["valid"]
        for method in methods:
            for seed in seeds:
                tables = [predictions(family, method, seed, checkpoint) for checkpoint in checkpoints]
                rows.append((f"{family}_data", family, method, f"seed-{seed}", pd.concat(tables, ignore_index=True)))
    return rows


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
    return aggregate(inputs(seeds=(1111,), families=("mosi",)))


@pytest.fixture(scope="session")
def methods():
    return METHODS

"""Coverage of the intervals and size of the tests, on simulated test splits whose utterances come in clusters.

Two methods are equally good, and each is right more often for some clusters than for others. A test split is a draw of
clusters, and the truth is the value over very many of them. A row of Markdown for each number of clusters, of equal
size and of sizes as unequal as those of speakers often are (geometric), has the share of 95 % intervals that hold the
truth, and the share of tests at 5 % that tell the two methods apart: ours, those of the percentiles of the same
resamples, and ours for single utterances that are drawn as if they were independent. Each is the mean over the eight
metrics by which methods are compared, or that are near to them, with the lowest and the highest.
Run: python benchmarks/coverage.py [--trials 1000] [--clusters 5 10 30 200]
"""

import argparse
import time
from itertools import product

import numpy as np

from elision.evaluation.metrics import Once, weighted
from elision.evaluation.significance import Clusters, Resamples, draw, interval, p_value, standard_error

EMOTION = "emotion:happy,angry,sad,neutral"
METRICS = {"mosi": ("acc2_negpos", "f1_negpos", "mae", "corr"), EMOTION: ("wa", "ua", "f1_weighted", "f1_macro")}
CONFIDENCE = 0.95
SHARE = 0.2  # of the variance, between clusters
SIZE = 20  # mean number of utterances of a cluster
MANY = 20_000  # clusters of the truth


def split(family: str, count: int, random: np.random.Generator, *, equal: bool) -> tuple[np.ndarray, ...]:
    """Draw a test split of ``count`` clusters.

    Returns
    -------
    names : np.ndarray [shape=(N,)]
    prediction : np.ndarray [shape=(2, N)]
        Of two methods with the same errors in distribution, of which a part is common to both.
    label : np.ndarray [shape=(N,)]
    """
    sizes = np.full(count, SIZE) if equal else random.geometric(1 / SIZE, count)
    names = np.repeat(np.arange(count), sizes)

    def noise(width: int) -> np.ndarray:
        of_cluster, own = random.normal(size=(count, width)), random.normal(size=(len(names), width))
        return np.sqrt(SHARE) * of_cluster[names] + np.sqrt(1 - SHARE) * own

    if family == "mosi":
        label = np.clip(1.3 * noise(1)[:, 0], -3, 3).round(1)
        common = 0.5 * random.normal(size=len(names))
        return names, np.stack([0.6 * label + common + 0.8 * noise(1)[:, 0] for _ in range(2)]), label
    usual = np.log([0.4, 0.3, 0.2, 0.1])
    label = (usual + 1.8 * noise(4)).argmax(1)
    evidence = 0.5 * usual + 1.6 * np.eye(4)[label] + 0.5 * random.normal(size=(len(names), 4))
    return names, np.stack([(evidence + noise(4)).argmax(1) for _ in range(2)]), label


def of_family(family: str, count: int, arguments: argparse.Namespace, *, equal: bool) -> np.ndarray:
    """Return the shares of intervals that hold the truth, and of tests that reject, in percent.

    Returns
    -------
    shares : np.ndarray [shape=(3, 2, metrics)]
        Of our procedure, of percentiles, and of ours over single utterances.
    """
    _, prediction, label = split(family, MANY, np.random.default_rng(0), equal=equal)
    scores = weighted(prediction, label, family, weights=Once(), keys=METRICS[family])
    truth = np.array([scores[key].mean() for key in METRICS[family]])
    trials = [trial(family, count, number, truth, arguments, equal) for number in range(arguments.trials)]
    return 100 * np.mean(trials, axis=0)


def trial(
    family: str, count: int, number: int, truth: np.ndarray, arguments: argparse.Namespace, equal: bool
) -> np.ndarray:
    """Return what ``of_family`` takes the mean of, for one test split."""
    names, prediction, label = split(family, count, np.random.default_rng([1, count, number, equal]), equal=equal)
    ours, percentiles = _found(family, names, prediction, label, truth, arguments, number)
    return np.array(
        [ours, percentiles, _found(family, np.arange(len(names)), prediction, label, truth, arguments, number)[0]]
    )


def _found(
    family: str,
    names: np.ndarray,
    prediction: np.ndarray,
    label: np.ndarray,
    truth: np.ndarray,
    arguments: argparse.Namespace,
    number: int,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return whether intervals hold the truth and tests reject, per metric: ours, and those of percentiles."""
    drawn = Clusters("", 0, "", names)
    times = draw(drawn.count, resamples=arguments.resamples, key=(number, "coverage"))
    weights = Resamples(names, np.concatenate([np.ones((1, drawn.count), times.dtype), times]))
    scores = weighted(prediction, label, family, weights=weights, keys=METRICS[family])
    values = np.stack([scores[key] for key in METRICS[family]], axis=-1)  # resamples, methods, metrics
    value, difference = values[:, 0], values[:, 0] - values[:, 1]
    low, high = interval(value[0], standard_error(value[1:], drawn.count), drawn.freedom, CONFIDENCE)
    p = p_value(difference[0], standard_error(difference[1:], drawn.count), drawn.freedom)
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    least, most = np.nanquantile(value[1:], tails, axis=0)
    below, above = np.nanquantile(difference[1:], tails, axis=0)
    ours = (low <= truth) & (truth <= high), p < 1 - CONFIDENCE
    return ours, ((least <= truth) & (truth <= most), (below > 0) | (above < 0))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--clusters", type=int, nargs="+", default=[5, 10, 30, 200])
    arguments = parser.parse_args()
    start = time.process_time()
    print(
        "| clusters | size | coverage | size of the test | percentiles: coverage | size | utterances: coverage | size |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for count, equal in product(arguments.clusters, (True, False)):
        shares = [of_family(family, count, arguments, equal=equal) for family in METRICS]
        columns = np.concatenate(shares, axis=-1).reshape(6, -1)
        cells = [f"{column.mean():.1f} ({column.min():.1f} to {column.max():.1f})" for column in columns]
        print(f"| {count} | {'equal' if equal else 'unequal'} | {' | '.join(cells)} |", flush=True)
    seconds = time.process_time() - start
    print(f"\n{arguments.trials} test splits a row, {arguments.resamples} resamples each: {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()

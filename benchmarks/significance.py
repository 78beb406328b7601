"""Speed of the bootstrap at the size of CMU-MOSEI's test split, against a plain loop of ``metrics.score``.

Prints seconds and peak memory of all resamples of all methods, seeds and conditions, with all intervals and
comparisons; the seconds that the loop would take, measured on some resamples in the same process; their ratio, and the
largest difference between the two. Run: python benchmarks/significance.py [--methods 20] [--seeds 3] [--family mosi]
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd

from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import score, weighted
from elision.evaluation.significance import Resamples, draw, significance
from elision.settings.params import Statistics

EMOTION = "emotion:happy,angry,sad,neutral"
CONDITIONS = [("random", rate / 10, "") for rate in range(10)]
CONDITIONS += [("absent", 1.0, f"set {number}") for number in range(6)] + [("absent", 0.0, "")]


def predictions(family: str, samples: int, seed: int) -> pd.DataFrame:
    """Labels of the family, and predictions that are the label plus noise that grows with the level."""
    random, labels = np.random.default_rng(seed), np.random.default_rng(1111)
    names = family_of(family).labels
    scores = labels.uniform(-3, 3, samples).round(1) / (3 if family == "sims" else 1)
    tables = []
    for corruption, level, modalities in CONDITIONS:
        guess = scores + random.normal(0, 0.5 + level, samples)
        values = {"prediction": guess, "label": scores}
        if names:
            edges = np.quantile(scores, [0.25, 0.5, 0.75])
            values = {name: np.array(names, object)[np.digitize(v, edges)] for name, v in values.items()}
        table = {"id": [f"video{i // 7}$_${i}" for i in range(samples)], "corruption": corruption, "level": level}
        tables.append(pd.DataFrame({**table, "modalities": modalities, "checkpoint": "valid", **values}))
    return pd.concat(tables, ignore_index=True)


def loop(family: str, samples: int, times: np.ndarray, names: list[str]) -> tuple[float, float]:
    """Return the seconds of ``metrics.score`` per resample and condition, and its largest difference from ours."""
    table = predictions(family, samples, seed=1)
    table = table[table["modalities"] == "set 0"]
    labels = family_of(family).labels
    prediction, label = (
        pd.Categorical(table[name], labels).codes if labels else table[name].to_numpy()
        for name in ("prediction", "label")
    )
    start, found = time.perf_counter(), []
    for row in times:
        drawn = np.repeat(np.arange(samples), row)
        found.append(score(prediction[drawn], label[drawn], family))
    seconds = (time.perf_counter() - start) / len(times)
    ours = weighted(prediction[None], label, family, weights=Resamples(np.arange(samples), times), keys=names)
    apart = max(np.abs(ours[name][:, 0] - [values[name] for values in found]).max() for name in names)
    return seconds, float(apart)


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=4659)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--family", choices=["mosi", "sims", "emotion"], default="mosi")
    parser.add_argument("--cluster", choices=["video", "none"], default="none")
    parser.add_argument("--loop", type=int, default=50, help="resamples of the loop")
    arguments = parser.parse_args()
    family = EMOTION if arguments.family == "emotion" else arguments.family
    tables = [
        (
            "data",
            family,
            f"method-{method:02d}",
            f"seed-{seed}",
            predictions(family, arguments.samples, 100 * method + seed),
        )
        for method in range(arguments.methods)
        for seed in range(arguments.seeds)
    ]
    samples = {"data": pd.DataFrame({"id": tables[0][4]["id"].unique()})}
    settings = Statistics(resamples=arguments.resamples, cluster=arguments.cluster)
    start = time.perf_counter()
    intervals, comparisons = significance(tables, samples, settings)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    times = draw(arguments.samples, resamples=arguments.loop, key=("benchmark",))
    per_score, apart = loop(family, arguments.samples, times, list(family_of(family).directed))
    plain = per_score * arguments.resamples * arguments.methods * arguments.seeds * len(CONDITIONS)
    print(
        f"{arguments.family}: {arguments.resamples} resamples of {arguments.methods} methods x {arguments.seeds} seeds "
        f"x {len(CONDITIONS)} conditions x {arguments.samples} utterances, drawn by {intervals['cluster'].iloc[0]}: "
        f"{seconds:.1f} s, {peak:.0f} MiB peak, {len(intervals)} intervals, {len(comparisons)} comparisons; a loop: "
        f"{plain:.0f} s, {plain / seconds:.0f} times as long; largest difference {apart:.1e}"
    )


if __name__ == "__main__":
    main()

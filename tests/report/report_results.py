"""Results of a report from single tables."""

import pandas as pd

from elision.report import Results

MADE = ["cluster", "clusters", "resamples", "confidence", "on_test"]
INTERVALS = ["dataset", "family", "method", "corruption", "level", "modalities", "metric", "value", "low", "high"]
INTERVALS += ["seeds", *MADE]
COMPARISONS = ["dataset", "corruption", "level", "modalities", "metric", "method", "other", "difference"]
COMPARISONS += ["low", "high", "p", "p_holm", *MADE]


def results(metrics, **others):
    """``Results`` with these metrics, and nothing else but ``others``."""
    nothing = {
        "confusions": pd.DataFrame(columns=["dataset", "method", "level", "classes", "truth", "predicted", "count"]),
        "intervals": pd.DataFrame(columns=INTERVALS),
        "comparisons": pd.DataFrame(columns=COMPARISONS),
        "records": {},
        "histories": {},
        "representations": {},
        "published": {},
        "protocols": {},
    }
    return Results(metrics, **{**nothing, **others})

"""What a report is made from, and what decides which tables and figures it has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from elision.task import TaskKind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What the params say of a dataset, as far as the names of tables and figures depend on it.

    Attributes
    ----------
    task : TaskKind
    kinds : frozenset of str
        The kinds of corruption that the dataset is tested under.
    checked : bool
        Whether its runs are checked (``report.check``).
    tuned : bool
        Whether methods are tuned on it (``tune``).
    """

    task: TaskKind
    kinds: frozenset[str] = frozenset()
    checked: bool = False
    tuned: bool = False


@dataclass(frozen=True)
class Results:
    """All that a report is made from.

    Attributes
    ----------
    metrics, confusions : pd.DataFrame
        Of ``evaluation.aggregate``.
    intervals, comparisons : pd.DataFrame
        Of ``evaluation.significance``.
    records : dict
        ``run.json`` by (dataset, method, run); teachers that methods start from are there too.
    histories : dict
        ``history.csv`` by the same keys.
    representations : dict
        Arrays by (dataset, method), of its first run.
    published : dict of str to str
        For each dataset, the corpus of the published tables that it may be compared with.
    protocols : dict of str to str
        For each dataset, its protocol as text.
    made_with : dict
        By (dataset, method, run): versions of the libraries that made its predictions, by step (see ``versions``).
    accepted : dict
        By (dataset, method): steps whose code was accepted though it had changed.
    checks : pd.DataFrame or None
        Of ``evaluation.examine``; None: nothing was checked.
    synthetic : collection of str
        Datasets that are not recordings of people.
    tests : mapping of str to (str, str)
        For each dataset of the tables, the one that methods are trained on and the one that they are tested on; see
        ``Params.tests``.
    measured : pd.DataFrame or None
        Means over the test clips of what was measured of corrupted media: columns ``dataset``, ``kind``, ``severity``
        (0: the clean clips), ``measurement``, ``mean`` and ``clips`` (that have such a value).
    tuned : mapping of (str, str) to str
        By (dataset, method): the budget of its tuning, such as "30 trials"; nothing for methods that are not tuned.
    tuning : pd.DataFrame or None
        Every trial (columns of ``training.tuning.Trial``, and ``dataset``, ``method``, ``run``, ``winner``: number of
        the best, ``importances``: JSON); None: nothing was tuned.
    """

    metrics: "pd.DataFrame"
    confusions: "pd.DataFrame"
    intervals: "pd.DataFrame"
    comparisons: "pd.DataFrame"
    records: dict[tuple[str, str, str], dict]
    histories: dict[tuple[str, str, str], "pd.DataFrame"]
    representations: dict[tuple[str, str], dict[str, "np.ndarray"]]
    published: dict[str, str]
    protocols: dict[str, str]
    made_with: Mapping[tuple[str, str, str], Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    accepted: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    checks: "pd.DataFrame | None" = None
    synthetic: Collection[str] = ()
    tests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    measured: "pd.DataFrame | None" = None
    tuned: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tuning: "pd.DataFrame | None" = None

    def trained_on(self, dataset: str) -> str:
        """Return the dataset of the records of the runs that a dataset of the tables shows."""
        return self.tests.get(dataset, (dataset, dataset))[0]

    @cached_property
    def marks(self) -> dict[tuple[str, str], dict[str, str]]:
        """What is to be known of rows, by dataset and method; see ``report.marks``."""
        from elision.provenance.versions import of_run
        from elision.report.marks import marks

        trained = {key: of_run(record) for key, record in self.records.items()}
        synthetic = []
        if self.synthetic:
            rows = {key[:2] for key in trained} | set(zip(self.metrics["dataset"], self.metrics["method"], strict=True))
            synthetic = sorted(row for row in rows if row[0] in self.synthetic)
        known_from = {key[:2]: record.get("known_from", "") for key, record in self.records.items()}
        return marks({**trained, **self.made_with}, self.accepted, synthetic, known_from, self.tuned)

    @cached_property
    def ranked(self) -> "pd.DataFrame":
        """The methods of each dataset, best first; see ``report.headlines``."""
        from elision.report.headlines import headlines

        return headlines(self.metrics)

    @cached_property
    def asked(self) -> dict[str, Asked]:
        """What each dataset has metrics of."""
        from elision.corruption.kind import kind_of
        from elision.evaluation.metrics import family

        return {
            dataset: Asked(
                TaskKind.CLASSIFICATION if family(rows["family"].iloc[0]).labels else TaskKind.REGRESSION,
                frozenset(kind_of(name).name for name in rows["corruption"].unique()),
                self.checks is not None,
                self.tuning is not None and dataset in set(self.tuning["dataset"]),
            )
            for dataset, rows in self.metrics.groupby("dataset")
        }

    def family(self, dataset: str) -> str:
        """Return the name of the family of metrics of a dataset."""
        return self.metrics.loc[self.metrics["dataset"] == dataset, "family"].iloc[0]

    def only(self, methods: Sequence[str]) -> "Results":
        """Leave out the numbers of all other methods; the records of their runs stay."""
        tables = {name: getattr(self, name) for name in ("metrics", "confusions", "intervals", "comparisons")}
        chosen = {name: table[table["method"].isin(methods)] for name, table in tables.items()}
        chosen["comparisons"] = chosen["comparisons"][chosen["comparisons"]["other"].isin(methods)]
        kept = {key: value for key, value in self.representations.items() if key[1] in methods}
        return replace(self, **chosen, representations=kept)

"""Search of hyperparameters: trials are trainings, the validation split alone judges them, Optuna proposes the values.

The values of a trial follow from the seed, its number and the finished trials that it knows, and from nothing else. So
a search that was interrupted, or was given more trials, goes on as if it had never stopped.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from elision.corruption.missing import generator
from elision.errors import ElisionError
from elision.methods import load, resolve_variant, search_space
from elision.provenance.recipe import digest
from elision.search import Range, Searched, is_whole
from elision.store import Store
from elision.training.loop import NotFiniteError, Starts, made_on, train
from elision.training.run import Run
from elision.training.selection import VALID

if TYPE_CHECKING:
    import optuna

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
_FEWEST = 4  # finished trials of which importances say anything


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes
    ----------
    number : int
        From 0. Trial 0 has the default values, if the space contains them.
    state : str
        ``complete``, ``pruned`` (ended early), or ``failed`` (a loss or score that is not finite).
    values : dict
        Hyperparameters that were searched.
    score : float
        Of the best epoch on the validation split, as ``train.watch`` says; nan where the trial failed.
    epoch : int
        The best epoch; 0 where the trial failed.
    errors : list of float
        Validation error of every epoch, which the search minimises; the score, or 1 minus it if a larger score is
        better.
    seconds : float
        Wall-clock time of all epochs.
    made : str
        Where and with what it was trained.
    reason : str
        Why it failed.
    """

    number: int
    state: str
    values: dict[str, Any]
    score: float
    epoch: int
    errors: list[float]
    seconds: float
    made: str
    reason: str = ""

    @property
    def error(self) -> float:
        """The smallest validation error."""
        return min((error for error in self.errors if not math.isnan(error)), default=math.nan)

    def __str__(self) -> str:
        values = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.values.items()
        )
        return f"trial {self.number} ({values}): {self.state}" + (
            f", {self.reason}" if self.reason else f", validation score {self.score:.4f} in epoch {self.epoch}"
        )


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return a row per trial; ``values`` and ``errors`` as JSON."""
    rows = [asdict(trial) for trial in trials]
    return pd.DataFrame([{**row, **{name: json.dumps(row[name]) for name in ("values", "errors")}} for row in rows])


def trials_of(rows: pd.DataFrame) -> list[Trial]:
    """Return the trials of a `table`."""
    found = rows.to_dict("records")
    return [Trial(**{**row, **{name: json.loads(row[name]) for name in ("values", "errors")}}) for row in found]


def best(trials: Sequence[Trial], where: str) -> Trial:
    """Return the complete trial with the smallest validation error; of equal ones the first.

    Raises
    ------
    ElisionError
        If no trial is complete; ``where`` names the search.
    """
    complete = [trial for trial in trials if trial.state == COMPLETE]
    if not complete:
        raise ElisionError(
            f"{where}: none of the trials is complete ({trials[0].reason}); give smaller learning rates in tune.space, "
            "or more trials"
        )
    return min(complete, key=lambda trial: (trial.error, trial.number))


def library() -> ModuleType:
    """Import Optuna, which then says only what goes wrong.

    Raises
    ------
    ElisionError
        If it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise ElisionError(
            "tune needs Optuna, which is not installed; type pip install -e .[tune] -c constraints.txt"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study:
    """The search for the hyperparameters of a method on a dataset (and fold).

    Parameters
    ----------
    run : Run
        The tuning run (see ``Params.tuning_run``) with the hyperparameters that the search begins with.
    recipe : dict
        Of its trials.
    store, spans, starts
        As of ``training.loop.train``. No row of the test split is read.

    Attributes
    ----------
    space : dict of str to Range or list
    default : dict
        What is searched, as the search finds it.
    """

    def __init__(
        self,
        run: Run,
        *,
        recipe: dict,
        store: Store,
        spans: dict[str, np.ndarray] | None = None,
        starts: Starts | None = None,
    ) -> None:
        assert run.params.tune is not None, "only what the params tune has trials"
        self.run, self.recipe, self.settings = run, recipe, run.params.tune
        self._given = {"store": store, "spans": spans, "starts": starts}
        self.space = search_space(run.params, run.name, run.dataset)
        values, _ = resolve_variant(run.params, run.variant, run.dataset)
        self.default = {name: getattr(values, name) for name in self.space}
        self._optuna = library()
        fields = load(run.method).Hyperparameters.model_fields
        self.distributions = {
            name: self._distribution(found, whole=is_whole(fields[name])) for name, found in self.space.items()
        }

    def _distribution(self, found: Searched, *, whole: bool) -> "optuna.distributions.BaseDistribution":
        of = self._optuna.distributions
        if not isinstance(found, Range):
            return of.CategoricalDistribution(found)
        if whole:
            return of.IntDistribution(int(found.low), int(found.high), log=found.log)
        return of.FloatDistribution(found.low, found.high, log=found.log)

    def _study(self, earlier: Sequence[Trial], seed: int) -> "optuna.Study":
        """Return a search of Optuna in memory that has finished some trials."""
        states = self._optuna.trial.TrialState
        kinds = {COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}
        after = self.settings.prune_after
        study = self._optuna.create_study(
            direction="minimize",
            sampler=self._optuna.samplers.TPESampler(seed=seed),
            pruner=self._optuna.pruners.MedianPruner(n_warmup_steps=after)
            if after
            else self._optuna.pruners.NopPruner(),
        )
        for trial in earlier:
            failed = trial.state == FAILED
            study.add_trial(
                self._optuna.trial.create_trial(
                    state=kinds[trial.state],
                    value=None if failed else trial.error,
                    params=trial.values,
                    distributions=self.distributions,
                    intermediate_values={} if failed else dict(enumerate(trial.errors, start=1)),
                )
            )
        return study

    def trial(self, number: int, earlier: Sequence[Trial], folder: Path) -> Trial:
        """Train with the values that Optuna proposes.

        Parameters
        ----------
        number : int
        earlier : sequence of Trial
            The trials that this one knows, by number.
        folder : Path
            For the training while it runs; an interrupted one goes on. It is deleted at the end.
        """
        seed = int(generator(self.run.seed, "tune", number).integers(2**32))
        study = self._study(earlier, seed)
        if number == 0 and all(self._contains(name, value) for name, value in self.default.items()):
            study.enqueue_trial(self.default)
        asked = study.ask(self.distributions)
        values = dict(asked.params)
        changed = self.run.params.with_values({self.run.name: values})
        this = Run(changed, self.run.dataset, self.run.name, self.run.run)
        this.oracle = False  # a trial never scores the test split, however the runs choose checkpoints
        recipe = {**self.recipe, "identity": digest([self.recipe["identity"], number, values])}
        reported, pruned = 0, False

        def ends(errors: list[float]) -> bool:
            nonlocal reported, pruned
            for epoch in range(reported, len(errors)):  # several, where an interrupted training goes on
                asked.report(errors[epoch], epoch + 1)
            reported, pruned = len(errors), asked.should_prune()
            return pruned

        try:
            train(this, plan=None, folder=folder, recipe=recipe, ends=ends, **self._given)
        except NotFiniteError as error:
            found = Trial(number, FAILED, values, math.nan, 0, [], 0.0, "", str(error))
        else:
            found = self._finished(number, values, folder, pruned=pruned)
        shutil.rmtree(folder, ignore_errors=True)
        print(f"tune {self.run}: {found}", flush=True)
        return found

    def _contains(self, name: str, value: Any) -> bool:
        found = self.space[name]
        return found.low <= value <= found.high if isinstance(found, Range) else value in found

    @staticmethod
    def _finished(number: int, values: dict, folder: Path, *, pruned: bool) -> Trial:
        """Read what a training left."""
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        history = pd.read_csv(folder / "history.csv", float_precision="round_trip")
        checkpoint = record["checkpoints"][VALID]
        scored = not math.isnan(checkpoint["score"])
        libraries = {name: found for name, found in record["versions"].items() if name not in ("elision", "python")}
        return Trial(
            number=number,
            state=(PRUNED if pruned else COMPLETE) if scored else FAILED,
            values=values,
            score=checkpoint["score"],
            epoch=checkpoint["epoch"],
            errors=history["valid_error"].tolist(),
            seconds=record["seconds_per_epoch"] * record["epochs"],
            made=made_on(record["device"], libraries),
            reason="" if scored else "the validation score is not a number in any epoch",
        )

    def importances(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Return the share of each hyperparameter in the variance of the validation error (fANOVA), largest first.

        Empty, where too few trials are complete, or all have one error.
        """
        complete = [trial for trial in trials if trial.state == COMPLETE]
        if len(complete) < _FEWEST or len({trial.error for trial in complete}) < 2:
            return {}
        importance = self._optuna.importance
        evaluator = importance.FanovaImportanceEvaluator(seed=self.run.seed)
        return importance.get_param_importances(self._study(complete, 0), evaluator=evaluator)


def promised(trial: Trial, folder: Path) -> dict:
    """Return what the training of the winner must reach (see ``training.loop.train``)."""
    return {"epoch": trial.epoch, "score": trial.score, "made": trial.made, "folder": str(folder)}


def winner(trial: Trial) -> Mapping[str, Any]:
    """Return what the provenance of a finished search and of its runs says of the best trial."""
    return {"trial": trial.number, "values": trial.values}

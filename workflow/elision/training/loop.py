"""The training loop: the same for every method, resumable to the bit."""

import fcntl
import json
import math
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import elision
from elision.corruption.kind import Drawn
from elision.corruption.missing import generator
from elision.corruption.plan import Plan
from elision.errors import ElisionError
from elision.evaluation.metrics import family, family_name, score_outputs
from elision.files import replacing, sha256
from elision.methods.base import Method
from elision.progress import Reporter
from elision.provenance.versions import differing, joined, of_all, of_run, versions
from elision.settings.served import check_methods, check_splits
from elision.store import Store
from elision.task import SPLITS
from elision.training import checkpoint
from elision.training.gradients import GradientNorms
from elision.training.record import describe, encoder_of
from elision.training.run import Run, predict, remembering
from elision.training.selection import VALID, Selection
from elision.training.split import Corrupted, SplitData
from elision.training.view import Scale, scales

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

_SAVING = 0.1  # of the time, at most, goes into saving states: BERT's with Adam has 1.3 GB
_SMALL = 1 << 24  # bytes of a state that is saved after every epoch whatever it takes
_ORACLE_RATE = 0.5  # LNLN scores the test split at this rate after every epoch

Ends = Callable[[list[float]], bool]  # whether a training ends early, by the validation error of each epoch so far


class NotFiniteError(ElisionError):
    """A loss that is not finite: the fault of hyperparameters, not of the machine."""


def train(
    run: Run,
    *,
    store: Store,
    plan: Plan | None,
    folder: Path,
    recipe: dict,
    spans: dict[str, np.ndarray] | None = None,
    starts: "Starts | None" = None,
    ends: Ends | None = None,
    promised: dict | None = None,
) -> None:
    """Train one run and leave ``model.safetensors``, ``history.csv`` and ``run.json`` in its folder.

    After every epoch the state is saved, unless it is large and saving would take more than a tenth of the time. A run
    that was killed goes on from there and ends in the same weights, to the bit on one machine. Seeds are drawn from
    (seed, epoch), never from global state.

    Parameters
    ----------
    run : Run
    store : Store
        With the text vectors, where the method reads them.
    plan : Plan or None
        The test conditions: needed for the selection ``test_oracle`` only.
    folder : Path
    recipe : dict
        Provenance of the run.
    spans : dict of str to np.ndarray, optional
        Frames of each text token (see ``features.align``): needed for ``alignment: words``, and for a training
        corruption that is ``timed``.
    starts : Starts, optional
        What a method with ``needs`` starts from.
    ends : function, optional
        Asked before every epoch but the first; true ends the training, as after the last epoch.
    promised : dict, optional
        ``epoch`` and ``score`` of the checkpoint that tuning found with these hyperparameters and this seed, and
        ``made``: where and with what.

    Raises
    ------
    NotFiniteError
        A loss that is not finite.
    ElisionError
        Empty split, out of memory, settings that can never take a step, another score than promised.
    """
    device = run.device
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.cuda.reset_peak_memory_stats(device)

    check_splits(store.samples, f"dataset {run.dataset!r}")
    present = {name for name, sequences in store.modalities.items() if sequences.lengths.any()}
    check_methods(run.params, run.dataset, store.samples, present, names=[run.name])
    dataset = run.params.datasets[run.dataset]
    provenance = {**recipe, "data": store.provenance["data"]}
    if starts:
        provenance["starts"] = {name: record["weights"] for name, record in starts.records.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"), _seeded(generator(run.seed, "initialise"), device):
        if _is_finished(folder, provenance):
            print(f"{run}: another process has finished this run", flush=True)
            return
        everyone = dataset.scale_by == "all"
        measured = scales(store, standardise=run.params.standardised(run.dataset), fold=run.fold, everyone=everyone)
        if everyone and measured:
            print(
                f"{run}: {', '.join(measured)} scaled by all samples, tested ones included (scale_by: all)", flush=True
            )
        if run.oracle:
            plan = plan.of_run(run.seed, store, run.params.corruption_for(run.dataset), spans)
        encoder = encoder_of(store)
        model = run.build(run.sizes(store))
        model.start(starts.teachers(run, store) if starts else {}, starts.database if starts else None)
        loop = _Loop(
            run,
            model,
            {
                split: run.split(store, split, scales=measured, spans=spans)
                for split in SPLITS
                if split != "test" or run.oracle  # no other training sees the test split
            },
            metrics=family_name(dataset.corpus, store.classes),
            test_uniforms=plan.shared(store, run.fold) if run.oracle else None,
            folder=folder,
            identity=recipe["identity"],
        )
        loop.train(ends)
        if promised is not None:
            loop.check(promised)
        description = describe(run, store=store, model=model)
        if encoder and description["encoder"] != encoder:
            raise ElisionError(
                f"{run}: the files of the text encoder {model.spec.encoder!r} changed during the training; start the "
                "workflow again"
            )
        made_with = of_all(store.provenance)
        for name, record in (starts.records if starts else {}).items():
            made_with = {**of_run(record, f"train {name}"), **made_with}
        loop.finish(provenance, measured, {**description, "made_with": made_with})


@dataclass(frozen=True)
class Starts:
    """What a run starts from.

    Attributes
    ----------
    weights : dict of str to Path
        ``model.safetensors`` of the run of each teacher.
    database : Database or None
    records : mapping of str to dict
        ``run.json`` of the run of each teacher.
    """

    weights: dict[str, Path]
    database: "Database | None" = None
    records: Mapping[str, dict] = field(default_factory=dict)

    def teachers(self, run: Run, store: Store) -> dict[str, Method]:
        """Build the teachers of a run with their trained weights, frozen; ``store`` with text vectors, if read."""
        return {name: run.teacher(name).trained(store, path) for name, path in self.weights.items()}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on a run: a training whose Snakemake was killed may still be going."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path.parent}: another process trains this run; waiting for that process", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    path.unlink(missing_ok=True)


def _is_finished(folder: Path, provenance: dict) -> bool:
    """Tell whether a run was finished with the same settings, code, data and teachers, and its weights are whole."""
    if not all((folder / name).exists() for name in ("model.safetensors", "history.csv", "run.json")):
        return False
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return record["provenance"] == provenance and record["weights"] == sha256(folder / "model.safetensors")


@contextmanager
def _seeded(random: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Seed PyTorch inside the block only."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(random.integers(2**63)))
        yield


def fused_optimizers(model: Method) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a method, each updating its weights in one pass where PyTorch can.

    With a text encoder, the eight passes that it else takes on a CPU are up to 40 % of the training.
    """
    optimizers = model.optimizers()
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        if "fused" in group:
            group["fused"] = True
    return optimizers


class _Loop:
    """One run in progress."""

    def __init__(
        self,
        run: Run,
        model: Method,
        splits: dict[str, SplitData],
        *,
        metrics: str,
        test_uniforms: dict[str, np.ndarray] | None,
        folder: Path,
        identity: str,
    ) -> None:
        self.run, self.model, self.splits = run, model, splits
        self.metrics, self.family = metrics, family(metrics)
        self.folder, self.identity, self.description = folder, identity, f"train {run}"
        self.libraries = versions("train")
        self.hyperparameters, self.mixture = run.hyperparameters, run.mixture
        self.watches_loss = run.settings.watch == "loss"
        kind = "valid" if test_uniforms is None else "test_oracle"
        self.selection = Selection.of(kind, run.settings.watch, self.family)
        self.history: list[dict] = []
        self.seconds: list[float] = []
        self.predicting: list[float] = []  # seconds per sample of each validation
        self.optimizers = fused_optimizers(model) if self.hyperparameters.epochs else []
        self.gradients = GradientNorms(model, self.optimizers)
        self.untrained = [optimizer.state_dict() for optimizer in self.optimizers]
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        # Validation masks are drawn once and are the same for all methods and runs.
        self.validation = splits["valid"].validation_corruptions(self.mixture, seed=run.mask_seed)
        self.oracle = None
        if test_uniforms is not None:
            rates = np.full(3, _ORACLE_RATE, np.float32)
            self.oracle = splits["test"].corrupted(Drawn(rates, test_uniforms))
        self.state_path = folder / "state.pt"
        self.saved, self.next_save = 0, 0.0
        self.fixed: Corrupted | None = None
        self.initial: dict[str, Tensor] | None = None

    def best_path(self, name: str) -> Path:
        return self.folder / f"best.{name}.safetensors"

    def train(self, ends: Ends | None = None) -> None:
        """Train to the last epoch, until patience is exhausted, or until ``ends`` says so."""
        first = self._resume() + 1
        if first == 1:
            self.model.begin_training(self.splits["train"].labels)
            self.initial = {name: value.clone() for name, value in self.model.state_dict().items()}
            if not self.hyperparameters.epochs:
                self._validate(0, {})
        # Batches of validation are the same in every epoch, and so is what a frozen text encoder makes of them.
        frozen = not self.hyperparameters.finetune_text_encoder
        with (
            remembering(self.model) if frozen else nullcontext(),
            Reporter(self.description, self.hyperparameters.epochs) as reporter,
        ):
            reporter.advance(steps=first - 1)
            for epoch in range(first, self.hyperparameters.epochs + 1):
                if self._out_of_patience(epoch - 1):
                    break
                if ends and self.history and ends([row["valid_error"] for row in self.history]):
                    break
                row = self._epoch(epoch)
                name = "error" if self.watches_loss else self.family.selection[0]
                reporter.advance(f"loss {row['loss']:.4f}, validation {name} {row[f'valid_{name}']:.4f}")
        self.model.on_train_end()

    def _out_of_patience(self, epoch: int) -> bool:
        patience = self.hyperparameters.patience
        if not patience or VALID not in self.selection.best:
            return False
        return self.selection.epochs_without_improvement(epoch) >= patience

    def _resume(self) -> int:
        state = checkpoint.load_state(self.state_path, self.identity)
        if state is None:
            return 0
        self._restore(state["model"], state["optimizers"])
        self.selection.best = {name: tuple(best) for name, best in state["best"].items()}
        self.history, self.seconds, self.predicting = state["history"], state["seconds"], state["predicting"]
        self.saved = state["epoch"]
        self.libraries = joined([state["versions"], self.libraries])
        print(f"{self.description}: continues after epoch {self.saved}", flush=True)
        if differ := differing(self.libraries):
            print(
                f"{self.description}: continues with other versions of libraries than it began with ({differ})",
                flush=True,
            )
        return self.saved

    def _restore(self, model: dict[str, Tensor], optimizers: list[dict]) -> None:
        self.model.load_state_dict(model)
        for optimizer, saved in zip(self.optimizers, optimizers, strict=True):
            optimizer.load_state_dict(saved)

    def _epoch(self, epoch: int) -> dict:
        start = time.perf_counter()
        factor = self.model.learning_rate_factor(epoch)
        terms = self._learn(epoch)
        if not all(map(math.isfinite, terms.values())):
            self._find_what_is_not_finite(epoch, terms)
        loss = {"loss": sum(v for name, v in terms.items() if name not in self.model.counts), **terms}
        row = self._validate(epoch, {"learning_rate_factor": factor, **loss, **self.gradients.read()})
        self.model.on_epoch_end(row["valid_error"])
        self.seconds.append(time.perf_counter() - start)
        if time.perf_counter() >= self.next_save:
            self._save(epoch)
        return row

    def _save(self, epoch: int) -> None:
        start = time.perf_counter()
        state = {
            "identity": self.identity,
            "versions": self.libraries,
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "best": self.selection.best,
            "history": self.history,
            "seconds": self.seconds,
            "predicting": self.predicting,
        }
        checkpoint.save_state(self.state_path, state)
        self.saved, self.initial, end = epoch, None, time.perf_counter()
        if self.state_path.stat().st_size > _SMALL:
            self.next_save = end + (end - start) / _SAVING

    def _learn(self, epoch: int, *, each_step: bool = False) -> dict[str, float]:
        """Learn for an epoch; returns the mean of every loss term over the samples that it was computed for.

        Losses are summed on the device and read once, at the end: no step waits for the one before. With ``each_step``
        they are read after every step, and the first that is not finite is an error.
        """
        data, factor = self.splits["train"], self.model.learning_rate_factor(epoch)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate if group.get("constant") else rate * factor
        with _seeded(generator(self.run.seed, "epoch", epoch), data.device):
            sums, counts = self._sum_losses(epoch, data, each_step=each_step)
            return {name: float(value) / counts[name] for name, value in sums.items()}

    def _sum_losses(self, epoch: int, data: SplitData, *, each_step: bool) -> tuple[dict[str, Tensor], dict[str, int]]:
        self.model.train()
        self.model.on_epoch_start(epoch)
        if self.run.settings.redraw == "epoch" or self.fixed is None:
            stream = f"train {epoch}" if self.run.settings.redraw == "epoch" else "train"
            self.fixed = data.training_corruption(self.mixture, seed=self.run.seed, stream=stream)
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        size = self.hyperparameters.batch_size
        for number, batches in enumerate(self.model.passes(math.ceil(data.units / size))):
            self.model.on_pass_start(number)
            key = (self.run.seed, "shuffle", epoch, *([number] if number else []))
            order = torch.from_numpy(generator(*key).permutation(data.units))
            for step, units in enumerate(order.split(size)[:batches]):
                index = data.members(units)
                for name, value in self._update(epoch, step, data, index).items():
                    if each_step and not value.isfinite():
                        raise NotFiniteError(self._not_finite(name, value, epoch, step, data.ids[index.numpy()]))
                    sums[name] = sums.get(name, 0) + value * len(index)
                    counts[name] = counts.get(name, 0) + len(index)
        return sums, counts

    def _find_what_is_not_finite(self, epoch: int, terms: dict[str, float]) -> NoReturn:
        """Learn again from the last state that is kept, and stop at the first loss that is not finite."""
        if self.initial is None:
            state = checkpoint.load_state(self.state_path, self.identity)
            self._restore(state["model"], state["optimizers"])
        else:
            self._restore(self.initial, self.untrained)
        errors = {row["epoch"]: row["valid_error"] for row in self.history}
        for again in range(self.saved + 1, epoch):
            self._learn(again)
            self.model.on_epoch_end(errors[again])
        self._learn(epoch, each_step=True)
        name = next(name for name, value in terms.items() if not math.isfinite(value))
        raise NotFiniteError(
            f"{self.description}: the mean of loss term {name!r} is {terms[name]} in epoch {epoch}. The term was "
            f"finite in every batch when the epoch was repeated. Lower the learning rate; {self._kept()}"
        )

    def _update(self, epoch: int, step: int, data: SplitData, index: Tensor) -> dict[str, Tensor]:
        """Learn from the samples ``index``; returns the terms of the loss."""
        batch = data.batch(index, self.fixed, with_clean=self.run.settings.clean == "offered")
        try:
            with self.model.autocast(data.device):
                return self.model.update(batch, self.optimizers, step)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ElisionError(self._out_of_memory(epoch)) from error
        except RuntimeError as error:
            if "allocate memory" in str(error):
                raise ElisionError(self._out_of_memory(epoch)) from error
            raise

    def _kept(self) -> str:
        if not self.saved:
            return "no epoch was saved"
        return f"{self.state_path} keeps the state after epoch {self.saved}"

    def _out_of_memory(self, epoch: int) -> str:
        return (
            f"{self.description}: out of memory in epoch {epoch} at batch_size {self.hyperparameters.batch_size}; "
            "set a smaller batch_size in params.yaml, and a larger accumulate to keep the size of a step; "
            f"{self._kept()}"
        )

    def _not_finite(self, name: str, value: Tensor, epoch: int, step: int, ids: np.ndarray) -> str:
        return (
            f"{self.description}: loss term {name!r} is {float(value)} in epoch {epoch}, batch {step + 1} (samples "
            f"{', '.join(map(str, ids[:4]))}, ...); lower the learning rate, or check these samples; {self._kept()}"
        )

    def _validate(self, epoch: int, row: dict) -> dict:
        start = time.perf_counter()
        parts = [predict(self.model, self.splits["valid"], corrupted) for corrupted in self.validation]
        self.predicting.append((time.perf_counter() - start) / sum(len(labels) for _, labels in parts))
        outputs, labels = map(np.concatenate, zip(*parts, strict=True))
        valid = self._score(outputs, labels)
        row = {"epoch": epoch, **row, **{f"valid_{name}": value for name, value in valid.items()}}
        row["valid_error"] = self._loss(outputs, labels) if self.watches_loss else self.family.error(valid)
        scores = {VALID: row["valid_error"] if self.watches_loss else valid[self.family.selection[0]]}
        if self.oracle:
            test = self._score(*predict(self.model, self.splits["test"], self.oracle))
            row |= {f"test_{name}": value for name, value in test.items()}
            scores |= test
        self.history.append(row)
        for name in self.selection.improved(epoch, scores) if self.model.selectable else ():
            checkpoint.save_weights(self.best_path(name), self.model)
        return row

    def _loss(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Return the mean error by which the method's own loss takes its outputs, rounded as the protocol says."""
        error = float(self.model.error(torch.from_numpy(outputs), torch.from_numpy(labels)))
        decimals = self.run.params.protocol_of(self.run.dataset).report.decimals.get(self.metrics)
        return error if decimals is None else round(error, decimals)

    def _score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        protocol = self.run.params.protocol_name(self.run.dataset)
        return score_outputs(outputs, labels, self.metrics, protocol=protocol)

    def check(self, promised: dict) -> None:
        """Refuse a training that does not reach what tuning found with the same hyperparameters and the same seed."""
        epoch, score = self.selection.best[VALID]
        if (epoch, score) == (promised["epoch"], promised["score"]):
            return
        device = device_name(self.splits["train"].device, self.run.params.train.threads)
        here = made_on(device, self.libraries)
        raise ElisionError(
            f"{self.description}: the validation score is {score!r} (epoch {epoch}), but tuning found "
            f"{promised['score']!r} (epoch {promised['epoch']}) with the same hyperparameters and the same seed. "
            f"Tuning ran on {promised['made']}; this training ran on {here}. Delete {promised['folder']} and start the "
            "workflow again: it then tunes and trains on this machine"
        )

    def finish(self, provenance: dict, measured: dict[str, Scale], description: dict) -> None:
        """Write what the run leaves; ``run.json``, which completes it, last."""
        names = list(self.selection.best)
        # What a frozen text encoder makes of the validation split is kept after the first epoch.
        frozen = not self.hyperparameters.finetune_text_encoder
        predicting = self.predicting[0] if frozen else min(self.predicting)
        checkpoint.merge_weights({name: self.best_path(name) for name in names}, self.folder / "model.safetensors")
        with replacing(self.folder / "history.csv") as temporary:
            pd.DataFrame(self.history).to_csv(temporary, index=False)
        device = self.splits["train"].device
        record = {
            **description,
            "provenance": provenance,
            "weights": sha256(self.folder / "model.safetensors"),
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "protocol": self.run.params.protocol_text(self.run.dataset),
            "training_corruption": self.mixture.kind,
            "training_rates": self.mixture.options.rates,
            "redraw": self.run.settings.redraw,
            "clean": self.run.settings.clean,
            "precision": self.run.precision,
            "compiled": self.run.compiled,
            "seed": self.run.seed,
            "selection": "test_oracle" if self.oracle else "valid",
            "watch": self.run.settings.watch,
            "checkpoints": {n: {"epoch": e, "score": s} for n, (e, s) in self.selection.best.items()},
            "epochs": self.history[-1]["epoch"],
            "parameters": sum(p.numel() for n, p in self.model.named_parameters() if not n.startswith("encoder.")),
            "text_encoder_parameters": sum(p.numel() for p in self.model.encoder.parameters()),
            "scales": {m: {"mean": s.mean.tolist(), "std": s.std.tolist()} for m, s in measured.items()},
            "seconds_per_epoch": round(float(np.mean(self.seconds or [0])), 3),
            "seconds_per_sample": round(predicting, 9),
            "peak_memory_mb": round(_peak_memory(device) / 2**20),
            "device": device_name(device, self.run.params.train.threads),
            "versions": {
                "elision": elision.__version__,
                "python": platform.python_version(),
                **self.libraries,
            },
        }
        with replacing(self.folder / "run.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for path in [self.state_path, *map(self.best_path, names)]:
            path.unlink(missing_ok=True)


def device_name(device: torch.device, threads: int) -> str:
    """Return where a training is computed: the name of the GPU, or the device and its threads."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {threads} thread(s)"


def made_on(device: str, libraries: Mapping[str, str]) -> str:
    """Say where and with what a training was computed."""
    return f"{device} with {', '.join(f'{name} {version}' for name, version in sorted(libraries.items()))}"


def _peak_memory(device: torch.device) -> int:
    """Peak memory of the training in bytes: of the GPU where one is used, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

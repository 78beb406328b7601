"""The training loop: the same for every method, resumable to the bit."""

import fcntl
import json
import math
import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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
from elision.methods import build, load, resolve_variant
from elision.methods.base import Method, TrainingHyperparameters
from elision.progress import Reporter
from elision.provenance.versions import differing, joined, of_all, of_run, versions
from elision.settings.params import Params, Train, Variant, retrieves
from elision.store import Store
from elision.task import SPLITS, parse_run
from elision.training import checkpoint
from elision.training.data import Corrupted, Mixture, Scale, SplitData, View, scales, spec, with_text_vectors
from elision.training.record import describe, encoder_of
from elision.training.selection import VALID, Selection

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

_SAVING = 0.1  # of the time, at most, goes into saving states: BERT's with Adam has 1.3 GB
_SMALL = 1 << 24  # bytes of a state that is saved after every epoch whatever it takes
_ORACLE_RATE = 0.5  # LNLN scores the test split at this rate after every epoch


def choose_device(name: str) -> torch.device:
    """Return the device of ``train.device``.

    Raises
    ------
    ElisionError
        If it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device.type]:
        raise ElisionError(f"train.device: {name} is not available on this machine; set it to auto or cpu")
    return device


def train(
    params: Params,
    *,
    dataset: str,
    method: str,
    run: str,
    store: Store,
    plan: Plan | None,
    folder: Path,
    recipe: dict,
    spans: dict[str, np.ndarray] | None = None,
    starts: "Starts | None" = None,
) -> None:
    """Train one run and leave ``model.safetensors``, ``history.csv`` and ``run.json`` in its folder.

    After every epoch the state is saved, unless it is large and saving would take more than a tenth of the time. A run
    that was killed goes on from there and ends in the same weights, to the bit on one machine. Seeds are drawn from
    (seed, epoch), never from global state.

    Parameters
    ----------
    params : Params
    dataset, method, run : str
        Names; ``method`` is the name of a variant or a stage, ``run`` is ``seed-S`` or ``seed-S.fold-F``.
    store : Store
    plan : Plan or None
        The test conditions: needed for the selection ``test_oracle`` only.
    folder : Path
    recipe : dict
        Provenance of the run.
    spans : dict of str to np.ndarray, optional
        Frames of each text token (see ``features.align``): needed for ``alignment: words`` only.
    starts : Starts, optional
        What a method with ``needs`` starts from.

    Raises
    ------
    ElisionError
        Empty split, out of memory, a loss that is not finite, settings that can never take a step.
    """
    variant = params.trained[method]
    settings = params.train_for(dataset)
    hyperparameters, _ = resolve_variant(params, variant, dataset)
    device = choose_device(params.train.device)
    seed, fold = parse_run(run)
    torch.set_num_threads(params.train.threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.cuda.reset_peak_memory_stats(device)

    view = View.of(load(variant.method), hyperparameters, fold)
    _check(store, hyperparameters, dataset, variant, view)
    provenance = {**recipe, "data": store.provenance["data"]}
    if starts:
        provenance["starts"] = {name: record["weights"] for name, record in starts.records.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"), _seeded(generator(seed, "initialise"), device):
        if _is_finished(folder, provenance):
            print(f"{dataset} {method} {run}: was finished by another process", flush=True)
            return
        measured = scales(store, standardise=params.datasets[dataset].standardise, fold=fold)
        encoder = encoder_of(store)
        if view.reads_text == "vectors":
            store = with_text_vectors(store)
        model = build(variant.method, hyperparameters, spec(store, params.datasets[dataset].corpus, view)).to(device)
        stages = starts.stages(params, dataset, store, fold, device) if starts else {}
        model.start(stages, starts.database if starts else None)
        splits = {
            split: SplitData(store, split, scales=measured, spans=spans, device=device, view=view) for split in SPLITS
        }
        corruption = params.corruption_for(dataset)
        kind = hyperparameters.corruption or load(variant.method).corruption or settings.corruption
        mixture = Mixture(
            kind,
            getattr(corruption, kind, None),
            hyperparameters,
            mask_seed=corruption.seed if corruption.masks == "shared" else None,
            validation_rate=settings.validation_rate if method in params.variants else None,
        )
        oracle = settings.selection == "test_oracle" and method in params.variants
        loop = _Loop(
            params,
            settings,
            mixture,
            model,
            splits,
            seed,
            plan.shared(store, fold) if oracle else None,
            family_name(params.datasets[dataset].corpus, store.classes),
            params.protocol_name(dataset),
            folder,
            recipe["identity"],
            f"train {dataset} {method} {run}",
            params.protocol_text(dataset),
            versions("train", *(["search"] if retrieves(variant.method) else [])),
        )
        loop.run()
        description = describe(params, dataset=dataset, name=method, run=run, store=store, model=model)
        if encoder and description["encoder"] != encoder:
            raise ElisionError(
                f"{dataset} {method} {run}: the files of the text encoder {model.spec.encoder!r} changed during the "
                "training; start the workflow again"
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
        ``model.safetensors`` of the run of each stage.
    database : Database or None
    records : mapping of str to dict
        ``run.json`` of the run of each stage.
    """

    weights: dict[str, Path]
    database: "Database | None" = None
    records: Mapping[str, dict] = field(default_factory=dict)

    def stages(self, params: Params, dataset: str, store: Store, fold: int, device: torch.device) -> dict[str, Method]:
        """Build the stages with their trained weights, frozen."""
        built = {}
        for name, path in self.weights.items():
            built[name] = load_stage(params, name, dataset, store, fold, path).to(device)
        return built


def load_stage(params: Params, name: str, dataset: str, store: Store, fold: int, weights: Path) -> Method:
    """Build a trained stage, in evaluation mode and frozen.

    Parameters
    ----------
    params : Params
    name : str
    dataset : str
    store : Store
        With text vectors, where the stage reads them.
    fold : int
    weights : Path
        ``model.safetensors`` of its run.
    """
    variant = params.trained[name]
    hyperparameters, _ = resolve_variant(params, variant, dataset)
    view = View.of(load(variant.method), hyperparameters, fold)
    stage = build(variant.method, hyperparameters, spec(store, params.datasets[dataset].corpus, view))
    checkpoint.load_run_weights(weights, VALID, stage)
    return stage.eval().requires_grad_(False)


def _check(store: Store, hyperparameters: TrainingHyperparameters, dataset: str, variant: Variant, view: View) -> None:
    for split in SPLITS:
        if not len(store.rows(split, view.fold)):
            raise ElisionError(f"dataset {dataset!r}: split {split!r} is empty; give it samples")
    # Vectors of a text are made of its token ids, but not the other way round.
    usable = [m for m in store.present if view.reads_text == "vectors" or m in store.modalities]
    for modality in load(variant.method).requires:
        if modality not in usable:
            raise ElisionError(
                f"{variant.name} cannot be trained on {dataset!r}, which has no {modality}: {variant.method} requires "
                "it; leave the method out, or give the dataset that modality"
            )
    batches = math.ceil(len(store.rows("train", view.fold)) / hyperparameters.batch_size)
    if hyperparameters.epochs and batches < hyperparameters.accumulate:
        raise ElisionError(
            f"{variant.name} on {dataset!r}: an epoch has {batches} batch(es) of {hyperparameters.batch_size}, fewer "
            f"than the {hyperparameters.accumulate} that are accumulated for one step, so nothing would be learnt; "
            f"set accumulate or batch_size lower for {variant.name} in params.yaml"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on a run: a training whose Snakemake was killed may still be going."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path.parent}: another process trains this run; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    path.unlink(missing_ok=True)


def _is_finished(folder: Path, provenance: dict) -> bool:
    """Tell whether a run was finished with the same settings, code, data and stages, and its weights are whole."""
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
        params: Params,
        settings: Train,
        mixture: Mixture,
        model: Method,
        splits: dict[str, SplitData],
        seed: int,
        test_uniforms: dict[str, np.ndarray] | None,
        metrics: str,
        protocol_name: str,
        folder: Path,
        identity: str,
        description: str,
        protocol: str,
        libraries: dict[str, str],
    ) -> None:
        self.params, self.settings, self.mixture = params, settings, mixture
        self.model, self.splits, self.seed = model, splits, seed
        self.metrics, self.family, self.protocol_name = metrics, family(metrics), protocol_name
        self.folder, self.identity, self.description = folder, identity, description
        self.protocol, self.libraries = protocol, libraries
        self.hyperparameters = model.hyperparameters
        self.selection = Selection.of("valid" if test_uniforms is None else "test_oracle", self.family)
        self.history: list[dict] = []
        self.seconds: list[float] = []
        self.optimizers = fused_optimizers(model) if self.hyperparameters.epochs else []
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        # Validation masks are drawn once and are the same for all methods and runs.
        self.validation = splits["valid"].validation_corruptions(self.mixture, seed=params.corruption.seed)
        self.oracle = None
        if test_uniforms is not None:
            rates = np.full(3, _ORACLE_RATE, np.float32)
            self.oracle = splits["test"].corrupted(Drawn(rates, test_uniforms))
        self.state_path = folder / "state.pt"
        self.saved, self.next_save = 0, 0.0
        self.fixed: Corrupted | None = None

    def best_path(self, name: str) -> Path:
        return self.folder / f"best.{name}.safetensors"

    def run(self) -> None:
        """Train to the last epoch, or until patience is exhausted."""
        first = self._resume() + 1
        if first == 1:
            self.model.begin_training(self.splits["train"].labels)
            if not self.hyperparameters.epochs:
                self._validate(0, {})
        with Reporter(self.description, self.hyperparameters.epochs) as reporter:
            reporter.advance(steps=first - 1)
            for epoch in range(first, self.hyperparameters.epochs + 1):
                if self._out_of_patience(epoch - 1):
                    break
                row = self._epoch(epoch)
                name, _ = self.family.selection
                reporter.advance(f"loss {row['loss']:.4f}, validation {name} {row[f'valid_{name}']:.4f}")
        self.model.on_train_end()

    def _out_of_patience(self, epoch: int) -> bool:
        patience = self.hyperparameters.patience
        return bool(patience and epoch and self.selection.epochs_without_improvement(epoch) >= patience)

    def _resume(self) -> int:
        state = checkpoint.load_state(self.state_path, self.identity)
        if state is None:
            return 0
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.selection.best = {name: tuple(best) for name, best in state["best"].items()}
        self.history, self.seconds = state["history"], state["seconds"]
        self.saved = state["epoch"]
        self.libraries = joined([state["versions"], self.libraries])
        print(f"{self.description}: goes on after epoch {self.saved}", flush=True)
        if differ := differing(self.libraries):
            print(f"{self.description}: goes on with other versions than it began with ({differ})", flush=True)
        return self.saved

    def _epoch(self, epoch: int) -> dict:
        start = time.perf_counter()
        factor = self.model.learning_rate_factor(epoch)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate if group.get("constant") else rate * factor
        data = self.splits["train"]
        with _seeded(generator(self.seed, "epoch", epoch), data.device):
            terms = self._learn(epoch, data)
        row = self._validate(epoch, {"learning_rate_factor": factor, "loss": sum(terms.values()), **terms})
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
        }
        checkpoint.save_state(self.state_path, state)
        self.saved, end = epoch, time.perf_counter()
        if self.state_path.stat().st_size > _SMALL:
            self.next_save = end + (end - start) / _SAVING

    def _learn(self, epoch: int, data: SplitData) -> dict[str, float]:
        """Learn for an epoch; returns the mean of every loss term over the samples that it was computed for."""
        self.model.train()
        self.model.on_epoch_start(epoch)
        if self.settings.redraw == "epoch" or self.fixed is None:
            stream = f"train {epoch}" if self.settings.redraw == "epoch" else "train"
            self.fixed = data.training_corruption(self.mixture, seed=self.seed, stream=stream)
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        size = self.hyperparameters.batch_size
        for number, batches in enumerate(self.model.passes(math.ceil(len(data) / size))):
            self.model.on_pass_start(number)
            key = (self.seed, "shuffle", epoch, *([number] if number else []))
            order = torch.from_numpy(generator(*key).permutation(len(data)))
            for step, index in enumerate(order.split(size)[:batches]):
                for name, value in self._update(epoch, step, data, index).items():
                    sums[name] = sums.get(name, 0) + value * len(index)
                    counts[name] = counts.get(name, 0) + len(index)
        return {name: float(value) / counts[name] for name, value in sums.items()}

    def _update(self, epoch: int, step: int, data: SplitData, index: Tensor) -> dict[str, Tensor]:
        """Learn from the samples ``index``; returns the terms of the loss."""
        batch = data.batch(index, self.fixed, with_clean=True)
        try:
            terms = self.model.update(batch, self.optimizers, step)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ElisionError(self._out_of_memory(epoch)) from error
        except RuntimeError as error:
            if "allocate memory" in str(error):
                raise ElisionError(self._out_of_memory(epoch)) from error
            raise
        for name, value in terms.items():
            if not torch.isfinite(value):
                raise ElisionError(self._not_finite(name, value, epoch, step, data.ids[index.numpy()]))
        return terms

    def _kept(self) -> str:
        if not self.saved:
            return "nothing was saved yet"
        return f"the state after epoch {self.saved} is kept in {self.state_path}"

    def _out_of_memory(self, epoch: int) -> str:
        return (
            f"{self.description}: out of memory in epoch {epoch} at batch_size {self.hyperparameters.batch_size}; "
            f"set a smaller batch_size (and accumulate, to keep the step's size) in params.yaml; {self._kept()}"
        )

    def _not_finite(self, name: str, value: Tensor, epoch: int, step: int, ids: np.ndarray) -> str:
        return (
            f"{self.description}: loss term {name!r} is {float(value)} in epoch {epoch}, batch {step + 1} (samples "
            f"{', '.join(map(str, ids[:4]))}, ...); lower the learning rate, or check these samples; {self._kept()}"
        )

    def _validate(self, epoch: int, row: dict) -> dict:
        parts = [predict(self.model, self.splits["valid"], corrupted) for corrupted in self.validation]
        valid = self._score(*map(np.concatenate, zip(*parts, strict=True)))
        row = {"epoch": epoch, **row, **{f"valid_{name}": value for name, value in valid.items()}}
        row["valid_error"] = self.family.error(valid)
        scores = {VALID: valid[self.family.selection[0]]}
        if self.oracle:
            test = self._score(*predict(self.model, self.splits["test"], self.oracle))
            row |= {f"test_{name}": value for name, value in test.items()}
            scores |= test
        self.history.append(row)
        for name in self.selection.improved(epoch, scores):
            checkpoint.save_weights(self.best_path(name), self.model)
        return row

    def _score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return score_outputs(outputs, labels, self.metrics, protocol=self.protocol_name)

    def finish(self, provenance: dict, measured: dict[str, Scale], description: dict) -> None:
        """Write what the run leaves; ``run.json``, which completes it, last."""
        names = list(self.selection.best)
        checkpoint.merge_weights({name: self.best_path(name) for name in names}, self.folder / "model.safetensors")
        with replacing(self.folder / "history.csv") as temporary:
            pd.DataFrame(self.history).to_csv(temporary, index=False)
        device = self.splits["train"].device
        record = {
            **description,
            "provenance": provenance,
            "weights": sha256(self.folder / "model.safetensors"),
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "protocol": self.protocol,
            "training_corruption": self.mixture.kind,
            "redraw": self.settings.redraw,
            "seed": self.seed,
            "selection": "test_oracle" if self.oracle else "valid",
            "checkpoints": {n: {"epoch": e, "score": s} for n, (e, s) in self.selection.best.items()},
            "epochs": self.history[-1]["epoch"],
            "parameters": sum(p.numel() for n, p in self.model.named_parameters() if not n.startswith("encoder.")),
            "text_encoder_parameters": sum(p.numel() for p in self.model.encoder.parameters()),
            "scales": {m: {"mean": s.mean.tolist(), "std": s.std.tolist()} for m, s in measured.items()},
            "seconds_per_epoch": round(float(np.mean(self.seconds or [0])), 3),
            "peak_memory_mb": round(_peak_memory(device) / 2**20),
            "device": torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{device.type}, {self.params.train.threads} thread(s)",
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


def _peak_memory(device: torch.device) -> int:
    """Peak memory of the training in bytes: of the GPU where one is used, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.inference_mode()
def predict(model: Method, data: SplitData, corrupted: Corrupted | None) -> tuple[np.ndarray, np.ndarray]:
    """Predict a whole split, in its order and in batches of a fixed size.

    The last batch is filled up with its last sample: with another size, last bits would be other ones, and the
    prediction of a sample would depend on how many there are.

    Returns
    -------
    predictions : np.ndarray [shape=(N,)] or [shape=(N, C)]
        Scores, or class logits.
    labels : np.ndarray [shape=(N,)]
        Scores, or numbers of classes.
    """
    model.eval()
    size = model.hyperparameters.batch_size
    order = torch.arange(math.ceil(len(data) / size) * size).clamp(max=len(data) - 1)
    outputs = [model.predict(data.batch(index, corrupted)).output.float().cpu() for index in order.split(size)]
    return torch.cat(outputs)[: len(data)].numpy(), data.labels.cpu().numpy()

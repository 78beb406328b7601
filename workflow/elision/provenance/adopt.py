"""Make the records of Snakemake agree with the artifacts in the results; only ``cli.plan`` knows Snakemake, too.

Snakemake keeps what it knows of files (times, params, inputs) in ``.snakemake``, which does not travel with them: after
``dvc pull``, ``dvc checkout`` or in a folder of ``dvc exp run --temp`` it would redo work, or, worse, not see that a
parameter has changed. The artifacts carry what they are made of; `adopt` compares that with the params.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import psutil

from elision.errors import ElisionError, plural
from elision.files import replacing, sha256
from elision.provenance import kept, manifest
from elision.provenance.layout import STAGES, Layout
from elision.provenance.recipe import RENAMED, Recipes, code, digest, read_accepted
from elision.settings import params as parameters
from elision.settings.params import Params

_LOCKS = Path(".snakemake/locks")
_KNOWN = Path(".snakemake/elision")  # for each results folder, what Snakemake knows of it
# What makes artifacts that are worth keeping, in the order of the workflow.
STEPS = (
    "prepare",
    "extract",
    "assemble",
    "align",
    "encode",
    "corrupt",
    "tune-trial",
    "tune",
    "train",
    "index",
    "evaluate",
)
# The files after the stages, by the recipe of the job that makes them.
_FINAL = {
    "metrics.parquet": "aggregate",
    "confusions.parquet": "aggregate",
    "intervals.parquet": "significance",
    "comparisons.parquet": "significance",
    "checks.parquet": "examine",
    "report.html": "report",
}


def _mark(part: Path) -> Path:
    """Return what a part of the results is known by: the manifest of a stage's folder, or the file itself."""
    return part / "MANIFEST" if part.name in STAGES else part


def _notes(results: Path) -> Path:
    """Return the folder with checksums of what each part of the results is known by, made here or adopted."""
    return _KNOWN / quote(os.path.relpath(results), safe="")


def remember(part: Path) -> None:
    """Note that Snakemake knows a part of the results, where it runs: what the manifest of a stage lists, or a file."""
    notes = _notes(part.parent)
    if notes.exists():
        with replacing(notes / part.name) as temporary:
            temporary.write_text(sha256(_mark(part)), encoding="utf-8")


def unknown(results: Path) -> list[Path]:
    """Return the parts that were put into ``results`` by something else than this folder's Snakemake."""
    parts, notes = [results / name for name in (*STAGES, *_FINAL)], _notes(results)
    if not notes.exists():
        return [part for part in parts if _mark(part).exists()]

    def is_known(part: Path) -> bool:
        note = notes / part.name
        return note.exists() and note.read_text(encoding="utf-8") == sha256(_mark(part))

    return [part for part in parts if _mark(part).exists() and not is_known(part)]


def put_typed_aside(params: Params, layout: Layout) -> None:
    """Put aside what verbs typed by hand made where Snakemake never ran, such as ``elision prepare``.

    Snakemake would take such files as up to date and not see a later change of the params. Its jobs take back what
    fits.
    """
    stages = [layout.root / stage for stage in STAGES]
    if _notes(layout.root).exists() or unknown(layout.root) or not any(stage.exists() for stage in stages):
        return
    made = [path for path, _ in _Inventory(params, layout, thorough=False).looked_at if kept.identity(path)]
    files = {file for path in made for file in kept.together(layout.root, path)}
    if kept.put_aside(layout, files):
        typed = ", ".join(str(stage) for stage in stages if any(file.is_relative_to(stage) for file in files))
        print(f"{typed}: made by verbs typed by hand; the jobs of the workflow take back what fits", file=sys.stderr)


def refuse_unknown(results: Path) -> None:
    """Refuse to plan what Snakemake cannot plan rightly.

    Raises
    ------
    ElisionError
        If it does not know what is in ``results``.
    """
    if came := unknown(results):
        raise ElisionError(
            f"{', '.join(map(str, came))}: Snakemake did not make these results in this folder (they come from dvc "
            "pull, dvc checkout or a copy). Snakemake cannot tell which of them are up to date; run once: elision adopt"
        )


def begin(params: Params, layout: Layout) -> None:
    """Note that Snakemake runs here, with params that are in order: from now on it knows what is made here.

    What other settings, code or data made is put aside first, since Snakemake deletes what its jobs make again.
    """
    found = _Inventory(params, layout, thorough=False)
    stale, quick = {**found.unfit, **found.changed}, _quick(layout)
    _put_aside(layout, {path: stale[path] for path in stale if path not in quick and kept.identity(path)})
    with replacing(_notes(layout.root) / "params") as temporary:
        temporary.write_text(_of_methods(params), encoding="utf-8")
    if params.train.seeds_per_job != 1:
        _shared(layout).touch()


def _shared(layout: Layout) -> Path:
    return _notes(layout.root) / "shared"


def share_jobs(params: Params, layout: Layout) -> bool:
    """Tell whether runs share jobs, or have done so here.

    Snakemake then makes runs of other jobs again when their number per job changes. Their outputs must not be deleted
    before, so that the jobs find them up to date.
    """
    return params.train.seeds_per_job != 1 or _shared(layout).exists()


def is_checked(params: Params, layout: Layout) -> bool:
    """Tell whether Snakemake has begun here with all that `methods.check` reads, so that it is not needed, for 2 s."""
    note = _notes(layout.root) / "params"
    return note.exists() and note.read_text(encoding="utf-8") == _of_methods(params)


def _of_methods(params: Params) -> str:
    entries = params.entries.values()
    corpora = sorted({(settings.corpus, settings.task) for settings in params.datasets.values()})
    modules = sorted({f"methods.{entry.method}" for entry in entries})
    served = {
        name: {
            "source": entry.source,
            "training_size": parameters.training_size(params, name),
            "columns": parameters.columns(params, name),
            "cluster": params.statistics.cluster_of(name),
            "folds": entry.folds and entry.folds.model_dump(mode="json"),
        }
        for name, entry in params.datasets.items()
    }
    tuned = params.tune and [params.tune.model_dump(mode="json"), params.tuned]
    rows = [entry.model_dump(mode="json") for entry in entries]
    return digest([rows, corpora, served, tuned, code("methods", *modules)])


def unlock() -> bool:
    """Remove the lock that a killed Snakemake left in this folder; returns whether there was one.

    Raises
    ------
    ElisionError
        If a Snakemake is running here, or a job of one that was killed: two of a kind would write the same files.
    """
    locks = [path for path in _LOCKS.glob("*") if path.is_file()]
    here = Path.cwd()
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]) if locks else ():
        if not process.info["cwd"] or Path(process.info["cwd"]) != here:
            continue
        words = [Path(word).name for word in (process.info["cmdline"] or [])[:4]]
        is_job = words[1:3] == ["-m", "elision"] and words[3:] not in ([], ["adopt"])
        if is_job or "snakemake" in words[:3]:
            what = f"{words[3]} (a job of a Snakemake that was killed)" if is_job else "Snakemake"
            number = process.info["pid"]
            raise ElisionError(f"{what} is running in this folder; wait for process {number} to end, or stop it")
    for path in locks:
        path.unlink()
    return bool(locks)


def _put_aside(layout: Layout, found: dict[Path, str]) -> None:
    """Move artifacts to the unused work, and say why; what is made in seconds, or cannot be read, is deleted."""
    quick = _quick(layout)
    for path, why in found.items():
        if path in quick or not kept.identity(path):
            path.unlink()
            print(f"removed {path}: {why}. The workflow will make the file again")
        else:
            kept.put_aside(layout, kept.together(layout.root, path))
            print(f"moved {path} to {layout.unused}: {why}. The workflow will make the file again")


def _quick(layout: Layout) -> set[Path]:
    """Return the manifests, and the files after the stages."""
    return {*(layout.manifest(stage) for stage in STAGES), *(layout.root / name for name in _FINAL)}


def adopt(params: Params, layout: Layout, arguments: Iterable[str] = (), *, file: Path | None = None) -> None:
    """Put aside what does not fit the params, the code or the data, and mark the rest as up to date.

    What was made in this folder by other settings or code is left to Snakemake, which knows it and makes it again.
    Files that the params do not ask for are not touched.

    Parameters
    ----------
    params : Params
    layout : Layout
    arguments : iterable of str
        For Snakemake, such as ``--use-conda``.
    file : Path, optional
        The params file, where it is not ``params.yaml``.

    Raises
    ------
    ElisionError
        If a Snakemake or a job of one is running here, or Snakemake cannot mark the files.
    """
    if unlock():
        print("removed the lock of an interrupted workflow; the workflow can continue")
    came = unknown(layout.root)
    found = _Inventory(params, layout, thorough=bool(came))
    _put_aside(layout, {**found.unfit, **(found.changed if came else {})})
    if not came:
        return
    print(f"{plural(len(found.kept), 'artifact')} fit the params; marking them as up to date", flush=True)
    # Snakemake marks outputs that are missing, too, but they are missing all the same.
    command = [sys.executable, "-m", "snakemake", "--touch", "--forceall", "--notemp", "--cores", "1", "--quiet", "all"]
    told = ["--config", "adopt=1", f"results={layout.root}", *([f"params={file}"] if file else [])]
    done = subprocess.run([*command, *arguments, *told], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise ElisionError(f"Snakemake could not mark the files as up to date. It printed:\n{done.stdout}{done.stderr}")
    begin(params, layout)
    for part in came:
        if _mark(part).exists():
            remember(part)


class _Inventory:
    """What becomes of the artifacts that are there.

    Each is known by the file that is written last and says how all files of its job were made.

    Attributes
    ----------
    kept : list of Path
    looked_at : list of (Path, dict)
        Every artifact that is there, and the recipe that the params ask for.
    changed : dict of Path to str
        What other settings or code made, and why it does not fit.
    unfit : dict of Path to str
        What the same settings and code made of something else than what is there now.
    weights : dict of (str, str, str) to str or None
        Digest of the weights of each run that is kept, by dataset, method and run.
    """

    def __init__(self, params: Params, layout: Layout, *, thorough: bool) -> None:
        self.params, self.layout, self.recipes = params, layout, Recipes(params, layout)
        self.kept: list[Path] = []
        self.looked_at: list[tuple[Path, dict]] = []
        self.changed: dict[Path, str] = {}
        self.unfit: dict[Path, str] = {}
        self.weights: dict[tuple[str, str, str], str | None] = {}
        data = {dataset: self._dataset(dataset) for dataset in params.datasets}
        for dataset, digest_of in data.items():
            self._runs(dataset, digest_of)
        for test, (dataset, tested_on) in params.tests.items():
            self._predicted(test, dataset, data[tested_on])
        together = digest(data) if all(data.values()) else None
        for name, step in _FINAL.items():
            self._look(layout.root / name, getattr(self.recipes, step), data=together)
        for stage in STAGES:
            self._manifest(stage, thorough=thorough)

    def _look(self, path: Path, recipe: dict, **made_from: object) -> dict:
        """Judge an artifact by its recipe and by digests of its data and weights, if these are known.

        Returns the recipe that the artifact carries, if the artifact is kept.
        """
        if not path.exists():
            return {}
        self.looked_at.append((path, recipe))
        found = kept.made_by(path)
        if found.get("identity") != recipe["identity"]:
            self.changed[path] = "other settings or other code made it" if found else "it cannot be read"
        elif wrong := [name for name, value in made_from.items() if value and found.get(name) != value]:
            self.unfit[path] = f"it was made from other {' and '.join(wrong)}"
        else:
            self.kept.append(path)
            return found
        return {}

    def _dataset(self, dataset: str) -> str | None:
        """Judge what the stages datasets and corruptions made; returns the digest of the data, if they are there."""
        layout, recipes = self.layout, self.recipes
        made_from: dict[str, str | None] = {}
        modalities = recipes.modalities(dataset)
        if modalities:
            clips = self._look(layout.clips(dataset), recipes.prepare(dataset), **made_from)
            made_from = {"clips": clips.get("data")}
        for modality, recipe in modalities.items():
            for shard in range(self.params.features.shards):
                self._look(layout.shard(dataset, modality, shard), recipe, **made_from)
            self._look(layout.sequences(dataset, modality), recipe, **made_from)
        data = self._look(layout.samples(dataset), recipes.store(dataset), **made_from).get("data")
        self._look(layout.alignment(dataset), recipes.align(dataset), data=data)
        if parameters.encoded(self.params, dataset):
            self._look(layout.text_vectors(dataset), recipes.encode(dataset), data=data)
        self._look(layout.corruptions(dataset)[0], recipes.corrupt(dataset), data=data)
        for kind in self.params.media_for(dataset):
            recipe = recipes.corrupt_media(dataset, kind)
            for shard in range(self.params.features.shards):
                self._look(layout.corrupted_shard(dataset, kind, shard), recipe, data=data)
            self._look(layout.corrupted(dataset, kind)[0], recipe, data=data)
        return data

    def _runs(self, dataset: str, data: str | None) -> None:
        """Judge what was tuned and trained."""
        layout, recipes, params = self.layout, self.recipes, self.params
        tuned = {}
        for study in (study for study in params.studies if study[0] == dataset):
            for number in range(params.tune.trials if params.tune else 0):
                self._look(layout.trial(*study, number), recipes.trial(*study), data=data)
            tuned[study] = self._look(layout.trials(*study), recipes.tune(*study), data=data).get("winner")
        for run in params.runs(dataset):
            for method in params.trained:
                *_, record = layout.model(dataset, method, run)
                winner = tuned.get((dataset, method, params.tuning_run(dataset, run)))
                self.weights[dataset, method, run] = self._look(
                    record, recipes.train(dataset, method, run), data=data, tuned=winner
                ).get("weights")
                *_, vectors = layout.database_files(dataset, method, run)
                if vectors.exists():
                    self._look(vectors, recipes.index(dataset, method, run), data=data)

    def _predicted(self, test: str, dataset: str, data: str | None) -> None:
        """Judge the predictions of a test, of the runs on a dataset."""
        layout, recipes, params = self.layout, self.recipes, self.params
        for run in params.runs(dataset):
            for method in params.variants:
                made_from = {"data": data, "weights": self.weights[dataset, method, run]}
                for found in (layout.predictions, layout.representations):
                    self._look(found(test, method, run), recipes.evaluate(test, method, run), **made_from)

    def _manifest(self, stage: str, *, thorough: bool) -> None:
        """Judge a manifest by the files that it lists; with ``thorough``, as to which and as to content.

        Without it, Snakemake has no reason to make a file again that is gone.
        """
        folder = self.layout.root / stage
        path = folder / "MANIFEST"
        if not path.exists():
            return
        gone = {*self.unfit, *(self.changed if thorough else ())}
        files = set(self.layout.stage(stage, self.params))
        listed = {folder / name: checksum for name, checksum in manifest.read(path).items()}
        if gone & files or not all(file.exists() for file in files & set(listed)):
            self.unfit[path] = "it lists files that must be made"
        elif not thorough:
            return
        elif not files <= set(listed) or not all(self._comes_along(file) for file in set(listed) - files):
            self.changed[path] = "it lists other files than the params ask for"
        elif not all(file.exists() and sha256(file) == checksum for file, checksum in listed.items()):
            self.changed[path] = "its checksums are not those of the files"

    def _comes_along(self, file: Path) -> bool:
        """Tell whether a file is one of those that the params do not tell: media, or a modality that a source has."""
        datasets = self.params.datasets
        whole = {self.layout.media(dataset) for dataset in datasets}
        whole |= {self.layout.study(*study) for study in self.params.studies}
        whole |= {self.layout.store(dataset) for dataset in datasets if not parameters.extracted(self.params, dataset)}
        return not whole.isdisjoint(file.parents)


def accept(params: Params, layout: Layout, steps: Iterable[str]) -> None:
    """Accept artifacts whose settings and inputs are those of the params, and whose code alone differs.

    Which older code stands for which code of this package is written to ``accepted.json`` of the results. Recipes of
    these steps then have the identities of the older artifacts, until the code changes again.

    Parameters
    ----------
    params : Params
    layout : Layout
    steps : iterable of str
        Names in `STEPS`, or ``all``.

    Raises
    ------
    ElisionError
        If there is no such step.
    """
    steps = set(steps)
    for step in sorted(steps - {"all"}):
        if step in RENAMED:
            raise ElisionError(f"--accept-code: {step} is now called {RENAMED[step]}; write {RENAMED[step]}")
        if step not in STEPS:
            raise ElisionError(f"--accept-code: unknown step {step!r}; {parameters.suggestion(step, [*STEPS, 'all'])}")
    accepted = read_accepted(layout.accepted)
    for step in STEPS:
        if not steps & {step, "all"}:
            continue
        found: dict[tuple[str, str, str], Counter] = {}
        # Made anew for each step: what is accepted changes the identities of all that follows.
        for path, recipe in _Inventory(params, layout, thorough=False).looked_at:
            made = kept.made_by(path)
            same = RENAMED.get(str(made.get("step")), made.get("step")) == recipe["step"]
            same = same and all(made.get(key) == recipe[key] for key in ("settings", "inputs"))
            if same and recipe["step"].partition(" ")[0] == step:
                key = recipe["step"], recipe["code"], recipe.get("code_here", recipe["code"])
                found.setdefault(key, Counter())[made["code"]] += 1
        for (name, current, here), codes in found.items():
            (most, count), *others = codes.most_common()
            if most != current:
                accepted.setdefault(name, {})[here] = most
                print(f"{name}: {plural(count, 'artifact')} of older code accepted")
            if left := sum(number for _, number in others):
                print(f"{name}: {plural(left, 'artifact')} of yet another version of the code not accepted")
        with replacing(layout.accepted) as temporary:
            temporary.write_text(json.dumps(accepted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if all(codes.most_common(1)[0][0] == current for (_, current, _), codes in found.items()):
            print(f"{step}: nothing to accept; no artifact differs from the params only in the code")

"""Making Snakemake's view agree with the artifacts that are there: the one module that knows of Snakemake.

Snakemake keeps what it knows of files (times, params, inputs) in ``.snakemake``, which does not travel with them: after
``dvc pull``, ``dvc checkout`` or in a folder of ``dvc exp run --temp`` it would redo work, or, worse, not see that a
parameter has changed. The artifacts carry what they are made of; `adopt` compares that with the params.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from elision import manifest
from elision import params as parameters
from elision.errors import ElisionError, plural
from elision.files import replacing, sha256
from elision.layout import STAGES, Layout
from elision.params import Params
from elision.recipe import Recipes, code, digest

_LOCKS = Path(".snakemake/locks")
_KNOWN = Path(".snakemake/elision")  # checksums of what stands for each part of the results, made here or adopted
_CHECKED = _KNOWN / "params"
# The files after the stages, by the recipe of the job that makes them.
_FINAL = {
    "metrics.parquet": "aggregate",
    "confusions.parquet": "aggregate",
    "intervals.parquet": "significance",
    "comparisons.parquet": "significance",
    "report.html": "report",
}
_META = re.compile(r'<meta name="provenance" content="(\w+) (\w+)">')


def _mark(part: Path) -> Path:
    """Return what a part of the results is known by: the manifest of a stage's folder, or the file itself."""
    return part / "MANIFEST" if part.name in STAGES else part


def remember(part: Path) -> None:
    """Note that Snakemake knows a part of the results, where it runs: what the manifest of a stage lists, or a file."""
    if _KNOWN.exists():
        with replacing(_KNOWN / part.name) as temporary:
            temporary.write_text(sha256(_mark(part)), encoding="utf-8")


def unknown(results: Path) -> list[Path]:
    """Return the parts that were put into ``results`` by something else than this folder's Snakemake."""
    parts = [results / name for name in (*STAGES, *_FINAL)]
    if not _KNOWN.exists():
        return [part for part in parts if part.exists()]

    def is_known(part: Path) -> bool:
        note = _KNOWN / part.name
        return note.exists() and note.read_text(encoding="utf-8") == sha256(_mark(part))

    return [part for part in parts if _mark(part).exists() and not is_known(part)]


def refuse_unknown(results: Path) -> None:
    """Refuse to plan what Snakemake cannot plan rightly.

    Raises
    ------
    ElisionError
        If it does not know what is in ``results``.
    """
    if came := unknown(results):
        raise ElisionError(
            f"{', '.join(map(str, came))}: put here by dvc pull or checkout, or copied, not "
            "made by Snakemake in this folder, so it cannot tell what is up to date; run once: elision adopt"
        )


def begin(params: Params) -> None:
    """Note that Snakemake runs here, with params that are in order: from now on it knows what is made here."""
    with replacing(_CHECKED) as temporary:
        temporary.write_text(_of_methods(params), encoding="utf-8")


def is_checked(params: Params) -> bool:
    """Tell whether Snakemake has begun here with all that `methods.check` reads, so that it is not needed, for 2 s."""
    return _CHECKED.exists() and _CHECKED.read_text(encoding="utf-8") == _of_methods(params)


def _of_methods(params: Params) -> str:
    entries = params.entries.values()
    corpora = sorted({(settings.corpus, settings.task) for settings in params.datasets.values()})
    modules = sorted({f"methods.{entry.method}" for entry in entries})
    return digest([[entry.model_dump(mode="json") for entry in entries], corpora, code("methods", *modules)])


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
            what = f"{words[3]}, a job of a Snakemake that was killed, still runs" if is_job else "Snakemake is running"
            raise ElisionError(f"{what} in this folder (process {process.info['pid']}); wait for it, or stop it")
    for path in locks:
        path.unlink()
    return bool(locks)


def adopt(params: Params, layout: Layout, arguments: Iterable[str] = ()) -> None:
    """Remove what does not fit the params, the code or the data, and mark the rest as up to date.

    What was made in this folder by other settings or code is left to Snakemake, which knows it and makes it again.
    Files that the params do not ask for are not touched.

    Parameters
    ----------
    params : Params
    layout : Layout
    arguments : iterable of str
        For Snakemake, such as ``--use-conda``.

    Raises
    ------
    ElisionError
        If a Snakemake or a job of one is running here, or Snakemake cannot mark the files.
    """
    if unlock():
        print("removed the lock of an interrupted run; it goes on with what is there")
    came = unknown(layout.root)
    found = _Inventory(params, layout, thorough=bool(came))
    removed = {**found.unfit, **(found.changed if came else {})}
    for path, why in removed.items():
        path.unlink()
        print(f"removed {path}: {why}; it will be made again")
    if not came:
        return
    print(f"{plural(len(found.kept), 'artifact')} fit the params; telling Snakemake so", flush=True)
    # Snakemake marks outputs that are missing, too, but they are missing all the same.
    command = [sys.executable, "-m", "snakemake", "--touch", "--forceall", "--notemp", "--cores", "1", "--quiet", "all"]
    done = subprocess.run(
        [*command, *arguments, "--config", "adopt=1"], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise ElisionError(f"Snakemake could not mark files as up to date:\n{done.stdout}{done.stderr}")
    begin(params)
    for part in came:
        if _mark(part).exists():
            remember(part)


class _Inventory:
    """What becomes of the artifacts that are there.

    Each is known by the file that is written last and says how all files of its job were made.

    Attributes
    ----------
    kept : list of Path
    changed : dict of Path to str
        What other settings or code made, and why it does not fit.
    unfit : dict of Path to str
        What the same settings and code made of something else than what is there now.
    """

    def __init__(self, params: Params, layout: Layout, *, thorough: bool) -> None:
        self.params, self.layout, self.recipes = params, layout, Recipes(params)
        self.kept: list[Path] = []
        self.changed: dict[Path, str] = {}
        self.unfit: dict[Path, str] = {}
        data = {dataset: self._dataset(dataset) for dataset in params.datasets}
        for dataset, digest_of in data.items():
            self._runs(dataset, digest_of)
        together = digest(data) if all(data.values()) else None
        for name, step in _FINAL.items():
            self._look(layout.root / name, getattr(self.recipes, step), data=together)
        for stage in STAGES:
            self._manifest(stage, thorough=thorough)

    def _look(self, path: Path, recipe: dict, **made_from: str | None) -> dict:
        """Judge an artifact by its recipe and by digests of what it is made from, where these are known.

        Returns its provenance if it is kept.
        """
        if not path.exists():
            return {}
        try:
            found = _provenance(path)
        except (ElisionError, OSError, ValueError, KeyError, TypeError, AttributeError):
            found = {}
        if found.get("identity") != recipe["identity"]:
            self.changed[path] = "made by other settings or code" if found else "cannot be read"
        elif wrong := [name for name, value in made_from.items() if value and found.get(name) != value]:
            self.unfit[path] = f"made from other {' and '.join(wrong)}"
        else:
            self.kept.append(path)
            return found
        return {}

    def _dataset(self, dataset: str) -> str | None:
        """Judge what the stages datasets and corruptions made; returns the digest of the data, if they are there."""
        layout, recipes = self.layout, self.recipes
        sources = manifest.sources(parameters.user_files(self.params, dataset), layout.checksums)
        made_from = {"sources": sources}
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
        self._look(layout.corruptions(dataset)[0], recipes.corrupt(dataset), data=data)
        return data

    def _runs(self, dataset: str, data: str | None) -> None:
        """Judge what was trained and predicted."""
        layout, recipes, params = self.layout, self.recipes, self.params
        for run in params.runs(dataset):
            for method in params.trained:
                *_, record = layout.model(dataset, method, run)
                trained = self._look(record, recipes.train(dataset, method, run), data=data)
                *_, vectors = layout.database_files(dataset, method, run)
                if vectors.exists():
                    self._look(vectors, recipes.index(dataset, method, run), data=data)
                if method in params.variants:
                    made_from = {"data": data, "weights": trained.get("weights")}
                    predictions = layout.predictions(dataset, method, run)
                    self._look(predictions, recipes.evaluate(dataset, method, run), **made_from)
                    shown = layout.representations(dataset, method, run)
                    self._look(shown, recipes.represent(dataset, method, run), **made_from)

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
            self.unfit[path] = "lists files that are to be made"
        elif not thorough:
            return
        elif not files <= set(listed) or not all(self._comes_along(file) for file in set(listed) - files):
            self.changed[path] = "lists other files"
        elif not all(file.exists() and sha256(file) == checksum for file, checksum in listed.items()):
            self.changed[path] = "lists other content"

    def _comes_along(self, file: Path) -> bool:
        """Tell whether a file is one of those that the params do not tell: media, or a modality that a source has."""
        datasets = self.params.datasets
        whole = {self.layout.media(dataset) for dataset in datasets}
        whole |= {self.layout.store(dataset) for dataset in datasets if not parameters.extracted(self.params, dataset)}
        return not whole.isdisjoint(file.parents)


def _provenance(path: Path) -> dict:
    """Read what an artifact says of how it was made."""
    from elision.store import read_provenance, read_tensors

    if path.suffix == ".parquet":
        return read_provenance(path)
    if path.suffix == ".html":
        identity, data = _META.search(path.read_text(encoding="utf-8")).groups()
        return {"identity": identity, "data": data}
    if path.suffix == ".json":
        record = json.loads(path.read_text(encoding="utf-8"))
        return {**record["provenance"], "weights": record["weights"]}
    _, metadata = read_tensors(path)
    return metadata.get("provenance", metadata)

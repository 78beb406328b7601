"""What every artifact is made from, and whether the artifact on disk is the one that the current params ask for.

The *recipe* of an artifact says what the artifact was made from: the step, the settings that the step reads, a digest
of the code, the identities of the inputs, and digests of the user's files and text encoders. The *identity* is the
digest of a recipe. Snakemake uses the identity as a parameter of the job. Every artifact carries recipe and identity,
and every reader of an artifact compares the identity with that of the current params.
"""

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property, wraps
from pathlib import Path

from elision.corruption import medium
from elision.corruption.kind import kinds
from elision.corruption.plan import tested
from elision.errors import ElisionError
from elision.files import replacing
from elision.provenance import contents, kept
from elision.provenance.layout import Layout
from elision.settings.params import (
    Params,
    asks_for_times,
    extracted,
    extracting,
    needs,
    reads_encoded,
    retrieves,
    text_encoder,
    trained_on,
    user_files,
)

# Modules that carry data and messages but never decide a value in an artifact.
_PLUMBING = (
    "elision.cli",
    "elision.datasets._contract",
    "elision.errors",
    "elision.features.facts",
    "elision.files",
    "elision.progress",
    "elision.provenance",
    "elision.settings",
)

# Steps that had another name, by that name. Identities keep the old one, so that older work can be accepted.
RENAMED = {"complete": "assemble"}

_THIS = Path(__file__).read_bytes()  # how digests are made

# Inputs that are no artifacts, for messages.
_CONTENT = {
    "encoder": "the content of the text encoder",
    "files": "the content of the user's files",
    "model": "the weights of the model of the hub",
    "weights": "the content of the weights of py-feat",
}

# Settings of training that change no result, and those that change none where they have their default.
_OF_MACHINE = {"device", "jobs_per_gpu", "seeds_per_job"}
_UNLESS_SET = {"precision", "compile", "rates", "clean"}

# What the step `assemble` makes of the labels and splits of clips.
_LATE = {"task", "classes", "cuts", "folds", "scale"}


def _changes(kind: str) -> str:
    """Name the modality that a kind of corrupted media changes."""
    return medium.MODALITY[medium.facts(kind).medium]


def digest(value: object) -> str:
    """Return a short digest of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _file(name: str) -> Path | None:
    """Find the file of a module; None for the name of anything else, such as a function."""
    parent = name.rpartition(".")[0]
    # Only packages hold modules. To find out, `find_spec` would import the parent, and PyTorch with it.
    if "." in parent and ((above := _file(parent)) is None or above.name != "__init__.py"):
        return None
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin)


@cache
def _module(name: str) -> tuple[str, frozenset[str]]:
    """Digest of a module's code without docstrings and comments, and the elision modules that it imports."""
    path = _file(name)
    if path is None:
        return "", frozenset()
    source = path.read_bytes()
    # Kept beside the compiled module: every job and every start of Snakemake asks for some forty of them.
    kept = Path(importlib.util.cache_from_source(path)).with_suffix(".digest.json")
    key = hashlib.sha256(_THIS + source).hexdigest()
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(kept.read_bytes())
        if found["key"] == key:
            return found["digest"], frozenset(found["imported"])
    value, imported = _parsed(source)
    if not sys.dont_write_bytecode:
        with suppress(ElisionError, OSError), replacing(kept) as temporary:
            temporary.write_text(json.dumps({"key": key, "digest": value, "imported": sorted(imported)}))
    return value, imported


def _parsed(source: bytes) -> tuple[str, frozenset[str]]:
    """Return the digest of source code, and the elision modules that it imports."""
    tree = ast.parse(source)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    ours = frozenset(n for n in imported if n.split(".")[0] == "elision")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), ours


def code(*modules: str, within: tuple[str, ...] = ("elision",)) -> str:
    """Return a digest of modules of the package and of all that they import from it.

    Comments, docstrings and formatting do not count, nor do modules whose names begin otherwise than ``within``.
    """
    seen: dict[str, str] = {}
    waiting = [f"elision.{module}" for module in modules]
    while waiting:
        name = waiting.pop()
        if name in seen or name == "elision" or name.startswith(_PLUMBING) or not name.startswith(within):
            continue
        seen[name], imported = _module(name)
        waiting += imported
    return digest({name: value for name, value in seen.items() if value})


def modules(package: str) -> list[str]:
    """Name a package and all modules in it, which nothing else may name."""
    folder = Path(__file__).parents[1].joinpath(*package.split("."))
    files = (path.relative_to(folder).with_suffix("") for path in sorted(folder.rglob("*.py")))
    return [".".join((package, *(part for part in file.parts if part != "__init__"))) for file in files]


def data(package: str) -> str:
    """Return a digest of the files of a package that are not code."""
    folder = Path(__file__).parents[1] / package
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".py")
    return digest({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})


def _kept_in(where: Callable[["Recipes"], dict]) -> Callable[[Callable], Callable]:
    """Make a decorator that keeps what a method of `Recipes` returns, by its arguments."""

    def decorate(method: Callable) -> Callable:
        @wraps(method)
        def found_once(self: "Recipes", *of: str) -> dict | str:
            found, key = where(self), (method.__name__, *of)
            if key not in found:
                found[key] = method(self, *of)
            return found[key]

        return found_once

    return decorate


_once = _kept_in(lambda recipes: recipes._made)  # the recipe of every run asks for those of its dataset
_once_per_params = _kept_in(lambda recipes: recipes.params.looked_up)  # a verb makes several `Recipes` of its params


def read_accepted(path: Path) -> dict[str, dict[str, str]]:
    """Read which code the user accepted: for each step, digests of the code here, and of older code that it stands for.

    Raises
    ------
    ElisionError
        If the file is damaged.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return {
            RENAMED.get(step, step): {str(new): str(old) for new, old in pairs.items()} for step, pairs in read.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ElisionError(f"{path} cannot be read ({error}); delete the file, or restore it from git") from None


class Recipes:
    """The recipes of all artifacts under given params.

    Each method returns ``{"step", "settings", "code", "inputs", "identity"}``, made once and not to be changed. Where
    code was accepted though it had changed, ``code`` is that of older artifacts, ``code_here`` is that of this
    package, and ``accepted`` names the steps concerned, of the artifact and of all that it is made from.

    Parameters
    ----------
    params : Params
    layout : Layout, optional
        Where the artifacts lie; by default where the params say.

    Raises
    ------
    ElisionError
        If the list of accepted code is damaged.
    """

    params: Params

    def __init__(self, params: Params, layout: Layout | None = None) -> None:
        self.params = params
        self.layout = layout or Layout(Path(params.results))
        self._settings = params.model_dump(mode="json")
        self._made: dict[tuple[str, ...], dict] = {}
        self._code = cache(code)
        self._accepted = read_accepted(self.layout.accepted)

    def _recipe(self, step: str, settings: dict, code: str, **inputs: dict | str) -> dict:
        """Make a recipe; ``inputs`` are recipes, and digests of content (left out where there is none)."""
        recipe = {
            "step": step,
            "settings": settings,
            "code": self._accepted.get(step, {}).get(code, code),
            "inputs": {n: made if isinstance(made, str) else made["identity"] for n, made in inputs.items() if made},
        }
        accepted = {step} if recipe["code"] != code else set()
        accepted = accepted.union(*(made.get("accepted", ()) for made in inputs.values() if isinstance(made, dict)))
        mark = {"accepted": sorted(accepted), "code_here": code} if accepted else {}
        named = {now: old for old, now in RENAMED.items()}.get(step, step)
        return {**recipe, "identity": digest({**recipe, "step": named}), **mark}

    @_once_per_params
    def _files(self, dataset: str) -> str:
        """Digest of the user's files; where they are not here, of those that the artifacts were made from."""
        named = user_files(self.params, dataset)
        anchor = self.layout.clips if extracted(self.params, dataset) else self.layout.samples
        found = contents.files(named) if named else None
        return self._recorded(anchor(dataset), "files") if found is None else found

    @_once_per_params
    def _encoder(self, dataset: str) -> str:
        """Digest of the text encoder of a dataset; where it is not here, of that of the artifacts, or of the newest."""
        name = text_encoder(self.params, dataset)
        if name is None:
            return ""
        made = (
            self.layout.sequences(dataset, "text") if extracted(self.params, dataset) else self.layout.samples(dataset)
        )
        return contents.encoder(name) or self._recorded(made, "encoder") or contents.newest(name)

    @_once_per_params
    def _face_weights(self, dataset: str) -> str:
        """Digest of the weights of py-feat that were fetched; where they are not here, of those of the artifacts."""
        if self.params.features_for(dataset).vision.extractor != "pyfeat":
            return ""
        fetched = contents.files([contents.PYFEAT_WEIGHTS]) if contents.PYFEAT_WEIGHTS.is_dir() else None
        return fetched or self._recorded(self.layout.sequences(dataset, "vision"), "weights")

    @_once_per_params
    def _hub_weights(self, dataset: str, modality: str) -> str:
        """Digest of the weights of a model of the hub; where they are not here, of those of the artifacts."""
        section = getattr(self.params.features_for(dataset), modality)
        if not section.hub:
            return ""
        made = self.layout.text_vectors(dataset) if modality == "text" else self.layout.sequences(dataset, modality)
        return contents.model(section.model, section.revision) or self._recorded(made, "model")

    @staticmethod
    def _recorded(path: Path, name: str) -> str:
        """Return a digest of content that an artifact was made from; empty, where it has none."""
        inputs = kept.made_by(path).get("inputs")
        return str(inputs.get(name, "")) if isinstance(inputs, dict) else ""

    def _dataset(self, dataset: str) -> dict:
        # Standardisation happens when a method reads the store, protocols and reports come after it, classes and folds
        # last: changing them must not extract anything again. Where files may lie changes nothing in them.
        later = {"standardise", "scale_by", "protocol", "published", "outside", "test_on", "media"}
        settings = {k: v for k, v in self._settings["datasets"][dataset].items() if k not in later}
        if not extracted(self.params, dataset):
            return settings
        settings.pop("features", None)
        names = {"labels_are_names": self.params.datasets[dataset].labels_are_names}
        # A class may be called none, which is no label otherwise: classes then say which clips are left out.
        late = _LATE - {"classes"} if settings["skip_unlabelled"] else _LATE
        return {k: v for k, v in settings.items() if k not in late} | names

    @_once
    def prepare(self, dataset: str) -> dict:
        """Table of clips, or the sequences of a feature file."""
        settings = self._dataset(dataset)
        # A source of sequences may tokenise texts; those of clips are tokenised later.
        encoder = "" if extracted(self.params, dataset) else self._encoder(dataset)
        code_of = self._code("datasets._prepare", f"datasets.{settings['source']}")
        return self._recipe("prepare", settings, code_of, files=self._files(dataset), encoder=encoder)

    @_once
    def extract(self, dataset: str, modality: str) -> dict:
        """Features of one modality."""
        features = self.params.features_for(dataset)
        section = getattr(features, modality)
        # Vectors of tokens are made by the step `encode`.
        described = features.text.tokens() if modality == "text" else section.described()
        settings = {"on_error": features.on_error, "shards": features.shards, **described}
        # Audio and vision of a clip are cut at the same second.
        of_sound = features.audio.model_dump(mode="json", include={"max_length", "sample_rate", "hop_length"})
        of_pictures = features.vision.model_dump(mode="json", include={"max_length", "fps"})
        if modality == "audio":
            settings["vision"] = of_pictures
        if modality == "vision":
            settings["audio"] = of_sound
        named = ["features.shards", f"features.{self._extracting(dataset, modality)}"]
        read: dict[str, dict | str] = {}
        recogniser = features.text.recogniser if modality == "text" else None
        if modality == "text":
            read = {"encoder": self._encoder(dataset)}
        elif section.hub:
            read = {"model": self._hub_weights(dataset, modality)}
        elif modality == "vision":
            read = {"weights": self._face_weights(dataset)}
        if recogniser:  # which hears what audio features are made of
            settings["audio"], settings["vision"] = of_sound, of_pictures
            named.append("features.recognise")
            read["recogniser"] = self._named_files({"recogniser": recogniser})
        of = {modality, "audio"} if recogniser else {modality}
        if steps := {n: at for n, at in self.params.datasets[dataset].media.items() if _changes(n) in of}:
            settings["media"] = [[name, at.model_dump(mode="json")] for name, at in steps.items()]
            settings["media_seed"] = self.params.media_seed(dataset)
            named += ["features.corrupted", *(f"corruption.media.{name}" for name in steps)]
            read["media"] = self._named_files(*(at.options for at in steps.values()))
        code_of = self._code(*named)
        return self._recipe(f"extract {modality}", settings, code_of, clips=self.prepare(dataset), **read)

    def _extracting(self, dataset: str, modality: str) -> str:
        """Name the module of ``features`` that extracts a modality."""
        if modality == "vision" and self._settings["datasets"][dataset].get("openface"):
            return "openface"
        return extracting(modality, getattr(self.params.features_for(dataset), modality).extractor)

    @_once
    def modalities(self, dataset: str) -> dict[str, dict]:
        """Sequences of each extracted modality; none for a source of sequences, whose files `prepare` makes."""
        return {m: self.extract(dataset, m) for m in extracted(self.params, dataset)}

    @_once
    def store(self, dataset: str) -> dict:
        """Samples and sequences of a dataset."""
        if modalities := self.modalities(dataset):
            settings = {key: self._settings["datasets"][dataset][key] for key in sorted(_LATE)}
            return self._recipe("assemble", settings, self._code("features.shards"), **modalities)
        return self.prepare(dataset)

    @_once
    def align(self, dataset: str) -> dict:
        """Frames of every text token of a dataset."""
        return self._recipe("align", {}, self._code("features.align"), store=self.store(dataset))

    @_once
    def encode(self, dataset: str) -> dict:
        """Text vectors of a dataset of tokens."""
        hub = self.params.features_for(dataset).text.vectors()
        settings = {"threads": self.params.train.threads, **hub}
        read = {"model": self._hub_weights(dataset, "text")}
        return self._recipe("encode", settings, self._code("features.encode"), store=self.store(dataset), **read)

    @_once
    def corrupt(self, dataset: str) -> dict:
        """Test conditions of a dataset."""
        values = self.params.corruption_for(dataset).model_dump(mode="json")
        settings = {name: values[name] for name in ("seed", "masks", *self._tested(dataset))}
        code_of = self._code("corruption.plan", *self._kinds(dataset))
        inputs = {"alignment": self.align(dataset)} if asks_for_times(self.params, dataset) else {}
        return self._recipe("corrupt", settings, code_of, store=self.store(dataset), **inputs)

    @_once
    def corrupt_media(self, dataset: str, kind: str) -> dict:
        """Features of the test clips under one kind of corrupted media."""
        asked, recogniser = self.params.media_for(dataset)[kind], self.params.recogniser_for(dataset, kind)
        settings = {
            "kind": kind,
            "severities": sorted({*asked.severities} - {0}),
            "options": asked.options,
            "recogniser": recogniser,
            "seed": self.params.media_seed(dataset),
            "on_error": self.params.features.on_error,
            "shards": self.params.features.shards,
        }
        extracted_by = self._extracting(dataset, _changes(kind))
        named = ["features.corrupted", f"features.{extracted_by}", f"corruption.media.{kind}"]
        read = {"media": self._named_files(asked.options, {"recogniser": recogniser})}
        return self._recipe("corrupt media", settings, self._code(*named), store=self.store(dataset), **read)

    def _named_files(self, *options: dict) -> str:
        """Digest of the files and folders that options of kinds name, such as recordings of noise."""
        values = (value for each in options for value in each.values() if isinstance(value, str) and value)
        found = [Path(value) for value in values if Path(value).exists()]
        return contents.files(found) or "" if found else ""

    @_once
    def _tested(self, dataset: str) -> list[str]:
        """Name the kinds of corruption that a dataset is tested under."""
        return [kind.name for kind in tested(self.params.corruption_for(dataset))]

    def _kinds(self, *datasets: str) -> list[str]:
        """Name the modules of the kinds of corruption that some datasets are tested under."""
        names = [f"corruption.kinds.{name}" for name in sorted({n for each in datasets for n in self._tested(each)})]
        media = sorted({name for each in datasets for name in self.params.media_for(each)})
        return [*names, *(f"corruption.media.{name}" for name in media)]

    @_once
    def train(self, dataset: str, method: str, run: str) -> dict:
        """A trained run."""
        settings, code_of, inputs = self._training(dataset, method, run)
        if method in self.params.tuned:
            inputs["tuned"] = self.tune(dataset, method, self.params.tuning_run(dataset, run))
        return self._recipe("train", settings, code_of, **inputs)

    @_once
    def trial(self, dataset: str, method: str, run: str) -> dict:
        """One trial of a search: all that decides which values it tries, and how they do on the validation split.

        The number of trials is left out: more trials begin with the same ones.
        """
        tune = self.params.tune
        assert tune is not None, "only what the params tune has trials"
        settings, code_of, inputs = self._training(dataset, method, run, on_test=False)
        own = tune.model_dump(mode="json", include={"trials_at_once", "prune_after"})
        asked = tune.model_dump(mode="json")["space"].get(method, {})
        settings = {**settings, "tune": {**own, "space": asked}}
        return self._recipe("tune-trial", settings, digest([code_of, self._code("training.tuning")]), **inputs)

    @_once
    def tune(self, dataset: str, method: str, run: str) -> dict:
        """A finished search."""
        tune = self.params.tune
        assert tune is not None, "only what the params tune has trials"
        settings = {"trials": tune.trials}
        return self._recipe("tune", settings, self._code("training.tuning"), trial=self.trial(dataset, method, run))

    def _training(
        self, dataset: str, method: str, run: str, *, on_test: bool | None = None
    ) -> tuple[dict, str, dict[str, dict]]:
        """Return settings, code and inputs of a training; ``on_test``: whether checkpoints are chosen on test."""
        variant = self.params.trained[method]
        train = self.params.train_for(dataset)
        corruption = self.params.corruption_for(dataset)
        report = self.params.protocol_of(dataset).report
        kind = trained_on(self.params, dataset, variant)
        usual = {name for name in _UNLESS_SET if getattr(train, name) == type(train).model_fields[name].default}
        settings = {
            **train.model_dump(mode="json", exclude=_OF_MACHINE | usual),
            "corruption": kind,
            "corruption_reads": kinds()[kind].trained_with(getattr(corruption, kind, None)),
            "corruption_seed": corruption.seed,
            "masks": corruption.masks,
            "scores": report.model_dump(mode="json", include={"decimals", "swapped_f1"}),
            "corpus": self._settings["datasets"][dataset]["corpus"],
            "standardise": self.params.standardised(dataset),
            "scale_by": self._settings["datasets"][dataset]["scale_by"],
            "method": variant.method,
            "decided": self.params.decided_for(dataset, variant.method),
            "overrides": variant.model_dump(mode="json")["overrides"],
            "run": run,
        }
        inputs = {"store": self.store(dataset), "alignment": self.align(dataset), **self.starts(dataset, method, run)}
        if reads_encoded(self.params, dataset, method):
            inputs["text_vectors"] = self.encode(dataset)
        on_test = self.params.chosen_on_test(dataset, method) if on_test is None else on_test
        if on_test:
            inputs["corruptions"] = self.corrupt(dataset)
        named = ("training.loop", f"methods.{variant.method}", f"corruption.kinds.{kind}")
        code_of = self._code(*named, *self._selecting(dataset, on_test=on_test))
        return settings, code_of, inputs

    # Metrics are found by their place, so that no import leads to their code.

    def _selecting(self, dataset: str, *, on_test: bool) -> tuple[str, ...]:
        """Name the modules of the metrics that choose the checkpoints of a training."""
        from elision.evaluation.metrics import deciding, family_kind  # takes NumPy

        settings = self.params.datasets[dataset]
        return deciding(family_kind(settings.corpus, settings.task), on_test=on_test)

    @cached_property
    def _metrics(self) -> list[str]:
        """Modules of the metrics of all datasets."""
        from elision.evaluation.metrics import family_kind  # takes NumPy
        from elision.evaluation.metrics import modules as modules_of

        kinds = {family_kind(settings.corpus, settings.task) for settings in self.params.datasets.values()}
        return sorted({module for kind in kinds for module in modules_of(kind)})

    def starts(self, dataset: str, method: str, run: str) -> dict[str, dict]:
        """Teachers that a run starts from, and the database that it searches."""
        name = self.params.trained[method].method
        inputs = {teacher: self.train(dataset, teacher, run) for teacher in needs(name)}
        if teacher := retrieves(name):
            inputs["database"] = self.index(dataset, teacher, run)
        return inputs

    @_once
    def index(self, dataset: str, teacher: str, run: str) -> dict:
        """Retrieval database of a teacher."""
        return self._recipe("index", {}, self._code("training.index"), teacher=self.train(dataset, teacher, run))

    @_once
    def evaluate(self, test: str, method: str, run: str) -> dict:
        """Predictions of a run, and representations of test samples."""
        dataset, tested_on = self.params.tests[test]
        inputs = {
            "model": self.train(dataset, method, run),
            "corruptions": self.corrupt(tested_on),
            "alignment": self.align(tested_on),
            **{f"media {kind}": self.corrupt_media(tested_on, kind) for kind in self.params.media_for(tested_on)},
        }
        modules = ("evaluation.predict", f"methods.{self.params.variants[method].method}")
        return self._recipe("evaluate", {}, self._code(*modules, *self._kinds(tested_on)), **inputs)

    @cached_property
    def aggregate(self) -> dict:
        """Metrics of everything."""
        p = self.params
        on = {test: tested_on for test, (_, tested_on) in p.tests.items()}
        settings = {"protocols": {t: [p.protocol_name(d), p.protocol_of(d).report.model_dump()] for t, d in on.items()}}
        settings |= self._marks()
        code_of = self._code("evaluation.aggregate", *self._metrics, *self._kinds(*p.datasets))
        return self._recipe("aggregate", settings, code_of, **self._evaluated())

    @cached_property
    def significance(self) -> dict:
        """Intervals and comparisons of everything."""
        code_of = self._code("evaluation.significance", *self._metrics, *self._kinds(*self.params.datasets))
        return self._recipe("significance", self._settings["statistics"], code_of, **self._evaluated())

    @cached_property
    def examine(self) -> dict:
        """Checks of the first run of every method."""
        p = self.params
        inputs = {f"{d}/{m}": self.train(d, m, p.runs(d)[0]) for d in p.datasets for m in p.trained}
        named = {f"methods.{variant.method}" for variant in p.trained.values()}
        code_of = self._code("evaluation.examine", *modules("methods.checks"), *sorted(named))
        return self._recipe("examine", {}, code_of, **inputs)

    @cached_property
    def accepted(self) -> dict[str, list[str]]:
        """Steps whose code was accepted though it had changed, by ``DATASET/METHOD`` of the rows made so."""
        found: dict[str, set[str]] = {}
        for name, recipe in self._evaluated().items():
            found.setdefault(name.rpartition("/")[0], set()).update(recipe.get("accepted", ()))
        return {row: sorted(steps) for row, steps in found.items() if steps}

    def _marks(self) -> dict[str, dict]:
        """Settings of what marks rows: made anew when code is accepted, though no number changes."""
        return {"accepted": self.accepted} if self.accepted else {}

    def _evaluated(self) -> dict[str, dict]:
        p = self.params
        runs = ((t, m, r) for t, (d, _) in p.tests.items() for m in p.variants for r in p.runs(d))
        return {"/".join(run): self.evaluate(*run) for run in runs}

    @cached_property
    def report(self) -> dict:
        """Tables, figures and the page."""
        published = {name: entry.published for name, entry in self.params.datasets.items()}
        settings: dict[str, dict | str] = {"published": published}
        settings |= {"numbers": data("published"), "page": data("report")}
        settings |= self._marks()
        p = self.params
        inputs = {f"{t}/{m}": self.evaluate(t, m, p.runs(d)[0]) for t, (d, _) in p.tests.items() for m in p.variants}
        inputs |= {"aggregate": self.aggregate, "significance": self.significance}
        if p.report.check:
            inputs["checks"] = self.examine
        code_of = self._code(*modules("report"), *self._metrics, *self._kinds(*p.datasets))
        return self._recipe("report", settings, code_of, **inputs)


def check(found: dict, expected: dict, path: Path | str) -> None:
    """Refuse an artifact that was not made as the current params and code say.

    Parameters
    ----------
    found : dict
        The recipe that the artifact carries.
    expected : dict
        The recipe of the current params.
    path : path
        The artifact, for the message.

    Raises
    ------
    ElisionError
        Says what differs.
    """
    if found.get("identity") == expected["identity"]:
        return
    old, new = found.get("settings", {}), expected["settings"]
    differences = [
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if found.get("code") != expected["code"]:
        differences.append(f"the code of step {expected['step']!r} changed")
    inputs, now = found.get("inputs", {}), expected["inputs"]
    differences += [
        f"{_CONTENT.get(name, f'the input {name!r}')} changed"
        for name in sorted({*inputs, *now})
        if inputs.get(name) != now.get(name)
    ]
    raise ElisionError(
        f"{path} does not fit the current params: {'; '.join(differences) or 'it has another identity'}. "
        f"Make the file again: snakemake --cores all {path}"
    )


def check_data(found: str, expected: str, path: Path | str) -> None:
    """Refuse an artifact that was made from other data than those that are here now.

    The recipe follows from params and code alone; this compares digests of content.

    Raises
    ------
    ElisionError
        If the digests differ.
    """
    if found != expected:
        raise ElisionError(
            f"{path} was made from data that have changed since. Make the file again: snakemake --cores all --force "
            f"{path}"
        )

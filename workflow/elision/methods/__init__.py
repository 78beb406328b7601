"""The catalogue of methods: one file of this folder, one method.

Nothing here imports PyTorch before a method is loaded.
"""

import dataclasses
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from elision.corruption.kind import kinds
from elision.errors import ElisionError, plural
from elision.search import OF_DATA, Searched, ends, is_whole, space
from elision.settings.params import (
    is_floor,
    known_from,
    lacking,
    made_for,
    method_names,
    needs,
    needs_complete,
    reads_text,
    requires,
    retrieves,
    suggestion,
    told_absent,
    trained_on,
    training_size,
)
from elision.settings.served import columns_unknown, steps_never_made
from elision.task import CORPORA, OFFICIAL_SPECS, DataSpec

if TYPE_CHECKING:
    from torch import nn

    from elision.methods.base import Method, TrainingHyperparameters
    from elision.settings.params import Params, Variant

__all__ = [
    "build",
    "check",
    "counts",
    "load",
    "load_all",
    "method_names",
    "official",
    "resolve",
    "resolve_variant",
    "search_space",
]

_OFFICIAL_ENCODER_WIDTH = 768


def load(name: str) -> "type[Method]":
    """Return the class of a method.

    Raises
    ------
    ElisionError
        If there is no such method, or its file does not define it, cannot be imported, or inherits what must be
        written in it.
    """
    if name not in method_names():
        raise ElisionError(f"unknown method {name!r}; {suggestion(name, method_names())}")
    from elision.methods.base import Method

    written = {"task": made_for(name), "needs": needs(name), "retrieves": retrieves(name), "requires": requires(name)}
    written |= {"reads_text": reads_text(name), "floor": is_floor(name), "needs_complete": needs_complete(name)}
    written |= {"told_absent": told_absent(name), "known_from": known_from(name)}
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except Exception as error:  # whatever the lines of the file raise
        what = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ElisionError(
            f"methods/{name}.py: cannot be imported: {what}; correct the file, or move it out of methods/"
        ) from error
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, Method) and vars(cls).get("name") == name:
            for attribute, value in written.items():
                if (inherited := getattr(cls, attribute)) != value:
                    raise ElisionError(
                        f"methods/{name}.py: class {cls.__name__} inherits {attribute}; write {attribute} = "
                        f"{inherited!r} in the class, because the workflow reads the class without PyTorch"
                    )
            return cls
    raise ElisionError(f'methods/{name}.py: the class with name = "{name}" does not extend Method; extend it')


def load_all() -> "tuple[dict[str, type[Method]], dict[str, str]]":
    """Load every method.

    Returns
    -------
    methods : dict of str to type of Method
        Those that can be used, by name.
    problems : dict of str to str
        What is wrong with each of the others.
    """
    methods, problems = {}, {}
    for name in method_names():
        try:
            methods[name] = load(name)
        except ElisionError as error:
            problems[name] = str(error)
    return methods, problems


def resolve(
    method: str, corpus: str, overrides: dict[str, Any] | None = None
) -> "tuple[TrainingHyperparameters, dict[str, str]]":
    """Return the hyperparameters of a method on a corpus, and where each comes from.

    Parameters
    ----------
    method : str
    corpus : str
        Key of ``CORPORA``.
    overrides : dict, optional
        The user's own values.

    Returns
    -------
    hyperparameters : Hyperparameters
    origins : dict of str to str
        For each field: ``card default`` (the method's own), ``mosei default`` (of the corpus), or ``override``.

    Raises
    ------
    ElisionError
        Names every override that is not allowed, with those that are; or the modality that is left out and without
        which it is not the method.
    """
    cls, overrides = load(method), overrides or {}
    family = next((name for name in CORPORA[corpus].defaults if name in cls.corpus_defaults), "")
    official = cls.corpus_defaults.get(family, {})
    own = {"corruption": cls.corruption} if cls.corruption else {}
    try:
        hyperparameters = cls.Hyperparameters(**{**own, **official, **overrides})
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            key, what = ".".join(map(str, problem["loc"])), f"{problem['msg']} (found {problem['input']!r})"
            if problem["type"] == "extra_forbidden":
                what = f"unknown hyperparameter; {suggestion(key, list(cls.Hyperparameters.model_fields))}"
            problems.append(f"{method}: {key}: {what}")
        raise ElisionError("\n".join(problems)) from None
    lost = [modality for modality in cls.requires if modality not in hyperparameters.modalities]
    if lost:
        raise ElisionError(
            f"{method}: modalities leaves out {' and '.join(lost)}, which {method} requires; add {' and '.join(lost)}"
        )
    origins = dict.fromkeys(cls.Hyperparameters.model_fields, "card default")
    origins |= dict.fromkeys(official, f"{family} default") | dict.fromkeys(overrides, "override")
    return hyperparameters, origins


def resolve_variant(
    params: "Params", variant: "Variant", dataset: str
) -> "tuple[TrainingHyperparameters, dict[str, str]]":
    """Return the hyperparameters that a variant is trained with on a dataset, and where each comes from.

    As `resolve`, with what the protocol of the dataset says of the method. ``train.epochs`` replaces the epochs of
    every method that is not told its own, except those with ``Method.own_epochs``.
    """
    decided = params.decided_for(dataset, variant.method)
    told = decided | variant.overrides
    hyperparameters, origins = resolve(variant.method, params.datasets[dataset].corpus, told)
    origins |= dict.fromkeys(decided.keys() - variant.overrides.keys(), "protocol")
    epochs = params.train_for(dataset).epochs
    if epochs is not None and not load(variant.method).own_epochs and "epochs" not in told:
        hyperparameters = hyperparameters.model_copy(update={"epochs": epochs})
        origins["epochs"] = "train.epochs" if params.train.epochs is not None else "protocol"
    return hyperparameters, origins


def search_space(params: "Params", name: str, dataset: str) -> "dict[str, Searched]":
    """Return what tuning searches for a row or a teacher on a dataset: see ``elision.search.space``."""
    variant = params.trained[name]
    values, _ = resolve_variant(params, variant, dataset)
    asked = params.tune.space.get(name, {}) if params.tune else {}
    fixed = {*params.decided_for(dataset, variant.method), *variant.overrides}
    return space(values, fixed=fixed, own=load(variant.method).search_space, asked=asked)


def build(
    name: str, hyperparameters: "TrainingHyperparameters", spec: DataSpec, encoder: "nn.Module | str | None" = None
) -> "Method":
    """Return an untrained method for a dataset; PyTorch's global generator decides its weights.

    Parameters
    ----------
    name : str
    hyperparameters : Hyperparameters
        Of the method, as `resolve` returns them.
    spec : DataSpec
        Sizes of the dataset.
    encoder : nn.Module or str, optional
        Text encoder, or the name or folder of a pretrained one; that of ``spec.encoder``, if it is not given.

    Raises
    ------
    ElisionError
        If the method is not made for the task, or the text encoder cannot be loaded.
    """
    cls = load(name)
    if spec.task not in cls.task:
        raise ElisionError(
            f"{name} is made for {', '.join(sorted(cls.task))}, but the dataset asks for {spec.task}; choose another "
            "method"
        )
    if cls.reads_text != "tokens":
        from torch import nn

        encoder = nn.Identity()
    elif encoder is None or isinstance(encoder, str):
        from elision.methods.layers.text_encoder import TextEncoder

        encoder = TextEncoder.load(encoder or spec.encoder, pooler=cls.uses_pooler)
    return cls(hyperparameters, spec, encoder)


def official(name: str, dims: str) -> "Method":
    """Return an untrained method at the official sizes of a corpus, without weights and without a text encoder.

    Parameters
    ----------
    name : str
    dims : str
        Key of ``OFFICIAL_SPECS``. Text vectors have the width of BERT, where the corpus has none of its own.
    """
    import torch

    from elision.methods.layers.text_encoder import StubEncoder

    spec = OFFICIAL_SPECS[dims]
    text = (spec.text or _OFFICIAL_ENCODER_WIDTH) if load(name).reads_text == "vectors" else 0
    hyperparameters, _ = resolve(name, spec.corpus)
    sizes = dataclasses.replace(spec, text=text).aligned(hyperparameters.alignment)
    with torch.device("meta"):
        return build(name, hyperparameters, sizes, StubEncoder(_OFFICIAL_ENCODER_WIDTH))


def counts(dims: str) -> list[dict]:
    """Count the parameters of every method at the official sizes of a corpus, without the text encoder.

    Parameters
    ----------
    dims : str
        Key of ``OFFICIAL_SPECS``: ``mosi``, ``iemocap``, ... Methods that are not made for its task are left out, and
        those whose file is broken.

    Returns
    -------
    list of dict
        ``name``, ``parameters`` (total), and ``submodules``: the count of each attribute of the method, and ``<own>``
        for the parameters that lie in none.
    """
    listed = []
    for name, cls in load_all()[0].items():
        if OFFICIAL_SPECS[dims].task not in cls.task:
            continue
        method = official(name, dims)
        submodules = {"<own>": sum(p.numel() for p in method.parameters(recurse=False))}
        for child, module in method.named_children():
            submodules[child] = sum(p.numel() for p in module.parameters())
        submodules = {key: count for key, count in submodules.items() if count}
        listed.append({"name": name, "parameters": sum(submodules.values()), "submodules": submodules})
    return listed


def check(params: "Params") -> None:
    """Check what `elision.settings.params.load` cannot: hyperparameters, and methods against datasets.

    Raises
    ------
    ElisionError
        Names every wrong hyperparameter of every entry of ``methods:`` and ``teachers:``.
    """
    wrong_protocols = _wrong_protocols(params)
    problems = list(wrong_protocols)
    for name, variant in params.entries.items():
        where = f"methods.{name}" if name in params.variants else f"teachers.{name}"
        try:
            cls = load(variant.method)
        except ElisionError as error:
            problems.append(f"{where}: {error}")
            continue
        for dataset, settings in params.datasets.items():
            decided = {} if wrong_protocols else params.decided_for(dataset, variant.method)
            try:
                resolve(variant.method, settings.corpus, decided | variant.overrides)
            except ElisionError as error:
                problems += [f"{where}: {line}" for line in str(error).split("\n")]
                break
            if settings.task not in cls.task:
                problems.append(
                    f"{where}: {variant.method} is made for {', '.join(sorted(cls.task))}, but dataset "
                    f"{dataset!r} asks for {settings.task}; leave the row out"
                )
            if lost := lacking(settings, variant.method):
                problems.append(
                    f"{where}: {variant.method} requires {', '.join(lost)}, and dataset {dataset!r} (source "
                    f"{settings.source}) has none; leave the method out"
                )
    problems = problems or [
        *columns_unknown(params),
        *_untrainable(params),
        *_untunable(params),
        *_teachers_that_see_otherwise(params),
        *(
            line
            for dataset in params.datasets
            if (size := training_size(params, dataset)) is not None
            for name in params.trained
            for line in steps_never_made(params, dataset, name, {"split": size})
        ),
    ]
    if problems:
        lines = "\n".join(f"  {line}" for line in problems)
        raise ElisionError(f"params: {plural(len(problems), 'wrong setting')}:\n{lines}")


def _wrong_protocols(params: "Params") -> list[str]:
    """Find hyperparameters in protocols that are not allowed."""
    problems = []
    for dataset, settings in params.datasets.items():
        for method, decided in params.protocol_of(dataset).methods.items():
            try:
                resolve(method, settings.corpus, decided)
            except ElisionError as error:
                where = f"protocol {params.protocol_name(dataset)}: methods."
                problems += [f"{where}{line}" for line in str(error).split("\n")]
    return list(dict.fromkeys(problems))


def _untrainable(params: "Params") -> list[str]:
    """Find rates that a training corruption has no use for, and methods that need what is hidden."""
    problems = []
    for dataset in params.datasets:
        train = params.train_for(dataset)
        problems += _unused("train", train.rates, str(train.corruption))
        for name, variant in params.trained.items():
            where = f"{'methods' if name in params.variants else 'teachers'}.{name}"
            kind, rates = trained_on(params, dataset, variant), resolve_variant(params, variant, dataset)[0].rates
            problems += _unused(where, rates, kind)
            complete = {
                "is trained on": kind == "complete",
                "learns from": needs_complete(variant.method),
                "searches": bool(retrieves(variant.method)),
            }
            if train.clean == "hidden" and any(complete.values()):
                why = f"{next(verb for verb, does in complete.items() if does)} complete data"
                users = [user for user, of in params.trained.items() if name in needs(of.method)]
                for_what = f" for {', '.join(users)}" if users else ""
                problems.append(
                    f"{where}: {variant.method} {why}{for_what}, but train.clean is hidden; write clean: offered, or "
                    "leave the method out"
                )
    return list(dict.fromkeys(problems))


def _untunable(params: "Params") -> list[str]:
    """Find what keeps ``tune`` from working: no Optuna, no hyperparameter to search, values that are not allowed."""
    if not params.tune:
        return []
    problems = []
    if importlib.util.find_spec("optuna") is None:
        problems.append(
            "tune: needs Optuna, which is not installed; type pip install -e .[tune] -c constraints.txt, or leave out "
            "tune"
        )
    for name in params.tuned:
        variant, where = params.trained[name], f"tune.space.{name}"
        fields = load(variant.method).Hyperparameters.model_fields
        for key in params.tune.space.get(name, {}):
            if key not in fields:
                problems.append(f"{where}: unknown hyperparameter {key!r}; {suggestion(key, list(fields))}")
            elif key in OF_DATA:
                problems.append(
                    f"{where}.{key}: {key} changes the validation data, so scores could not be compared; leave it out"
                )
        for dataset, settings in params.datasets.items():
            found = search_space(params, name, dataset)
            if not found:
                problems.append(
                    f"tune: {name} has no hyperparameter that is searched by rule (docs/tuning.md); write "
                    f"tune.space.{name}, or list the rows to tune under tune.methods without {name}"
                )
                break
            for key, entry in found.items():
                for value in ends(entry):
                    whole = is_whole(fields[key]) and isinstance(value, float) and value.is_integer()
                    told = {**params.decided_for(dataset, variant.method), **variant.overrides}
                    try:
                        resolve(variant.method, settings.corpus, {**told, key: int(value) if whole else value})
                    except ElisionError as error:
                        problems += [f"{where}: {line}" for line in str(error).split("\n")]
    return list(dict.fromkeys(problems))


def _unused(where: str, rates: list | None, kind: str) -> list[str]:
    """Say that rates cannot be those of a training corruption."""
    known = kinds()[kind]
    if rates is None or (known.training_rates and (known.imbalanced or all(isinstance(r, float) for r in rates))):
        return []
    if known.training_rates:
        return [f"{where}.rates: {kind} has one rate for all modalities; write numbers"]
    with_rates = ", ".join(name for name, each in kinds().items() if each.training_rates)
    return [f"{where}.rates: {kind} draws no rate of a list; leave out rates, or train on one of {with_rates}"]


def _teachers_that_see_otherwise(params: "Params") -> list[str]:
    """Find methods that see other modalities than the teacher from whose weights they start."""
    problems = []
    for dataset in params.datasets:
        seen = {
            name: resolve_variant(params, variant, dataset)[0].modalities for name, variant in params.trained.items()
        }
        problems += [
            f"methods.{name}: modalities is {', '.join(seen[name])}, but its teacher sees "
            f"{', '.join(seen[teacher])}; set the same list in teachers.{teacher}.modalities"
            for name, variant in params.trained.items()
            for teacher in load(variant.method).needs
            if seen[teacher] != seen[name]
        ]
    return list(dict.fromkeys(problems))

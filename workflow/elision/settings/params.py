"""``params.yaml``: every knob that a user turns, checked before any work starts.

Datasets and methods are found by the files of ``datasets/`` and ``methods/``: a new one needs no entry here.
"""

import ast
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from elision import published
from elision.errors import ElisionError, plural
from elision.settings import strict_yaml
from elision.settings.protocols import PROTOCOLS, Protocol
from elision.task import CORPORA, TaskKind

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"

TrainingCorruption = Literal["lnln", "complete", "absent", "mixed", "noise"]
Noise = Literal["gaussian", "impulse"]
ProtocolName = Literal[tuple(PROTOCOLS)]
PublishedCorpus = Literal[published.CORPORA]

_AS_PROTOCOL = "null: as the protocol says"

# Keys of Snakemake's --config, with examples; `elision adopt` sets the last one.
CONFIG = {"params": "params.yaml", "results": "results", "adopt": "1"}

_LARGEST_SCORE = 1e9
_MOST_SHOWN = 200  # characters of a wrong value, in messages

# Far beyond what anybody needs; a slip of the keyboard is refused before it fills a disk or hangs a job.
LARGEST_SEED = 2**32 - 1
_LONGEST = 1_000_000  # frames or tokens of a sequence, epochs, hyperparameters
_MOST_ENTRIES = 1000  # of a list
_MANIFEST = "MANIFEST"  # the file beside the folders that have the names of datasets

Rate = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Length = Annotated[int, Field(ge=1, le=_LONGEST)]
Name = Annotated[str, Field(pattern=NAME, max_length=80)]  # part of names of files
ClassName = Annotated[str, Field(pattern=r"^[^,:]+$")]


def _unique(values: list) -> list:
    seen: set[str] = set()
    for value in map(str, values):
        if value in seen:
            raise ValueError(f"duplicate entry: {value}")
        seen.add(value)
    return values


def _file_names(section: str, names: Iterable[str]) -> None:
    """Refuse names that cannot all be names of folders in the results, on every file system."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() == _MANIFEST.lower():
            raise ValueError(f"{section}.{name}: results have a file of this name; choose another name")
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ValueError(
                f"{section}.{name}: differs from {other} by case alone, and some file systems do not tell them apart; "
                "choose another name"
            )


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Of sources of published feature files: what is made from them may be put beside what was published.
AS_CORPUS: Any = Field(
    default_factory=lambda settings: corpus if (corpus := settings.get("corpus")) in published.CORPORA else None,
    description="compare with the published numbers of this corpus (default: `corpus`, if it has any; null: no "
    "comparison)",
)


class Folds(_Section):
    """Folds by groups that are never torn apart."""

    by: str = Field("speaker", description="column of the samples whose values are the groups: speaker, or id")
    count: int = Field(ge=2, le=10_000, description="number of folds; as many as groups: each group is left out once")
    validation: float = Field(
        0.1, gt=0, lt=1, description="share of the groups left for training that are validation; at least one group"
    )
    seed: Seed = Field(1111, description="seed for dealing the groups to the folds")


class DatasetSettings(_Section):
    """What every dataset entry has; ``Settings`` of each file in ``datasets/`` extends it."""

    source: str = Field(description="file of datasets/ that reads it: demo, clips, mmsa, ...")
    corpus: Literal[tuple(CORPORA)] = Field("mosi", description="corpus whose label range, metrics and defaults apply")
    task: TaskKind = Field(TaskKind.REGRESSION, description="regression (labels are scores) or classification")
    classes: Annotated[list[ClassName], AfterValidator(_unique)] | None = Field(
        None,
        min_length=2,
        max_length=_MOST_ENTRIES,
        description="names of the classes, in their order (null: those of the source)",
    )
    cuts: list[float] | None = Field(
        None,
        description="ascending thresholds that turn scores into classes; needs len(classes) - 1 values",
    )
    folds: Folds | None = Field(None, description="cross-validation instead of the splits of the source")
    protocol: ProtocolName | None = Field(
        None, description="protocol of this dataset (null: the protocol of all datasets)"
    )
    standardise: bool = Field(
        True, description="scale each audio and vision dimension to mean 0, variance 1 of the observed training frames"
    )
    published: PublishedCorpus | None = Field(
        None, description="compare with the published numbers of this corpus (null: no comparison)"
    )

    @model_validator(mode="after")
    def _check_classes(self) -> "DatasetSettings":
        if self.task is TaskKind.REGRESSION and (self.classes or self.cuts):
            raise ValueError("classes and cuts are for task: classification")
        if self.cuts is not None and len(self.classes or ()) != len(self.cuts) + 1:
            raise ValueError(f"{len(self.cuts)} cuts make {len(self.cuts) + 1} classes; list their names under classes")
        if self.cuts is not None and any(b <= a for a, b in pairwise(self.cuts)):
            raise ValueError("cuts must be ascending")
        return self

    @model_validator(mode="after")
    def _check_numbers(self) -> "DatasetSettings":
        for key in type(self).model_fields:
            value, most = getattr(self, key), LARGEST_SEED if key == "seed" else _LONGEST
            if isinstance(value, int) and value > most:
                raise ValueError(f"{key} is {_short(value)}; at most {most} is allowed")
        return self

    @property
    def labels_are_names(self) -> bool:
        """Whether the labels of the source are names of classes."""
        return self.task is TaskKind.CLASSIFICATION and self.cuts is None

    @property
    def largest_label(self) -> float:
        """Largest absolute score: that of the corpus, unless scores are only cut into classes."""
        return CORPORA[self.corpus].label_range if self.cuts is None else _LARGEST_SCORE

    def fold_count(self) -> int:
        """Return the number of folds; 0 without folds."""
        return self.folds.count if self.folds else 0


class TextFeatures(_Section):
    """Tokenisation of the transcripts."""

    encoder: str = Field("minilm", description="minilm (embedded), a Hugging Face id, or a local folder")
    max_length: int = Field(
        50, ge=3, le=_LONGEST, description="most tokens, with [CLS] and [SEP]; longer transcripts are cut"
    )
    frozen: bool = Field(False, description="also store the last hidden states of the encoder, as text_features")


class AudioFeatures(_Section):
    """MFCC, CQT chroma and log F0 (the CH-SIMS set)."""

    sample_rate: int = Field(22050, ge=8000, le=400_000, description="sampling rate, Hz")
    hop_length: int = Field(512, ge=64, le=100_000, description="samples between frames")
    mfcc: int = Field(20, ge=1, le=1000, description="number of mel-frequency cepstral coefficients")
    chroma: int = Field(12, ge=12, le=120, description="number of constant-Q chroma bins")
    f0_min: float = Field(65.0, gt=0, description="lowest fundamental frequency of pYIN, Hz")
    f0_max: float = Field(500.0, gt=0, le=100_000, description="highest fundamental frequency of pYIN, Hz")
    max_length: Length | None = Field(400, description="most frames; longer sequences are cut (null: no limit)")

    @model_validator(mode="after")
    def _check_range(self) -> "AudioFeatures":
        if self.f0_min >= self.f0_max:
            raise ValueError(f"f0_min {self.f0_min:g} Hz is not below f0_max {self.f0_max:g} Hz")
        return self


class VisionFeatures(_Section):
    """Face analysis."""

    extractor: Literal["mediapipe", "pyfeat"] = Field(
        "mediapipe", description="mediapipe (embedded, CPU) or pyfeat (GPU, downloaded weights)"
    )
    fps: float | None = Field(
        None, gt=0, le=1000, description="frames per second that are analysed (null: every frame)"
    )
    centre: Literal["none", "clip", "speaker"] = Field(
        "none", description="subtract the mean of the observed frames: of the clip, or of all clips of the speaker"
    )
    batch_size: int = Field(16, ge=1, le=100_000, description="frames per forward pass (pyfeat)")
    max_length: Length | None = Field(400, description="most frames; longer sequences are cut (null: no limit)")


class Features(_Section):
    """From clips to sequences."""

    shards: int = Field(4, ge=1, le=10_000, description="jobs per dataset and modality; a job should take some minutes")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="what a clip that fails does: stop the run, or be skipped and counted"
    )
    text: TextFeatures = TextFeatures()
    audio: AudioFeatures = AudioFeatures()
    vision: VisionFeatures = VisionFeatures()


class NoiseSettings(_Section):
    """The noise scheduler of NMER."""

    kinds: Annotated[list[Noise], AfterValidator(_unique)] | None = Field(
        None, description=f"kinds that are tested; {_AS_PROTOCOL}"
    )
    intensities: Annotated[list[Length], AfterValidator(_unique)] = Field(
        [20, 40, 60, 80, 100],
        max_length=_MOST_ENTRIES,
        description="time steps of the scheduler that are tested; more steps are noisier",
    )
    schedule: Literal["scaled_linear", "linear", "squared_cosine", "sigmoid"] = Field(
        "scaled_linear", description="how the noise grows from step to step"
    )
    first: float = Field(0.01, gt=0, lt=1, description="variance of the first step")
    last: float = Field(0.5, gt=0, lt=1, description="variance of the last step")
    t_per_batch: bool | None = Field(
        None,
        description=f"one step per modality and batch, as in the official code, not per sample; {_AS_PROTOCOL}",
    )


class Corruption(_Section):
    """Test conditions."""

    seed: Seed = Field(1111, description="seed of the test masks, which are the same for every method and run")
    random: Annotated[list[Rate], AfterValidator(_unique)] | None = Field(
        None,
        max_length=_MOST_ENTRIES,
        description=f"missing rates, the same for all modalities; {_AS_PROTOCOL}",
    )
    absent: bool | None = Field(
        None, description=f"every subset of the modalities absent as a whole, and none; {_AS_PROTOCOL}"
    )
    combined: Annotated[list[Rate], AfterValidator(_unique)] = Field(
        [],
        max_length=_MOST_ENTRIES,
        description="missing rates of the other modalities where some are absent as a whole (HRLF)",
    )
    masks: Literal["keyed", "lnln"] | None = Field(
        None,
        description="keyed: missing frames are drawn separately for each sample and modality; lnln: one array of "
        f"random numbers for all modalities, splits and runs, as in the code of LNLN; {_AS_PROTOCOL}",
    )
    noise: NoiseSettings = NoiseSettings()


class Train(_Section):
    """Training, for all methods that have no value of their own."""

    corruption: TrainingCorruption | None = Field(
        None,
        description="lnln: rates U(0, 1) per sample and modality, half of the samples complete; complete; absent: one "
        "of the conditions with some modalities absent as a whole; mixed: frames lost at a rate of 0 to 0.9 and whole "
        f"modalities absent; noise: as absent, but noise in place of what is absent; {_AS_PROTOCOL}",
    )
    redraw: Literal["epoch", "never"] | None = Field(
        None, description=f"draw new training masks every epoch, or once; {_AS_PROTOCOL}"
    )
    validation_rate: Rate | None = Field(
        None, description="missing rate of the validation split; null: as the protocol says, or as in training"
    )
    selection: Literal["valid", "test_oracle"] | None = Field(
        None,
        description="valid: one checkpoint chosen on validation; test_oracle: per metric on TEST, marked as such; "
        + _AS_PROTOCOL,
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=_LONGEST,
        description="epochs of every method (null: as the protocol says, or as each method says)",
    )
    device: str = Field("auto", pattern=DEVICE, description="auto, cpu, mps, cuda or cuda:N")
    jobs_per_gpu: int = Field(1, ge=1, le=100, description="jobs that share one GPU at the same time")
    threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="CPU threads per training run; changing it can change results in the last digits",
    )


class Statistics(_Section):
    """Bootstrap intervals, and tests between methods."""

    resamples: int = Field(
        1000,
        ge=100,
        le=1_000_000,
        description="bootstrap resamples of the test utterances, the same for all methods",
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="confidence level of the intervals and of the critical difference"
    )
    seed: Seed = Field(1111, description="seed of the resamples")
    cluster: Literal["speaker", "video", "none"] = Field(
        "speaker",
        description="unit of resampling: speaker, video (the part of the id before $_$) or none (single utterances). "
        "Videos replace speakers that are unknown or fewer than two; single utterances replace unknown videos",
    )


def _in_range(name: str, hyperparameters: dict[str, Any]) -> None:
    for key, value in hyperparameters.items():
        for number in value if isinstance(value, list) else (value,):
            if isinstance(number, int | float) and not abs(number) <= _LONGEST:
                raise ValueError(f"{name}.{key}: {_short(number)} is out of range; at most {_LONGEST} is allowed")


class Variant(_Section):
    """A row of the tables: a method, or a method with overrides under a name of the user's own."""

    name: Name
    method: str
    overrides: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _read_entry(cls, entry: Any) -> Any:
        if isinstance(entry, str):
            entry = {entry: {}}
        if not (isinstance(entry, dict) and len(entry) == 1):
            raise ValueError("give the name of a method, or `name: {method: ..., hyperparameter: value}`")
        ((name, settings),) = entry.items()
        if not isinstance(settings, dict | None):
            raise ValueError(f"{name}: give a mapping of hyperparameters, not {_short(settings)}")
        settings = dict(settings or {})
        _in_range(name, settings)
        near = get_close_matches("method", map(str, settings), 1, 0.8)
        if near and "method" not in settings and name not in method_names():
            raise ValueError(f"{name}.{near[0]}: unknown key; did you mean method?")
        return {"name": name, "method": settings.pop("method", name), "overrides": settings}

    @field_validator("method")
    @classmethod
    def _is_known(cls, method: str) -> str:
        return _known(method, method_names(), "method")

    def __str__(self) -> str:
        return self.name


def _not_for_results() -> set[Path]:
    """Return the folders where files of the project and of the user lie."""
    here = Path.cwd()
    return {here, *here.parents, *(here / name for name in ("data", "envs", "tests", "workflow"))}


def _filled(section: _Section, values: dict[str, Any]) -> Any:
    """Return a section with values for what it leaves open."""
    return section.model_copy(update={key: value for key, value in values.items() if getattr(section, key) is None})


class Params(_Section):
    """All of ``params.yaml``.

    What a protocol decides is None where the file leaves it open: read ``corruption`` and ``train`` of a dataset
    through ``corruption_for`` and ``train_for``.
    """

    results: str = Field("results", description="folder for everything that the workflow makes")
    protocol: ProtocolName = Field(
        "elision", description="protocol, which decides what the sections corruption and train leave open"
    )
    datasets: dict[Name, SerializeAsAny[DatasetSettings]] = Field(
        min_length=1, description="name: {source: ..., settings of that source}"
    )
    methods: Annotated[list[Variant], AfterValidator(_unique)] = Field(
        min_length=1,
        max_length=_MOST_ENTRIES,
        description="names of methods, or name: {method: ..., hyperparameter: value}; or all: every method that is "
        "made for the task of every dataset",
    )
    seeds: Annotated[list[Seed], AfterValidator(_unique)] = Field(
        [1111, 1112, 1113], min_length=1, max_length=_MOST_ENTRIES, description="one run per seed"
    )
    features: Features = Features()
    stages: dict[str, dict[str, Any]] = Field(
        {}, description="hyperparameters of the stages that methods start from: {mmin_teacher: {epochs: 5}}"
    )
    corruption: Corruption = Corruption()
    train: Train = Train()
    statistics: Statistics = Statistics()

    @field_validator("results")
    @classmethod
    def _is_a_folder(cls, results: str) -> str:
        if not results.strip() or set(results) & set("{}\n\0") or Path(results).resolve() in _not_for_results():
            raise ValueError(f"{_short(results)} cannot hold results; give a folder of their own, such as results")
        return results

    @field_validator("methods", mode="before")
    @classmethod
    def _read_methods(cls, methods: Any, info: ValidationInfo) -> Any:
        if methods != "all":
            return methods
        tasks = {settings.task for settings in info.data.get("datasets", {}).values()}
        return [name for name in method_names() if name not in stage_names() and tasks.issubset(made_for(name))]

    @field_validator("stages")
    @classmethod
    def _know_stages(cls, stages: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, settings in stages.items():
            _known(name, stage_names(), "stage")
            if "method" in settings:
                raise ValueError(f"{name}.method: a stage is always the method of its name; leave it out")
            _in_range(name, settings)
        return stages

    @field_validator("datasets", mode="before")
    @classmethod
    def _read_datasets(cls, datasets: Any) -> Any:
        if not isinstance(datasets, dict):
            raise ValueError("give a mapping `name: {source: ...}`")
        read, problems = {}, []
        for name, entry in datasets.items():
            if not isinstance(entry, dict) or "source" not in entry:
                raise ValueError(f"{name}: say where it comes from: source: {' | '.join(source_names())}")
            source = _known(entry["source"], source_names(), "source")
            settings = dataset_source(source).Settings
            try:
                read[name] = settings.model_validate(entry)
            except ValidationError as error:
                problems += [f"{name}.{line}" for line in _explain(error, settings)]
        if problems:
            raise ValueError("\n".join(problems))
        return read

    @model_validator(mode="after")
    def _check_names(self) -> "Params":
        _file_names("datasets", self.datasets)
        for name, variant in self.variants.items():
            if variant.method != name and name in method_names() and name in stage_names():
                raise ValueError(
                    f"methods.{name}: {name} is the name of a stage, which is always the method {name}, but this row "
                    f"is the method {variant.method}; give the row another name"
                )
            if name in self.stages:
                raise ValueError(
                    f"stages.{name}: methods lists {name}, too, and both are one trained run; set its hyperparameters "
                    f"under methods: {{{name}: {{...}}}}"
                )
        _file_names("methods", self.entries)
        return self

    @model_validator(mode="after")
    def _check_protocols(self) -> "Params":
        for name, settings in self.datasets.items():
            which = self.protocol_name(name)
            if PROTOCOLS[which].folds and not settings.fold_count():
                raise ValueError(f"protocol {which} is defined for folds; give dataset {name!r} folds")
            if self.corruption_for(name).masks == "lnln" and settings.fold_count():
                raise ValueError(f"masks lnln are those of one test split, but dataset {name!r} has folds")
        return self

    def protocol_name(self, dataset: str) -> str:
        """Name the protocol of a dataset."""
        return self.datasets[dataset].protocol or self.protocol

    def protocol_of(self, dataset: str) -> Protocol:
        """Return the protocol of a dataset."""
        return PROTOCOLS[self.protocol_name(dataset)]

    def corruption_for(self, dataset: str) -> Corruption:
        """Return the test conditions of a dataset, with what its protocol decides."""
        values = self.protocol_of(dataset).settings()
        filled = _filled(self.corruption, values["corruption"])
        return filled.model_copy(update={"noise": _filled(self.corruption.noise, values["noise"])})

    def train_for(self, dataset: str) -> Train:
        """Return how methods are trained on a dataset, with what its protocol decides."""
        return _filled(self.train, self.protocol_of(dataset).settings()["train"])

    def protocol_text(self, dataset: str) -> str:
        """Name the protocol of a dataset with the settings that replace its own: ``lnln (train.epochs: 20)``."""
        sections = {"corruption": self.corruption, "noise": self.corruption.noise, "train": self.train}
        replaced = [
            f"{'corruption.' if name == 'noise' else ''}{name}.{key}: {getattr(section, key)}"
            for name, section in sections.items()
            for key, value in self.protocol_of(dataset).settings()[name].items()
            if getattr(section, key) not in (None, value)
        ]
        name = self.protocol_name(dataset)
        return f"{name} ({', '.join(replaced)})" if replaced else name

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """Variants by name, in the order of the file."""
        return {variant.name: variant for variant in self.methods}

    @cached_property
    def trained(self) -> dict[str, Variant]:
        """All that is trained, by name: the variants, and the stages that they start from."""
        found, waiting = dict(self.variants), [variant.method for variant in self.methods]
        while waiting:
            for stage in needs(waiting.pop()):
                found.setdefault(stage, self.stage(stage))
                waiting.append(stage)
        return found

    @cached_property
    def looked_up(self) -> dict[tuple[str, str], str]:
        """Digests of what the params name outside themselves, which `recipe.Recipes` looks up once."""
        return {}

    @property
    def entries(self) -> dict[str, Variant]:
        """All that ``methods:`` and ``stages:`` list, and the stages that methods start from, by name."""
        return {name: self.stage(name) for name in self.stages} | self.trained

    def stage(self, name: str) -> Variant:
        """Return a stage with what ``stages`` sets."""
        return Variant.model_validate({name: self.stages.get(name, {})})

    def runs(self, dataset: str) -> list[str]:
        """Return the names of the runs of every method on a dataset: ``seed-S``, or ``seed-S.fold-F``."""
        folds = self.datasets[dataset].fold_count()
        ends = [f".fold-{fold}" for fold in range(1, folds + 1)] if folds else [""]
        return [f"seed-{seed}{end}" for seed in self.seeds for end in ends]


def source_names() -> list[str]:
    """Return the datasets that can be read: the files of ``elision/datasets``."""
    return list(_modules("elision.datasets"))


def method_names() -> list[str]:
    """Return the methods: the files of ``elision/methods`` that define one."""
    return [name for name in _modules("elision.methods") if name not in {"base", "layers"}]


@lru_cache
def _attributes(method: str) -> dict[str, ast.expr]:
    """Parse what is assigned in the class of a method, without PyTorch."""
    spec = importlib.util.find_spec(f"elision.methods.{method}")
    for cls in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(cls, ast.ClassDef):
            values = {}
            for node in cls.body:
                if isinstance(node, ast.Assign | ast.AnnAssign):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    values |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
            if "name" in values and ast.literal_eval(values["name"]) == method:
                return values
    return {}


def _literal(method: str, attribute: str) -> Any:
    """Return an attribute of a method's class that is written as a literal; None, if the class does not set it."""
    values = _attributes(method)
    try:
        return ast.literal_eval(values[attribute]) if attribute in values else None
    except ValueError:
        raise ElisionError(
            f"methods/{method}.py: {attribute} must be written as a literal, such as ('name',): the workflow reads it "
            "without PyTorch"
        ) from None


def made_for(method: str) -> tuple[TaskKind, ...]:
    """Return the tasks that a method can be trained for."""
    return tuple(map(TaskKind, _literal(method, "task") or TaskKind))


def needs(method: str) -> tuple[str, ...]:
    """Return the stages that a method starts from."""
    return _literal(method, "needs") or ()


def retrieves(method: str) -> str:
    """Return the stage whose retrieval database a method searches, or an empty string."""
    return _literal(method, "retrieves") or ""


def stage_names() -> list[str]:
    """Return the methods that others start from."""
    return sorted({stage for method in method_names() for stage in needs(method)})


@lru_cache
def dataset_source(name: str) -> ModuleType:
    """Import the module of a source.

    Raises
    ------
    ElisionError
        If the file is broken, or lacks what a source must have.
    """
    from elision.datasets._contract import check_source  # which imports this module

    try:
        __import__(f"elision.datasets.{name}")
    except Exception as error:  # whatever is wrong with a file of the user's own
        raise ElisionError(f"datasets/{name}.py cannot be imported ({error}); correct the file") from error
    check_source(sys.modules[f"elision.datasets.{name}"])
    return importlib.import_module(f"elision.datasets.{name}")


def user_files(params: Params, dataset: str) -> list[Path]:
    """Return the user's own files that a dataset reads."""
    settings = params.datasets[dataset]
    return dataset_source(settings.source).inputs(settings)


def text_encoder(params: Params, dataset: str) -> str | None:
    """Name the text encoder of a dataset's tokens; None, if the source has none.

    A source of sequences that has one says which in a function ``encoder(settings)``.
    """
    if extracted(params, dataset):
        return params.features.text.encoder
    settings = params.datasets[dataset]
    names = getattr(dataset_source(settings.source), "encoder", None)
    return names and names(settings)


def extracted(params: Params, dataset: str) -> list[str]:
    """Return what is extracted from the clips of a dataset: nothing for a source of sequences."""
    if dataset_source(params.datasets[dataset].source).MAKES == "sequences":
        return []
    return ["text", "audio", "vision", *(["text_features"] if params.features.text.frozen else [])]


def load(path: Path | str) -> Params:
    """Read and check ``params.yaml``.

    Hyperparameters of methods are checked by ``methods.check``, which needs PyTorch.

    Raises
    ------
    ElisionError
        Names every wrong key with the values that are allowed.
    """
    path = Path(path)
    try:
        content = strict_yaml.read(path)
    except FileNotFoundError:
        raise ElisionError(
            f"{path}: no such file; run from the folder that holds params.yaml, or give --params"
        ) from None
    if not isinstance(content, dict):
        raise ElisionError(f"{path}: must hold a mapping with the keys {', '.join(Params.model_fields)}")
    return checked(content, path)


def checked(content: dict[str, Any], where: Path | str) -> Params:
    """Check what ``params.yaml`` holds; ``where`` is for messages.

    Raises
    ------
    ElisionError
        Names every wrong key with the values that are allowed.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in _explain(error, Params))
        raise ElisionError(f"{where}: {plural(lines.count(chr(10)) + 1, 'wrong setting')}:\n{lines}") from None


def check_config(config: dict[str, Any]) -> None:
    """Check what Snakemake's ``--config`` and ``--configfile`` hold.

    Raises
    ------
    ElisionError
        If the workflow does not know a key, or a path is no text.
    """
    for key, value in config.items():
        if key not in CONFIG:
            raise ElisionError(f"--config: unknown key {key!r}; {suggestion(key, list(CONFIG))}")
        if key != "adopt" and not (isinstance(value, str) and value):
            raise ElisionError(f"--config: {key} is {value!r}; give a path, as in --config {key}={CONFIG[key]}")


def suggestion(word: str, allowed: list[str]) -> str:
    """Return "did you mean ...? allowed: ..." for a word that is not allowed."""
    near = get_close_matches(str(word), allowed, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"allowed: {', '.join(allowed) or 'nothing'}"


def _known(word: str, allowed: list[str], noun: str) -> str:
    if word not in allowed:
        raise ValueError(f"unknown {noun} {word!r}; {suggestion(word, allowed)}")
    return word


@lru_cache
def _modules(package: str) -> tuple[str, ...]:
    folder = importlib.import_module(package).__path__
    return tuple(sorted(info.name for info in pkgutil.iter_modules(folder) if not info.name.startswith("_")))


def _explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per mistake: the key, what is wrong, what is allowed."""
    lines = []
    for problem in error.errors():
        *parents, last = problem["loc"] or ("",)
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            fields = _fields_at(model, parents)
            lines.append(f"{key}: unknown key; {suggestion(last, fields)}")
        elif problem["type"] == "value_error":
            lines += [
                line if not key else f"{key}.{line}" if "." in line.split(":")[0] else f"{key}: {line}"
                for line in str(problem["ctx"]["error"]).split("\n")
            ]
        else:
            allowed = re.findall("'([^']*)'", problem.get("ctx", {}).get("expected", ""))
            near = get_close_matches(str(problem["input"]), allowed, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            lines.append(f"{key}: {problem['msg']} (found {_short(problem['input'])}){hint}")
    return lines


def _short(value: Any) -> str:
    """Return the beginning of what a value looks like."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _fields_at(model: type[BaseModel], parents: list) -> list[str]:
    for part in parents:
        field = model.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)

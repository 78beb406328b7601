"""``params.yaml``: every knob that a user turns, checked before any work starts.

Datasets and methods are found by the files of ``datasets/`` and ``methods/``: a new one needs no entry here.
"""

import ast
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from elision import published
from elision.corruption import medium
from elision.corruption.kind import kinds
from elision.corruption.plan import conditions
from elision.errors import ElisionError, plural
from elision.search import Entry
from elision.settings import strict_yaml
from elision.settings.fields import (
    AS_PROTOCOL,
    LARGEST_SEED,
    LONGEST,
    MOST_ENTRIES,
    AnyRate,
    Length,
    Rates,
    Scaled,
    Section,
    Seed,
    explained,
    short,
    suggestion,
    unique,
)
from elision.settings.protocols import DEFAULT, Protocol, protocol
from elision.task import CORPORA, MODALITIES, TaskKind

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"


def _renamed(**names: str) -> BeforeValidator:
    """Refuse a value of an earlier version by the name that it has now."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in names:
            raise ValueError(f"{value} is now called {names[value]}; write {names[value]}")
        return value

    return BeforeValidator(check)


def _known_media(entries: dict[str, medium.At]) -> dict[str, medium.At]:
    for name, entry in entries.items():
        medium.check_options(medium.known(name), entry.options)
    return entries


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _once_each(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(unique(list(values)))


def _is_protocol(name: str) -> str:
    try:
        protocol(name)
    except ElisionError as error:
        raise ValueError(str(error)) from None
    return name


if TYPE_CHECKING:  # what is found by its place is no type that a checker can read
    ProtocolName = str
    TrainingCorruption = str
    PublishedCorpus = str
    CorpusName = str
else:
    ProtocolName = Annotated[str, AfterValidator(_is_protocol)]
    TrainingCorruption = Annotated[
        Literal[tuple(kind.name for kind in kinds().values() if kind.training)],
        _renamed(lnln="half_complete", mixed="combined"),
    ]
    PublishedCorpus = Literal[published.CORPORA]
    CorpusName = Literal[tuple(CORPORA)]

# Keys of Snakemake's --config, with examples; `elision adopt` sets the last one.
CONFIG = {"params": "params.yaml", "results": "results", "adopt": "1"}

_LARGEST_SCORE = 1e9

_MANIFEST = "MANIFEST"  # the file beside the folders that have the names of datasets

Name = Annotated[str, Field(pattern=NAME, max_length=80)]  # part of names of files
ClassName = Annotated[str, Field(pattern=r"^[^,:]+$")]


def _file_names(section: str, names: Iterable[str]) -> None:
    """Refuse names that cannot all be names of folders in the results, on every file system."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() == _MANIFEST.lower():
            raise ValueError(f"{section}.{name}: the workflow writes a file of this name; choose another name")
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ValueError(
                f"{section}.{name}: {name} and {other} differ only in upper and lower case, which some file systems "
                "ignore; choose another name"
            )


# Of sources of published feature files: what is made from them may be put beside what was published.
AS_CORPUS: Any = Field(
    default_factory=lambda settings: corpus if (corpus := settings.get("corpus")) in published.CORPORA else None,
    description="compare with the published numbers of this corpus (default: `corpus`, if it has any; null: no "
    "comparison)",
)


class Folds(Section):
    """Folds. All samples of a group are in one fold."""

    by: str = Field(
        "speaker", description="column of the samples that defines the groups: speaker, session, id, or another column"
    )
    count: int = Field(
        ge=2, le=10_000, description="number of folds; with one fold per group, each group is tested alone"
    )
    validation: float = Field(
        0.1, gt=0, lt=1, description="share of the training samples that are used for validation; at least one group"
    )
    validation_by: str | None = Field(
        None,
        description="column whose groups are used for validation, drawn in proportion to the classes: dialogue, id, or "
        "another column (null: the groups of `by`)",
    )
    seed: Seed = Field(1111, description="seed for the assignment of groups to folds")


class DatasetSettings(Section):
    """What every dataset entry has; ``Settings`` of each file in ``datasets/`` extends it."""

    source: str = Field(description="kind of data: a file of workflow/elision/datasets/, such as demo, clips or mmsa")
    corpus: CorpusName = Field("mosi", description="corpus whose range of labels, metrics and defaults apply")
    task: TaskKind = Field(TaskKind.REGRESSION, description="regression (labels are scores) or classification")
    classes: Annotated[list[ClassName], AfterValidator(unique)] | None = Field(
        None,
        min_length=2,
        max_length=MOST_ENTRIES,
        description="names of the classes, in order (null: the classes of the source)",
    )
    cuts: list[float] | None = Field(
        None,
        description="ascending thresholds that turn scores into classes; needs len(classes) - 1 values",
    )
    scale: tuple[float, float] | None = Field(
        None,
        description="lowest and highest score of the labels, such as [1, 7], which become the ends of the range of the "
        "corpus (null: labels have the range of the corpus)",
    )
    skip_unlabelled: bool = Field(
        False, description="leave out samples without a label, and count them; false: such a sample is an error"
    )
    folds: Folds | None = Field(None, description="cross-validation instead of the splits of the source")
    protocol: ProtocolName | None = Field(
        None,
        description="protocol of this dataset (null: the protocol of all datasets; in place of elision, sources of "
        "utterance vectors have the protocol utterances)",
    )
    standardise: Scaled = Field(
        ["audio", "vision"],
        description="modalities whose dimensions are scaled to mean 0 and variance 1 of the observed training frames: "
        "a list of audio and vision, true (both) or false (none)",
    )
    scale_by: Literal["training", "all"] = Field(
        "training",
        description="samples whose frames are measured for standardise. training: those of the training split (of the "
        "fold); all: every sample, tested ones included, as the code of MMIN does for MSP-IMPROV",
    )
    test_on: Annotated[list[Name], BeforeValidator(_listed), AfterValidator(unique)] = Field(
        [],
        description="other datasets with the same labels and features, a name or a list: the methods of this dataset "
        "are tested on the test splits of these datasets, too",
    )
    published: PublishedCorpus | None = Field(
        None, description="compare with the published numbers of this corpus (null: no comparison)"
    )
    media: Annotated[dict[str, medium.At], AfterValidator(_known_media)] = Field(
        {},
        description="corruption of all clips before their features are extracted, those of training as well: "
        "{kind: severity}, such as {white_noise: 3}, in the order in which it happens (docs/media.md)",
    )

    # In place of the default protocol, where neither the dataset nor the params name another.
    usual_protocol: ClassVar[str] = DEFAULT

    @model_validator(mode="after")
    def _check_classes(self) -> "DatasetSettings":
        if self.task is TaskKind.REGRESSION and (self.classes or self.cuts):
            raise ValueError("classes and cuts need task: classification; set it, or leave them out")
        if self.cuts is not None and len(self.classes or ()) != len(self.cuts) + 1:
            raise ValueError(
                f"{len(self.cuts)} cuts make {len(self.cuts) + 1} classes; list that many names under classes"
            )
        if self.cuts is not None and any(b <= a for a, b in pairwise(self.cuts)):
            raise ValueError("cuts must be ascending; sort the values, and leave out duplicates")
        if self.scale is not None and self.scale[0] >= self.scale[1]:
            raise ValueError("scale must be the lowest score and then the highest, such as [1, 7]")
        if self.scale is not None and self.task is TaskKind.CLASSIFICATION:
            raise ValueError("scale needs task: regression; write cuts in the units of the labels, and leave out scale")
        return self

    @model_validator(mode="after")
    def _check_numbers(self) -> "DatasetSettings":
        for key in type(self).model_fields:
            value, most = getattr(self, key), LARGEST_SEED if key == "seed" else LONGEST
            if isinstance(value, int) and value > most:
                raise ValueError(f"{key} is {short(value)}; at most {most} is allowed")
        return self

    @property
    def labels_are_names(self) -> bool:
        """Whether the labels of the source are names of classes."""
        return self.task is TaskKind.CLASSIFICATION and self.cuts is None

    @property
    def label_limits(self) -> tuple[float, float]:
        """Lowest and highest score: ``scale``, or the range of the corpus; classes and cuts set no limit."""
        if self.scale is not None:
            return self.scale
        largest = CORPORA[self.corpus].label_range if self.task is TaskKind.REGRESSION else None
        return -(largest or _LARGEST_SCORE), largest or _LARGEST_SCORE

    def fold_count(self) -> int:
        """Return the number of folds; 0 without folds."""
        return self.folds.count if self.folds else 0


_MOST_FRAMES = "most frames; audio and vision of a longer clip are cut at the same second (null: no limit)"


class _OfHub(Section):
    """Settings of a model of the Hugging Face hub that extracts features (``extractor: hf``).

    A class that extends this one names in ``_WITHOUT_HUB`` its settings that such a model does not have, in
    ``_WITH_HUB`` those that only such a model has, and in ``_OF_MACHINE`` those that change no value.
    """

    extractor: str
    model: str | None = Field(
        None, min_length=1, description="extractor hf: id of a model on the Hugging Face hub, or a local folder"
    )
    revision: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[\w.-]+$",
        description="extractor hf: commit, branch or tag of the model (null: main, as it was fetched)",
    )
    layers: Annotated[tuple[int, ...], AfterValidator(_once_each)] = Field(
        (-4, -3, -2, -1),
        min_length=1,
        max_length=MOST_ENTRIES,
        description="extractor hf: hidden states whose mean is taken; 0 is the input of the first layer, -1 the last",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="extractor hf: number format of the model; features are float32 in each"
    )

    _WITHOUT_HUB: ClassVar[tuple[str, ...]] = ()
    _WITH_HUB: ClassVar[tuple[str, ...]] = ("model", "revision", "layers", "precision")
    _OF_MACHINE: ClassVar[tuple[str, ...]] = ()

    @property
    def hub(self) -> bool:
        """Whether a model of the hub extracts the features."""
        return self.extractor == "hf"

    def described(self) -> dict[str, Any]:
        """Return the settings that decide values, as a JSON value: none that the extractor does not have."""
        foreign = self._WITHOUT_HUB if self.hub else self._WITH_HUB
        return self.model_dump(mode="json", exclude={*foreign, *self._OF_MACHINE})

    @model_validator(mode="after")
    def _check_hub(self) -> "_OfHub":
        if self.hub and self.model is None:
            raise ValueError("extractor: hf needs a model; give the id of a model on the Hugging Face hub, or a folder")
        for key in self._WITHOUT_HUB if self.hub else self._WITH_HUB:
            field = type(self).model_fields[key]
            if key in self.model_fields_set and getattr(self, key) != field.default:
                needs = "belongs to another extractor than hf" if self.hub else "needs extractor: hf"
                raise ValueError(f"{key} {needs}; leave out {key}, or change the extractor")
        return self


class TextFeatures(_OfHub):
    """Tokenisation of the transcripts, and the vectors of tokens."""

    extractor: Literal["encoder", "hf"] = Field(
        "encoder",
        description="what makes text vectors of the transcripts: the encoder, or a model of the Hugging Face hub "
        "(hf: docs/features.md)",
    )
    encoder: str = Field("minilm", description="minilm (embedded), a Hugging Face id, or a local folder")
    max_length: int = Field(
        50, ge=3, le=LONGEST, description="largest number of tokens, with [CLS] and [SEP]; longer transcripts are cut"
    )
    frozen: bool = Field(
        False,
        description="make text vectors of the transcripts, even if no method reads vectors (for export to MMSA)",
    )
    recogniser: str | None = Field(
        None,
        min_length=1,
        description="recogniser of the words of every clip: pocketsphinx, or a folder or Hugging Face id of Whisper, "
        "such as openai/whisper-small; methods then read these words in place of the transcripts (docs/media.md). "
        "null: methods read the transcripts",
    )

    def described(self) -> dict[str, Any]:
        """Return the settings that decide token ids and vectors."""
        return {**self.tokens(), **self.vectors()}

    def tokens(self) -> dict[str, Any]:
        """Return the settings that decide token ids."""
        return self.model_dump(include={"encoder", "max_length", "recogniser"})

    def vectors(self) -> dict[str, Any]:
        """Return the settings of the model of the hub that makes vectors of tokens; none without such a model."""
        return self.model_dump(mode="json", include={"extractor", *self._WITH_HUB}) if self.hub else {}


class _FramesOfHub(_OfHub):
    """Settings of a model of the hub that makes a sequence of vectors, of sound or of pictures."""

    pool: Literal["frames", "mean"] = Field(
        "frames", description="extractor hf: a vector per frame, or the mean of the observed frames of a clip"
    )
    device: str = Field("auto", pattern=DEVICE, description="extractor hf: auto, cpu, mps, cuda or cuda:N")

    _WITH_HUB: ClassVar[tuple[str, ...]] = (*_OfHub._WITH_HUB, "pool", "device", "batch_size")
    _OF_MACHINE: ClassVar[tuple[str, ...]] = ("device",)


# Samples between two frames of wav2vec 2.0, HuBERT, WavLM and Whisper, and their sampling rate.
_OF_SOUND_MODELS = {"sample_rate": 16000, "hop_length": 320}


class AudioFeatures(_FramesOfHub):
    """MFCC, CQT chroma and log F0 (the CH-SIMS set), or the hidden states of a model of the hub."""

    extractor: Literal["librosa", "hf"] = Field(
        "librosa",
        description="librosa (MFCC, chroma and log F0), or a model of the Hugging Face hub (hf: docs/features.md)",
    )
    sample_rate: int = Field(22050, ge=8000, le=400_000, description="sampling rate, Hz (extractor hf: 16000)")
    hop_length: int = Field(
        512, ge=64, le=100_000, description="samples between frames (extractor hf: 320, or as the model has it)"
    )
    mfcc: int = Field(20, ge=1, le=1000, description="number of mel-frequency cepstral coefficients")
    chroma: int = Field(12, ge=12, le=120, description="number of constant-Q chroma bins")
    f0_min: float = Field(65.0, gt=0, description="lowest fundamental frequency of pYIN, Hz")
    f0_max: float = Field(500.0, gt=0, le=100_000, description="highest fundamental frequency of pYIN, Hz")
    batch_size: int = Field(4, ge=1, le=100_000, description="extractor hf: pieces of a long clip per forward pass")
    max_length: Length | None = Field(400, description=_MOST_FRAMES)
    gating: bool = Field(
        False,
        description="reduce steady noise by spectral gating, before features are extracted: in all clips, and in "
        "corrupted test clips (docs/media.md)",
    )

    _WITHOUT_HUB: ClassVar[tuple[str, ...]] = ("mfcc", "chroma", "f0_min", "f0_max")

    @model_validator(mode="before")
    @classmethod
    def _as_sound_models(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("extractor") == "hf":
            return {**_OF_SOUND_MODELS, **content}
        return content

    def described(self) -> dict[str, Any]:
        """Return the settings that decide values; without the name of librosa, which was once the only extractor."""
        found = super().described()
        return found if self.hub else {key: value for key, value in found.items() if key != "extractor"}

    @model_validator(mode="after")
    def _check_range(self) -> "AudioFeatures":
        if self.f0_min >= self.f0_max:
            raise ValueError(f"f0_min is {self.f0_min:g} Hz, but must be lower than f0_max, {self.f0_max:g} Hz")
        return self


class VisionFeatures(_FramesOfHub):
    """Face analysis."""

    extractor: Literal["mediapipe", "pyfeat", "hf"] = Field(
        "mediapipe",
        description="mediapipe (embedded, CPU), pyfeat (GPU, downloaded weights), or a model of the Hugging Face hub "
        "that sees the face (hf: docs/features.md)",
    )
    fps: float | None = Field(
        None, gt=0, le=1000, description="number of frames to analyse per second (null: every frame)"
    )
    centre: Literal["none", "clip", "speaker"] = Field(
        "none",
        description="mean to subtract from the frames: none, of the clip, or of all clips of the speaker",
    )
    batch_size: int = Field(16, ge=1, le=100_000, description="frames per forward pass (pyfeat, hf)")
    max_length: Length | None = Field(400, description=_MOST_FRAMES)
    fill: Literal["none", "last", "interpolate"] = Field(
        "none",
        description="values of frames without a face. last: those of the last frame with a face. interpolate: those on "
        "the line between the frames with a face around them. none: such frames are not observed (docs/media.md)",
    )

    _WITH_HUB: ClassVar[tuple[str, ...]] = (*_OfHub._WITH_HUB, "pool", "device")

    @property
    def faces(self) -> str:
        """What finds faces: the extractor, or mediapipe for a model of the hub."""
        return "mediapipe" if self.hub else self.extractor

    @model_validator(mode="after")
    def _check_centre(self) -> "VisionFeatures":
        if self.pool == "mean" and self.fill != "none":
            raise ValueError(
                f"fill: {self.fill} has no effect with pool: mean, the mean of observed frames; leave it out"
            )
        if self.pool == "mean" and self.centre == "clip":
            raise ValueError(
                "centre: clip subtracts the mean of a clip, which is all that pool: mean keeps; leave one out"
            )
        return self


class Features(Section):
    """Extraction of sequences from clips."""

    shards: int = Field(4, ge=1, le=10_000, description="jobs per dataset and modality; a job should take some minutes")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="what to do if a clip fails: stop the workflow, or skip and count the clip"
    )
    text: TextFeatures = TextFeatures()
    audio: AudioFeatures = AudioFeatures()
    vision: VisionFeatures = VisionFeatures()

    def device_of(self, modality: str) -> str:
        """Return the device on which a modality is extracted, as ``train.device``."""
        section = getattr(self, modality)
        if modality == "text":
            return "auto" if section.recogniser else "cpu"
        return str(section.device) if section.hub else "auto" if section.extractor == "pyfeat" else "cpu"


class OwnFeatures(Section):
    """Extraction of single modalities of one dataset: each replaces that of ``features`` as a whole."""

    text: TextFeatures | None = Field(None, description="text of this dataset (null: as features.text)")
    audio: AudioFeatures | None = Field(None, description="audio of this dataset (null: as features.audio)")
    vision: VisionFeatures | None = Field(None, description="vision of this dataset (null: as features.vision)")


class ClipSettings(DatasetSettings):
    """What every dataset of clips has; ``Settings`` of a source of clips extends it."""

    features: OwnFeatures = Field(
        OwnFeatures(),
        description="extraction of text, audio or vision for this dataset alone; what is given for a modality replaces "
        "features.MODALITY as a whole (docs/features.md)",
    )


class _Corruption(Section):
    """Settings that all test conditions share. Each kind of corruption adds one setting."""

    seed: Seed | Literal["run"] = Field(
        1111,
        description="seed for the test masks; all methods and runs get the same masks. run: each run has masks of its "
        "own, whose seed is that of the run; means over runs are then means over masks, too",
    )
    masks: Annotated[Literal["per_sample", "shared"] | None, _renamed(keyed="per_sample", lnln="shared")] = Field(
        None,
        description="per_sample: missing frames are drawn for each sample and modality; shared: one array of random "
        f"numbers serves all modalities, splits and runs, as in the code of LNLN; {AS_PROTOCOL}",
    )


def _corruption() -> type[_Corruption]:
    fields: dict[str, Any] = {}
    for name, kind in kinds().items():
        if kind.setting:
            of_type, default, description = kind.setting
            fields[name] = (of_type, Field(default, description=description))
    return create_model("Corruption", __base__=_Corruption, __doc__="Test conditions.", **fields)


if TYPE_CHECKING:
    Corruption: TypeAlias = _Corruption  # the settings of kinds are not known before they are looked for
else:
    Corruption = _corruption()


class Train(Section):
    """Training of all methods. A hyperparameter of a method takes precedence."""

    corruption: TrainingCorruption | None = Field(
        None,
        description="; ".join(f"{kind.name}: {kind.training}" for kind in kinds().values() if kind.training)
        + f"; {AS_PROTOCOL}",
    )
    rates: Annotated[Rates, Field(min_length=1)] | None = Field(
        None,
        description="missing rates of train.corruption: each training sample draws one of them (null: those of the "
        "kind of corruption, "
        + "; ".join(
            f"{kind.name}: {kind.training_rates[0]:g}, {kind.training_rates[1]:g} ... {kind.training_rates[-1]:g}"
            for kind in kinds().values()
            if kind.training_rates
        )
        + ")",
    )
    with_complete: bool | None = Field(
        None,
        description="true: under the training corruptions absent and noise, complete data are one more set of "
        f"modalities, with the chance of each other set; false: no training sample is complete; {AS_PROTOCOL}",
    )
    redraw: Literal["epoch", "never"] | None = Field(
        None, description=f"epoch: draw new training masks in every epoch; never: draw them once; {AS_PROTOCOL}"
    )
    clean: Literal["offered", "hidden"] = Field(
        "offered",
        description="offered: methods may also learn from the training samples as they were before the corruption; "
        "hidden: they see the corrupted samples alone, as if the data were incomplete; methods that need complete data "
        "are refused",
    )
    validation_rate: AnyRate | None = Field(
        None, description="missing rate of the validation split (null: as the protocol says, or as in training)"
    )
    selection: Literal["valid", "test_oracle"] | None = Field(
        None,
        description="valid: choose one checkpoint on the validation split; test_oracle: choose one checkpoint per "
        "metric on the TEST split, and mark all results; " + AS_PROTOCOL,
    )
    watch: Literal["metric", "loss"] | None = Field(
        None,
        description="value on the validation split that chooses the checkpoint, and that patience and learning rates "
        "follow. metric: MAE of scores (clipped on CH-SIMS), UA of classes; loss: the error in the loss of the method, "
        "never clipped; " + AS_PROTOCOL,
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=LONGEST,
        description="number of epochs of every method (null: as the protocol says, or as each method says)",
    )
    device: str = Field("auto", pattern=DEVICE, description="auto, cpu, mps, cuda or cuda:N")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="number format of matrix products and what follows them. bfloat16 is faster on hardware that "
        "computes with it; weights, losses, metrics and files are float32 in both. TF32 is never used",
    )
    compile: bool = Field(
        False,
        description="true compiles the computations of each method with torch.compile. Compilation takes minutes per "
        "job, needs a C++ compiler (on a GPU also Triton), and can change results in the last digits",
    )
    jobs_per_gpu: int = Field(1, ge=1, le=100, description="jobs that share one GPU at the same time")
    seeds_per_job: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] | Literal["all"] = Field(
        1,
        description="runs of a method (seeds, and folds of a seed) that one job trains or evaluates, one after the "
        "other; all: every run of the method on a dataset",
    )
    threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="CPU threads per training run; changing it can change results in the last digits",
    )


Unit = Annotated[str, Field(min_length=1)]


class Statistics(Section):
    """Bootstrap intervals, and tests of differences between methods."""

    resamples: int = Field(
        1000,
        ge=100,
        le=1_000_000,
        description="number of bootstrap resamples of the test utterances; all methods share the resamples",
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="confidence level of the intervals and of the critical difference"
    )
    seed: Seed = Field(1111, description="seed for the resamples")
    cluster: Unit | dict[Name, Unit] = Field(
        "speaker",
        description="unit of resampling: speaker, dialogue, video (the part of the id before $_$), none (single "
        "utterances), or another column of the samples; or a mapping from datasets to units. With fewer than 8 units "
        "in the test split, the next finer unit is used, and the report says so",
    )

    def cluster_of(self, dataset: str) -> str:
        """Return the unit of resampling of a dataset; speaker where a mapping does not name the dataset."""
        return self.cluster if isinstance(self.cluster, str) else self.cluster.get(dataset, "speaker")


class Report(Section):
    """What the report has beside the numbers."""

    check: bool = Field(
        False,
        description="true: check the first run of every method, and list the findings in a table (docs/checks.md)",
    )


class Tune(Section):
    """Search of hyperparameters on the validation split. Every tuned method gets the same number of trials."""

    trials: int = Field(30, ge=1, le=10_000, description="trainings of each tuned method on each dataset (and fold)")
    methods: list[Name] | None = Field(
        None,
        min_length=1,
        max_length=MOST_ENTRIES,
        description="rows and teachers to tune (null: all rows that are no floors)",
    )
    space: dict[Name, dict[str, Entry]] = Field(
        {},
        description="what is searched in place of the default space, by row: {hyperparameter: {low: ..., high: ..., "
        "log: true}}, a list of values, or null (not searched)",
    )
    seed: Seed | None = Field(
        None, description="seed of the search and of its trainings; one of the seeds of the runs (null: the first seed)"
    )
    trials_at_once: int = Field(
        1,
        ge=1,
        le=1000,
        description="1: one job makes all trials of a method, and each trial knows all trials before it. More: one "
        "job makes one trial; trials run in rounds of this size, and know the trials of earlier rounds alone. Changes "
        "which values are tried",
    )
    prune_after: int | None = Field(
        5,
        ge=1,
        le=LONGEST,
        description="epochs after which a trial can end early. A trial ends if its best validation score is worse "
        "than the median of the finished trials at the same epoch. null: no trial ends early",
    )

    @field_validator("methods")
    @classmethod
    def _each_once(cls, methods: list[str] | None) -> list[str] | None:
        return methods and unique(methods)

    @field_validator("space")
    @classmethod
    def _check_space(cls, space: dict[str, dict[str, Entry]]) -> dict[str, dict[str, Entry]]:
        for name, entries in space.items():
            _in_range(name, {key: entry for key, entry in entries.items() if isinstance(entry, list)})
        return space

    def known_to(self, trial: int) -> range:
        """Return the numbers of the trials that a trial knows: those of earlier rounds of ``trials_at_once``."""
        return range(trial - trial % self.trials_at_once)


def check_cluster(cluster: str, columns: Iterable[str], where: str = "") -> None:
    """Refuse a unit of resampling that is no column of the samples; ``where`` is the dataset, for messages.

    Raises
    ------
    ElisionError
    """
    if cluster not in (allowed := ["speaker", "video", "none", *columns]):
        of = f" for {where}" if where else ""
        raise ElisionError(f"statistics.cluster: unknown unit {cluster!r}{of}; {suggestion(cluster, allowed)}")


def _in_range(name: str, hyperparameters: dict[str, Any]) -> None:
    for key, value in hyperparameters.items():
        for number in value if isinstance(value, list) else (value,):
            if isinstance(number, int | float) and not abs(number) <= LONGEST:
                raise ValueError(f"{name}.{key}: {short(number)} is out of range; at most {LONGEST} is allowed")


class Variant(Section):
    """A row of the tables: a method, or a method with other hyperparameters under a name of the user."""

    name: Name
    method: str
    overrides: dict[str, Any] = Field({})

    @model_validator(mode="before")
    @classmethod
    def _read_entry(cls, entry: Any) -> Any:
        if isinstance(entry, str):
            entry = {entry: {}}
        if not (isinstance(entry, dict) and len(entry) == 1):
            raise ValueError("write the name of a method, or `name: {method: ..., hyperparameter: value}`")
        ((name, settings),) = entry.items()
        if not isinstance(settings, dict | None):
            raise ValueError(f"{name}: write a mapping of hyperparameters, not {short(settings)}")
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


@cache
def _decided(section: str, name: str) -> Section:
    """Return a section as a protocol has it, with what the default protocol says where it is silent."""
    models: dict[str, type[Section]] = {"corruption": Corruption, "train": Train}
    model = models[section]
    default = model.model_validate(getattr(protocol(DEFAULT), section))
    return _filled(model.model_validate(getattr(protocol(name), section), context={"protocol": name}), default)


def _is_open(section: Section, key: str) -> bool:
    return key not in section.model_fields_set or getattr(section, key) is None


def _filled(section: Section, decided: Section) -> Any:
    """Return a section with what was decided for all that it leaves open."""
    values = {}
    for key in decided.model_fields_set:
        mine, theirs = getattr(section, key), getattr(decided, key)
        if isinstance(mine, Section) and isinstance(theirs, Section):
            values[key] = _filled(mine, theirs)
        elif _is_open(section, key):
            values[key] = theirs
    return section.model_copy(update=values)


def _replaced(section: Section, decided: Section, where: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings that stand in place of what was decided, with their values."""
    for key in type(section).model_fields:
        mine, theirs = getattr(section, key), getattr(decided, key)
        if isinstance(mine, Section) and isinstance(theirs, Section):
            yield from _replaced(mine, theirs, f"{where}.{key}")
        elif key in decided.model_fields_set and not _is_open(section, key) and mine != theirs:
            yield f"{where}.{key}", mine


class Params(Section):
    """All of ``params.yaml``.

    What a protocol decides is None where the file leaves it open: read ``corruption`` and ``train`` of a dataset
    through ``corruption_for`` and ``train_for``.
    """

    results: str = Field("results", description="folder for all files that the workflow makes")
    protocol: ProtocolName = Field(
        DEFAULT,
        description="protocol: a name in the list of `elision protocols`, or the path of a file. The protocol decides "
        "all settings that the sections corruption and train leave open",
    )
    datasets: dict[Name, SerializeAsAny[DatasetSettings]] = Field(
        min_length=1, description="name: {source: ..., settings of that source}"
    )
    methods: Annotated[list[Variant], AfterValidator(unique)] = Field(
        min_length=1,
        max_length=MOST_ENTRIES,
        description="list of methods: a name, or name: {method: ..., hyperparameter: value}. The word all stands for "
        "every method that supports the task of every dataset, and whose required modalities every dataset can have",
    )
    seeds: Annotated[list[Seed], AfterValidator(unique)] = Field(
        [1111, 1112, 1113],
        min_length=1,
        max_length=MOST_ENTRIES,
        description="one run per seed; if the key is left out, a protocol may have other seeds",
    )
    features: Features = Features()
    teachers: dict[str, dict[str, Any]] = Field(
        {},
        description="hyperparameters of teachers, for example {mmin_teacher: {epochs: 5}}; a row of methods that has "
        "the name of a teacher shows the teacher, and sets nothing",
    )
    corruption: Corruption = Corruption()
    train: Train = Train()
    statistics: Statistics = Statistics()
    report: Report = Report()
    tune: Tune | None = Field(
        None, description="search of hyperparameters on the validation split (docs/tuning.md; null: none)"
    )

    @field_validator("results")
    @classmethod
    def _is_a_folder(cls, results: str) -> str:
        if not results.strip() or set(results) & set("{}\n\0") or Path(results).resolve() in _not_for_results():
            raise ValueError(f"{short(results)} cannot be the folder of results; give a new folder, such as results")
        return results

    @field_validator("methods", mode="before")
    @classmethod
    def _read_methods(cls, methods: Any, info: ValidationInfo) -> Any:
        if methods != "all":
            return methods
        datasets = info.data.get("datasets", {}).values()
        return [name for name in _made_for_all(datasets) if not any(_why_not(entry, name) for entry in datasets)]

    @field_validator("teachers")
    @classmethod
    def _know_teachers(cls, teachers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, settings in teachers.items():
            _known(name, teacher_names(), "teacher")
            if "method" in settings:
                raise ValueError(f"{name}.method: the method of a teacher is always {name}; leave out method")
            _in_range(name, settings)
        return teachers

    @field_validator("datasets", mode="before")
    @classmethod
    def _read_datasets(cls, datasets: Any) -> Any:
        if not isinstance(datasets, dict):
            raise ValueError("write a mapping `name: {source: ...}`")
        read, problems = {}, []
        for name, entry in datasets.items():
            if not isinstance(entry, dict) or "source" not in entry:
                raise ValueError(f"{name}: the source is missing; write source: {' | '.join(source_names())}")
            source = _known(entry["source"], source_names(), "source")
            settings = dataset_source(source).Settings
            try:
                read[name] = settings.model_validate(entry)
            except ValidationError as error:
                problems += [f"{name}.{line}" for line in explained(error, settings)]
        if problems:
            raise ValueError("\n".join(problems))
        return read

    @model_validator(mode="before")
    @classmethod
    def _know_old_names(cls, content: Any) -> Any:
        if isinstance(content, dict) and "stages" in content:
            raise ValueError("stages: is now called teachers; write teachers:")
        return content

    @model_validator(mode="after")
    def _check_names(self) -> "Params":
        tests = [f"{name}-on-{other}" for name, entry in self.datasets.items() for other in entry.test_on]
        names = [*self.datasets, *tests]
        if twice := [name for name in tests if names.count(name) > 1]:
            raise ValueError(f"datasets: test_on makes results of the name {twice[0]} twice; rename a dataset")
        _file_names("datasets", names)
        starts = teacher_names()
        for variant in self.methods:
            name = variant.name
            if variant.method != name and name in starts:
                raise ValueError(
                    f"methods.{name}: {name} is the name of a teacher, but this row is the method {variant.method}; "
                    "give the row another name"
                )
            if name in starts and variant.overrides:
                keys = ", ".join(f"{key}: ..." for key in variant.overrides)
                raise ValueError(
                    f"methods.{name}: a row of this name shows the teacher from which methods start, and sets nothing; "
                    f"write teachers: {{{name}: {{{keys}}}}}, or train one more, from which no method starts: "
                    f"{name}-2: {{method: {name}, {keys}}}"
                )
        _file_names("methods", self.entries)
        return self

    @model_validator(mode="after")
    def _check_clusters(self) -> "Params":
        for name in self.statistics.cluster if isinstance(self.statistics.cluster, dict) else ():
            try:
                _known(name, list(self.datasets), "dataset")
            except ValueError as error:
                raise ValueError(f"statistics.cluster.{name}: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_tests(self) -> "Params":
        for name, settings in self.datasets.items():
            for other in settings.test_on:
                where = f"datasets.{name}.test_on"
                try:
                    tested = self.datasets[_known(other, [each for each in self.datasets if each != name], "dataset")]
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None
                ranges = [
                    each.task is TaskKind.REGRESSION and CORPORA[each.corpus].label_range for each in (settings, tested)
                ]
                compared = {
                    "task": (settings.task.value, tested.task.value),
                    "range of the labels": tuple(f"-{end:g} to {end:g}" if end else "none" for end in ranges),
                    "classes": tuple(
                        ", ".join(each.classes or ()) or "those of the source" for each in (settings, tested)
                    ),
                }
                for what, (ours, theirs) in compared.items():
                    if ours != theirs:
                        raise ValueError(
                            f"{where}: the {what} of {name} and of {other} differ ({ours}; {theirs}); give both the "
                            f"same, or leave {other} out"
                        )
                for modality in MODALITIES if extracted(self, name) and extracted(self, other) else ():
                    ways = [getattr(self.features_for(each), modality).described() for each in (name, other)]
                    if ways[0] != ways[1]:
                        raise ValueError(
                            f"{where}: the {modality} of {name} and of {other} is extracted in two ways; give both the "
                            f"same features.{modality}, or leave {other} out"
                        )
                if with_folds := [each for each in (name, other) if self.datasets[each].folds]:
                    raise ValueError(
                        f"{where}: {with_folds[0]} has folds in place of a test split; leave folds out, or leave "
                        f"{other} out"
                    )
        return self

    @model_validator(mode="after")
    def _check_protocols(self) -> "Params":
        for name, settings in self.datasets.items():
            if settings.task is TaskKind.REGRESSION and CORPORA[settings.corpus].label_range is None:
                raise ValueError(
                    f"datasets.{name}.corpus: {settings.corpus} has classes and no scores; write task: classification, "
                    "or give a corpus with scores"
                )
            which = self.protocol_name(name)
            for method in self.protocol_of(name).methods:
                try:
                    _known(method, method_names(), "method")
                except ValueError as error:
                    raise ValueError(f"protocol {which}: methods.{method}: {error}") from None
            if self.protocol_of(name).folds and not settings.fold_count():
                raise ValueError(f"protocol {which} needs folds; add folds to dataset {name!r}")
            try:
                corruption, _ = self.corruption_for(name), self.train_for(name)
            except ValidationError as error:
                lines = explained(error, Corruption if error.title == Corruption.__name__ else Train)
                raise ValueError(
                    "\n".join(f"protocol {which}: {error.title.lower()}.{line}" for line in lines)
                ) from None
            if corruption.masks == "shared" and settings.fold_count():
                raise ValueError(
                    f"masks: shared works with one test split, but dataset {name!r} has folds; write masks: per_sample"
                )
        return self

    @model_validator(mode="after")
    def _check_media(self) -> "Params":
        for name, settings in self.datasets.items():
            if settings.media and not extracted(self, name):
                raise ValueError(
                    f"datasets.{name}.media: source {settings.source} has features and no clips, which alone can be "
                    "corrupted; leave out media"
                )
            if (openface := getattr(settings, "openface", None)) and (
                found := [kind for kind in settings.media if medium.facts(kind).medium == "picture"]
            ):
                raise ValueError(
                    f"datasets.{name}.media: {found[0]} corrupts pictures, but the vision of {name} comes from the "
                    f"files of OpenFace in {short(openface)}; leave out {found[0]}"
                )
        heard = getattr(getattr(self.corruption, "media", None), "recogniser", None)
        for name in self.datasets:
            own = self.features_for(name).text.recogniser
            if heard and own not in (None, heard):
                raise ValueError(
                    f"corruption.media.recogniser is {heard!r}, but features.text.recogniser is {own!r}; leave out "
                    "corruption.media.recogniser"
                )
        if getattr(self.corruption, "media", None) and not any(extracted(self, name) for name in self.datasets):
            raise ValueError(
                "corruption.media: no dataset consists of clips, which alone can be corrupted; leave out "
                "corruption.media, or add a dataset of clips (docs/own-data.md)"
            )
        return self

    @model_validator(mode="after")
    def _check_tune(self) -> "Params":
        if self.tune is None:
            return self
        for name in self.tune.methods or ():
            try:
                _known(name, list(self.trained), "method")
            except ValueError as error:
                raise ValueError(f"tune.methods: {error}") from None
        if not self.tuned:
            raise ValueError("tune: all rows of methods are floors; name the rows to tune under tune.methods")
        for name in self.tune.space:
            try:
                _known(name, self.tuned, "tuned method")
            except ValueError as error:
                raise ValueError(f"tune.space.{name}: {error}") from None
        for dataset, settings in self.datasets.items():
            seeds = self.seeds_for(dataset)
            if self.tune.seed not in (None, *seeds):
                raise ValueError(
                    f"tune.seed is {self.tune.seed}, but the runs on dataset {dataset!r} have the seeds "
                    f"{', '.join(map(str, seeds))}; choose one of them"
                )
            if settings.scale_by == "all":
                raise ValueError(
                    f"datasets.{dataset}.scale_by: all measures test samples, which tuning must not see; write "
                    "scale_by: training, or leave out tune"
                )
        return self

    @cached_property
    def tuned(self) -> list[str]:
        """What is tuned: names of rows and teachers, in the order of the trainings; nothing without ``tune``."""
        if self.tune is None:
            return []
        chosen = self.tune.methods
        if chosen is None:
            chosen = [name for name, variant in self.variants.items() if not is_floor(variant.method)]
        return [name for name in self.trained if name in chosen]

    def tuning_run(self, dataset: str, run: str) -> str:
        """Return the run whose training, split and seed tune the hyperparameters of a run: of the same fold."""
        seeds, (_, dot, fold) = self.seeds_for(dataset), run.partition(".")
        seed = self.tune.seed if self.tune and self.tune.seed is not None else seeds[0]
        return f"seed-{seed}{dot}{fold}"

    def tuning_runs(self, dataset: str) -> list[str]:
        """Return the runs that tune hyperparameters on a dataset: one, or one per fold; none without ``tune``."""
        return list(dict.fromkeys(self.tuning_run(dataset, run) for run in self.runs(dataset))) if self.tune else []

    @property
    def studies(self) -> list[tuple[str, str, str]]:
        """Dataset, method and tuning run of each search."""
        return [(d, name, run) for d in self.datasets for name in self.tuned for run in self.tuning_runs(d)]

    def with_values(self, values: dict[str, dict[str, Any]]) -> "Params":
        """Return params whose rows and teachers have these hyperparameters in place of their own, by name."""
        starts = teacher_names()
        teachers = {n: {**self.teachers.get(n, {}), **found} for n, found in values.items() if n in starts}
        rows = [
            row.model_copy(update={"overrides": {**row.overrides, **values[row.name]}})
            if row.name in values and row.name not in starts
            else row
            for row in self.methods
        ]
        made = self.model_copy(update={"methods": rows, "teachers": {**self.teachers, **teachers}})
        for name in ("variants", "trained"):  # which follow from what was replaced
            made.__dict__.pop(name, None)
        return made

    @cached_property
    def tests(self) -> dict[str, tuple[str, str]]:
        """The dataset that methods are trained on, and the one whose test split they are tested on, by test.

        A test on its own test split has the name of the dataset; one on that of another, ``DATASET-on-OTHER``.
        """
        own = {name: (name, name) for name in self.datasets}
        others = ((name, other) for name, entry in self.datasets.items() for other in entry.test_on)
        return own | {f"{name}-on-{other}": (name, other) for name, other in others}

    def protocol_name(self, dataset: str) -> str:
        """Name the protocol of a dataset."""
        settings = self.datasets[dataset]
        usual = settings.usual_protocol if self.protocol == DEFAULT else self.protocol
        return settings.protocol or usual

    def protocol_of(self, dataset: str) -> Protocol:
        """Return the protocol of a dataset."""
        return protocol(self.protocol_name(dataset))

    def corruption_for(self, dataset: str) -> Corruption:
        """Return the test conditions of a dataset, with what its protocol decides; media, where it has clips."""
        found = _filled(self.corruption, _decided("corruption", self.protocol_name(dataset)))
        media = getattr(found, "media", None)
        if media and not extracted(self, dataset):
            return found.model_copy(update={"media": None})
        if media and getattr(self.datasets[dataset], "openface", None):
            media = media.without("picture")
        if media and (recogniser := self.features_for(dataset).text.recogniser):
            media = media.model_copy(update={"recogniser": recogniser})
        return found.model_copy(update={"media": media}) if media is not getattr(found, "media", None) else found

    def features_for(self, dataset: str) -> Features:
        """Return how the clips of a dataset are extracted: as ``features`` says, or its own entry."""
        settings = self.datasets[dataset]
        own = settings.features if isinstance(settings, ClipSettings) else OwnFeatures()
        given = {name: getattr(own, name) for name in MODALITIES if getattr(own, name) is not None}
        return self.features.model_copy(update=given)

    def media_for(self, dataset: str) -> dict[str, Any]:
        """Return the kinds of corrupted media that a dataset is tested under, and what is set for each."""
        found = getattr(self.corruption_for(dataset), "media", None)
        return found.kinds if found else {}

    def recogniser_for(self, dataset: str, kind: str) -> str | None:
        """Return what recognises the words of the clips of a dataset under a kind; None: no words are recognised."""
        found = getattr(self.corruption_for(dataset), "media", None)
        return found.recogniser if found and medium.facts(kind).medium == "sound" else None

    def media_seed(self, dataset: str) -> int:
        """Return the seed of corrupted media, which are the same for all runs: 1111, where each run has masks."""
        seed = self.corruption_for(dataset).seed
        return int(type(self.corruption).model_fields["seed"].default) if seed == "run" else int(seed)

    @property
    def media_left_out(self) -> list[str]:
        """What ``corruption.media`` leaves out, dataset by dataset, because the dataset lacks such media."""
        if not (asked := getattr(self.corruption, "media", None)):
            return []
        told = []
        for name, settings in self.datasets.items():
            lost = sorted({*asked.kinds} - {*self.media_for(name)})
            why = "has features and no clips" if not extracted(self, name) else "has the vision of OpenFace's files"
            told += [f"{', '.join(lost)}: dataset {name!r} (source {settings.source}) {why}"] if lost else []
        return told

    def train_for(self, dataset: str) -> Train:
        """Return how methods are trained on a dataset, with what its protocol decides."""
        found = _filled(self.train, _decided("train", self.protocol_name(dataset)))
        # Rates of a protocol are those of its training corruption.
        own = self.train.corruption is not None and self.train.rates is None
        return found.model_copy(update={"rates": None}) if own else found

    def standardised(self, dataset: str) -> Sequence[str]:
        """Return which of audio and vision are scaled: as the dataset says, else its protocol, else its source."""
        settings = self.datasets[dataset]
        decided = self.protocol_of(dataset).standardise.get(settings.corpus, settings.standardise)
        return list(settings.standardise if "standardise" in settings.model_fields_set else decided)

    def chosen_on_test(self, dataset: str, name: str) -> bool:
        """Tell whether checkpoints are chosen on the test split; those that methods start from never are."""
        return self.train_for(dataset).selection == "test_oracle" and name not in teacher_names()

    def decided_for(self, dataset: str, method: str) -> dict[str, Any]:
        """Return the hyperparameters of a method that the protocol of a dataset decides; a row may have its own."""
        return self.protocol_of(dataset).methods.get(method, {})

    def protocol_text(self, dataset: str) -> str:
        """Name the protocol of a dataset with the settings that replace its own: ``lnln (train.epochs: 20)``."""
        name = self.protocol_name(dataset)
        replaced = [
            f"{key}: {value}"
            for section in ("corruption", "train")
            for key, value in _replaced(getattr(self, section), _decided(section, name), section)
        ]
        decided = self.protocol_of(dataset).seeds
        replaced += [f"seeds: {self.seeds_for(dataset)}"] if decided not in (None, self.seeds_for(dataset)) else []
        scaled = self.standardised(dataset)
        if self.protocol_of(dataset).standardise.get(self.datasets[dataset].corpus, scaled) != scaled:
            replaced.append(f"standardise: {' and '.join(scaled) or 'nothing'}")
        return f"{name} ({', '.join(replaced)})" if replaced else name

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """Variants by name, in the order of the file. One with the name of a teacher is that teacher."""
        starts = teacher_names()
        return {each.name: self.teacher(each.name) if each.name in starts else each for each in self.methods}

    @property
    def left_out(self) -> list[str]:
        """What ``methods: all`` leaves out, because a dataset lacks what a method requires; nothing for other lists."""
        made = _made_for_all(self.datasets.values())
        told = {
            name: f"{name}: {why} (dataset {dataset!r})"
            for name in made
            for dataset, settings in self.datasets.items()
            if (why := _why_not(settings, name))
        }
        return list(told.values()) if list(self.variants) == [name for name in made if name not in told] else []

    @cached_property
    def trained(self) -> dict[str, Variant]:
        """All that is trained, by name: the variants, and the teachers that they start from."""
        found, waiting = dict(self.variants), [variant.method for variant in self.methods]
        while waiting:
            for teacher in needs(waiting.pop()):
                found.setdefault(teacher, self.teacher(teacher))
                waiting.append(teacher)
        return found

    @cached_property
    def looked_up(self) -> dict[tuple[str, str], str]:
        """Digests of what the params name outside themselves, which `recipe.Recipes` looks up once."""
        return {}

    @property
    def entries(self) -> dict[str, Variant]:
        """All that ``methods:`` and ``teachers:`` list, and the teachers that methods start from, by name."""
        return {name: self.teacher(name) for name in self.teachers} | self.trained

    def teacher(self, name: str) -> Variant:
        """Return a teacher with what ``teachers`` sets."""
        return Variant.model_validate({name: self.teachers.get(name, {})})

    def jobs(self, dataset: str) -> list[list[str]]:
        """Return the runs of every method on a dataset, by the job that computes them (``train.seeds_per_job``)."""
        runs = self.runs(dataset)
        size = len(runs) if self.train.seeds_per_job == "all" else self.train.seeds_per_job
        return [runs[first : first + size] for first in range(0, len(runs), size)]

    def runs(self, dataset: str) -> list[str]:
        """Return the names of the runs of every method on a dataset: ``seed-S``, or ``seed-S.fold-F``."""
        folds = self.datasets[dataset].fold_count()
        ends = [f".fold-{fold}" for fold in range(1, folds + 1)] if folds else [""]
        return [f"seed-{seed}{end}" for seed in self.seeds_for(dataset) for end in ends]

    def seeds_for(self, dataset: str) -> list[int]:
        """Return the seeds of the runs on a dataset: those of the params, if they name some, or of its protocol."""
        decided = None if "seeds" in self.model_fields_set else self.protocol_of(dataset).seeds
        return decided or self.seeds


def source_names() -> list[str]:
    """Return the datasets that can be read: the files of ``elision/datasets``."""
    return list(_modules("elision.datasets"))


def method_names() -> list[str]:
    """Return the methods: the files of ``elision/methods`` that define one."""
    return [name for name in _modules("elision.methods") if name not in {"base", "checks", "layers"}]


@lru_cache
def _attributes(method: str) -> dict[str, ast.expr]:
    """Parse what is assigned in the class of a method, without PyTorch.

    Raises
    ------
    ElisionError
        If the file is no Python, or no class in it has the name of the file.
    """
    file = f"methods/{method}.py"
    spec = importlib.util.find_spec(f"elision.methods.{method}")
    assert spec and spec.origin, f"{file} was listed"
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError) as error:
        number = getattr(error, "lineno", None)
        line = f", line {number}" if number else ""
        what = getattr(error, "msg", None) or error
        raise ElisionError(f"{file}{line}: {what}; correct the file, or move the file out of methods/") from None
    names = []
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef):
            values: dict[str, ast.expr] = {}
            for node in cls.body:
                if isinstance(node, ast.Assign | ast.AnnAssign):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    values |= {t.id: node.value for t in targets if isinstance(t, ast.Name) and node.value}
            if isinstance(name := values.get("name"), ast.Constant):
                if name.value == method:
                    return values
                names.append(repr(name.value))
    found = f"but name = {', '.join(names)}; rename the file or the class" if names else "add this line to the class"
    raise ElisionError(f'{file}: no class has name = "{method}", {found}')


def _literal(method: str, attribute: str, kind: type, example: str) -> Any:
    """Return an attribute of a method's class that is written as a literal; None, if the class does not set it."""
    values = _attributes(method)
    if attribute not in values:
        return None
    try:
        value = ast.literal_eval(values[attribute])
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise ElisionError(
            f"methods/{method}.py: {attribute} must be a literal, such as {example}; the workflow reads the file "
            "without running the code"
        )
    return value


def made_for(method: str) -> tuple[TaskKind, ...]:
    """Return the tasks that a method can be trained for."""
    tasks = _literal(method, "task", tuple, '("regression",)') or tuple(TaskKind)
    for task in tasks:
        if task not in list(TaskKind):
            raise ElisionError(f"methods/{method}.py: task: unknown {task!r}; {suggestion(task, list(TaskKind))}")
    return tuple(map(TaskKind, tasks))


def needs(method: str) -> tuple[str, ...]:
    """Return the teachers that a method starts from."""
    teachers = _literal(method, "needs", tuple, '("mmin_teacher",)') or ()
    for teacher in teachers:
        if teacher not in method_names():
            told = suggestion(teacher, method_names())
            raise ElisionError(f"methods/{method}.py: needs: unknown {teacher!r}; {told}")
    return teachers


def retrieves(method: str) -> str:
    """Return the teacher whose retrieval database a method searches, or an empty string."""
    teacher = _literal(method, "retrieves", str, '"ramer_encoders"') or ""
    if teacher and teacher not in needs(method):
        raise ElisionError(f"methods/{method}.py: retrieves: {teacher!r} is not in needs; add it to needs")
    return teacher


def requires(method: str) -> tuple[str, ...]:
    """Return the modalities without which a method cannot be trained."""
    return _literal(method, "requires", tuple, '("text",)') or ()


def reads_text(method: str) -> str:
    """Return what a method reads of a text: tokens, vectors or nothing."""
    return _literal(method, "reads_text", str, '"vectors"') or "tokens"


def reads(method: str) -> str:
    """Return what a method reads together: utterances, each by itself, or dialogues."""
    return _literal(method, "reads", str, '"dialogues"') or "utterances"


def is_floor(method: str) -> bool:
    """Tell whether a method is a floor, below which the report names the others."""
    return _literal(method, "floor", bool, "True") or False


def needs_complete(method: str) -> bool:
    """Return whether a method learns from the training samples as they were before the corruption."""
    return bool(_literal(method, "needs_complete", bool, "True"))


def known_from(method: str) -> str:
    """Return what a method was built from without its paper and its code, or an empty string."""
    return _literal(method, "known_from", str, '"its abstract"') or ""


def told_absent(method: str) -> bool:
    """Return whether the predictions of a method are told which modalities are absent, or noisy."""
    return _literal(method, "told_absent", bool, "True") or False


def lacking(settings: DatasetSettings, method: str) -> list[str]:
    """Return what a method requires and no dataset of these settings can have, such as ``text (token ids)``."""
    source = dataset_source(settings.source)
    encoder = getattr(source, "encoder", None)
    tokens = source.MAKES == "clips" or (encoder is not None and encoder(settings) is not None)
    return ["text (token ids)"] if "text" in requires(method) and reads_text(method) == "tokens" and not tokens else []


def _made_for_all(datasets: Iterable[DatasetSettings]) -> list[str]:
    """Return the methods, no teachers, that are made for the task of every dataset."""
    tasks = {settings.task for settings in datasets}
    return [name for name in method_names() if name not in teacher_names() and tasks.issubset(made_for(name))]


def _why_not(settings: DatasetSettings, method: str) -> str:
    """Say why ``methods: all`` leaves a method out because of a dataset; empty: it does not."""
    if lost := lacking(settings, method):
        return f"requires {', '.join(lost)}, and source {settings.source} has none"
    if reads(method) == "dialogues" and not getattr(dataset_source(settings.source), "DIALOGUES", False):
        return f"reads dialogues, and source {settings.source} need not have any; name the method to train it"
    return ""


def unreadable_methods() -> dict[str, str]:
    """Return what is wrong with each file of ``methods/`` that the workflow cannot read, by the name of the method."""
    problems = {}
    for method in method_names():
        try:
            for fact in (
                made_for,
                needs,
                retrieves,
                requires,
                reads_text,
                reads,
                is_floor,
                needs_complete,
                known_from,
                told_absent,
            ):
                fact(method)
        except ElisionError as error:
            problems[method] = str(error)
    return problems


def trained_on(params: Params, dataset: str, variant: Variant) -> str:
    """Name the kind that a variant is trained on: its own, that of its method, or ``train.corruption``."""
    told = params.decided_for(dataset, variant.method) | variant.overrides
    own = told.get("corruption", _literal(variant.method, "corruption", str, '"absent"'))
    kind = str(own or params.train_for(dataset).corruption)
    if kind not in (trained := [kind.name for kind in kinds().values() if kind.training]):
        raise ElisionError(f"methods.{variant}: corruption: unknown {kind!r}; {suggestion(kind, trained)}")
    return kind


def asks_for_times(params: Params, dataset: str) -> bool:
    """Return whether a dataset is tested under a kind of corruption that asks when a token is heard."""
    return any(condition.kind.timed for condition in conditions(params.corruption_for(dataset), MODALITIES))


def teacher_names() -> list[str]:
    """Return the methods that others start from; a file that cannot be read has none."""
    unreadable = unreadable_methods()
    readable = [method for method in method_names() if method not in unreadable]
    return sorted({teacher for method in readable for teacher in needs(method)})


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
        return params.features_for(dataset).text.encoder
    settings = params.datasets[dataset]
    names = getattr(dataset_source(settings.source), "encoder", None)
    return names and names(settings)


def synthetic(source: str) -> bool:
    """Tell whether a source makes its data: no one is recorded in them."""
    return getattr(dataset_source(source), "SYNTHETIC", False)


def training_size(params: Params, dataset: str) -> int | None:
    """Return how many samples the training split has, where a source can tell before it prepares; without folds."""
    settings = params.datasets[dataset]
    count = getattr(dataset_source(settings.source), "training_size", None)
    return None if count is None or settings.fold_count() else count(settings)


def columns(params: Params, dataset: str) -> list[str] | None:
    """Return the columns of the samples, where a source can tell before it prepares."""
    from elision.datasets._contract import COLUMNS  # which imports this module

    settings = params.datasets[dataset]
    more = getattr(source := dataset_source(settings.source), "columns", lambda settings: None)(settings)
    ours = [column for column in COLUMNS if column.needed and source.MAKES in column.kinds]
    return None if more is None else [*(name for column in ours for name in column.name.split(", ")), *more]


def extracted(params: Params, dataset: str) -> list[str]:
    """Return what is extracted from the clips of a dataset: nothing for a source of sequences."""
    if dataset_source(params.datasets[dataset].source).MAKES == "sequences":
        return []
    return ["text", "audio", "vision"]


def extracting(modality: str, extractor: str | None) -> str:
    """Name the module of ``features`` that extracts a modality by an extractor."""
    return f"{modality}_hf" if extractor == "hf" and modality != "text" else modality


def reads_encoded(params: Params, dataset: str, name: str) -> bool:
    """Tell whether a variant or teacher reads text vectors, and the dataset may have tokens to make them of."""
    return reads_text(params.trained[name].method) == "vectors" and text_encoder(params, dataset) is not None


def encoded(params: Params, dataset: str) -> bool:
    """Tell whether the step `encode` makes text vectors of a dataset: a method reads them, or the user wants them."""
    text = params.features_for(dataset).text
    asked = (text.frozen or text.hub) and text_encoder(params, dataset) is not None
    return asked or any(reads_encoded(params, dataset, name) for name in params.trained)


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
            f"{path}: the file does not exist; run from the folder of params.yaml, or give --params"
        ) from None
    if not isinstance(content, dict):
        raise ElisionError(f"{path}: the file must be a mapping with the keys {', '.join(Params.model_fields)}")
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
        lines = "\n".join(f"  {line}" for line in explained(error, Params))
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
            raise ElisionError(f"--config: {key} is {value!r}; give a path, for example --config {key}={CONFIG[key]}")


def _known(word: str, allowed: list[str], noun: str) -> str:
    if word not in allowed:
        raise ValueError(f"unknown {noun} {word!r}; {suggestion(word, allowed)}")
    return word


@lru_cache
def _modules(package: str) -> tuple[str, ...]:
    folder = importlib.import_module(package).__path__
    return tuple(sorted(info.name for info in pkgutil.iter_modules(folder) if not info.name.startswith("_")))

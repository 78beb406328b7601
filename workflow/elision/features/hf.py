"""Models of the Hugging Face hub as extractors of features: where they lie, how they are loaded, and their terms.

A model is read from this machine alone: ``elision fetch MODEL`` stages it. What the model gives is the mean of some of
its hidden states. ``audio_hf``, ``vision_hf`` and ``text_hf`` feed it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from elision import errors
from elision.errors import ElisionError
from elision.provenance import contents
from elision.settings.params import AudioFeatures, TextFeatures, VisionFeatures

if TYPE_CHECKING:
    import torch

Settings = AudioFeatures | VisionFeatures | TextFeatures

UNKNOWN = "unknown"  # the licence of a model without a card
_CARD = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.S)
# Weights that a checkpoint may lack, since nothing of them reaches the hidden states.
_UNUSED = re.compile(r"(^|\.)(pooler|masked_spec_embed|mask_token|logit_scale|\w+_projection)(\.|$)")
# What the hub holds beside the weights that PyTorch reads.
_OTHER_FORMATS = ("*.h5", "*.msgpack", "*.ot", "*.onnx*", "*.tflite", "*.gguf", "onnx/*", "openvino/*", "coreml/*")


installed = partial(
    errors.installed,
    "extractor: hf needs the package {name}, which is not installed here; run the workflow with "
    "`snakemake --use-conda`, or install Elision with pip",
)


def licence(folder: Path) -> str:
    """Return the licence that the model card in a folder (``README.md``) names; ``unknown``, if it names none.

    Where the card says ``other`` and gives the licence a name, the name is returned.
    """
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
        head = _CARD.match(text)
        found = yaml.safe_load(head[1]) if head else None
    except (OSError, yaml.YAMLError):
        return UNKNOWN
    if not isinstance(found, dict):
        return UNKNOWN
    named = found.get("license_name") if found.get("license") in (None, "other") else None
    value = named or found.get("license") or UNKNOWN
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def staged(name: str, revision: str | None, setting: str) -> Path:
    """Return the folder that holds a model on this machine; ``setting`` is the place in params.yaml, for messages.

    Raises
    ------
    ElisionError
        If the model is not here, or a revision is given for a local folder.
    """
    if revision and Path(name).is_dir():
        raise ElisionError(f"{setting}: {name} is a folder, which has no revisions; leave out revision")
    if (folder := contents.staged(name, revision)) is not None:
        return folder
    at = f" --revision {revision}" if revision else ""
    raise ElisionError(
        f"{setting}: the model {name!r}{f' at {revision}' if revision else ''} is not on this machine; run: elision "
        f"fetch {name}{at}\nFor a machine without a network, run on another machine: elision fetch {name}{at} --folder "
        f"data/models/{name.split('/')[-1]}; copy the folder here, and give its path as the model"
    )


def fetch(name: str, *, revision: str | None = None, folder: Path | None = None) -> tuple[Path, str]:
    """Download a model from the Hugging Face hub to its cache, or to a folder.

    Parameters
    ----------
    name : str
        Id on the hub.
    revision : str, optional
        Commit, branch or tag; by default main.
    folder : Path, optional

    Returns
    -------
    place : Path
        The folder of the model.
    commit : str
        Its commit on the hub.

    Raises
    ------
    ElisionError
        If the hub cannot be reached, or has no such model.
    """
    from huggingface_hub import HfApi, snapshot_download

    if folder is not None and folder.exists() and not folder.is_dir():
        raise ElisionError(f"{folder} is no folder; give another --folder")
    try:
        found = HfApi().model_info(name, revision=revision, timeout=30)
        files = [each.rfilename for each in found.siblings or []]
        ignored = [*_OTHER_FORMATS, *(["*.bin", "*.pt", "*.pth"] if any(map(_is_safe, files)) else [])]
        # A branch is downloaded by its name, so that the cache keeps which commit it was.
        place = snapshot_download(name, revision=revision, local_dir=folder, ignore_patterns=ignored)
    except Exception as error:  # no network, no such id, no space: the library has an error for each
        raise ElisionError(
            f"the model {name!r} cannot be downloaded ({type(error).__name__}: {str(error).splitlines()[0]}). Check "
            "the id and the network; a model behind a form needs `hf auth login`"
        ) from error
    return Path(place), str(found.sha)


def _is_safe(file: str) -> bool:
    return file.endswith(".safetensors")


@dataclass(frozen=True)
class Loaded:
    """A model with what prepares its input.

    Attributes
    ----------
    model : torch.nn.Module
        Of a model of several parts, the part for the modality.
    processor : object
        Feature extractor, image processor or tokenizer.
    config : object
        Of ``model``.
    device : torch.device
    settings : AudioFeatures, VisionFeatures or TextFeatures
    """

    model: Any
    processor: Any
    config: Any
    device: "torch.device"
    settings: Settings

    @property
    def width(self) -> int:
        """Dimension of the vectors."""
        return int(self.config.hidden_size)

    def states(self, **inputs: Any) -> "torch.Tensor":
        """Return the mean of the hidden states of the layers that are asked for [shape=(B, ..., width)], float32.

        Raises
        ------
        ElisionError
            If the model does not have a layer, or its layers differ in shape.
        """
        import torch

        dtype = next(self.model.parameters()).dtype
        moved = {
            name: value.to(self.device, dtype if value.is_floating_point() else None) for name, value in inputs.items()
        }
        with torch.inference_mode(), _one_thread(), _in_float32():
            found = self.model(**moved, output_hidden_states=True).hidden_states
            layers = self.settings.layers
            if wrong := [layer for layer in layers if not -len(found) <= layer < len(found)]:
                raise ElisionError(
                    f"layers: {self.settings.model} has {len(found)} hidden states, 0 to {len(found) - 1} or "
                    f"-{len(found)} to -1, and no {wrong[0]}; correct layers"
                )
            chosen = [found[layer].float() for layer in layers]
            if any(each.shape != chosen[0].shape for each in chosen):
                raise ElisionError(f"layers: the layers of {self.settings.model} differ in shape; give one layer")
            return torch.stack(chosen).mean(0)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on the CPU with one thread, which decides last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _in_float32() -> Iterator[None]:
    """Compute products of float32 numbers in float32 on GPUs."""
    from torch.backends import cudnn

    before, cudnn.allow_tf32 = cudnn.allow_tf32, False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


def loaded(settings: Settings, *, device: str | None = None) -> Loaded:
    """Load the model that settings name, once per process.

    Parameters
    ----------
    settings : AudioFeatures, VisionFeatures or TextFeatures
        Of the extractor hf.
    device : str, optional
        By default that of the settings.

    Raises
    ------
    ElisionError
        If the model is not on this machine, lacks weights, or is of a kind that extracts nothing of the modality.
    """
    modality = _MODALITY[type(settings)]
    place = device or getattr(settings, "device", "cpu")
    found = _loaded(modality, _folder(settings), settings.precision, place)
    return Loaded(*found, settings)


@lru_cache(maxsize=3)
def _loaded(modality: str, folder: Path, precision: str, device: str) -> tuple[Any, Any, Any, "torch.device"]:
    """Return model, processor, config and device of `Loaded`."""
    setting = f"features.{modality}.model"
    with installed():
        import torch
        import transformers
        from transformers.utils import logging
    logging.disable_progress_bar()
    said = logging.get_verbosity()
    logging.set_verbosity_error()  # heads that the base model does not have are no news
    try:
        processor = _processor(modality, folder)
        model, report = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, dtype=getattr(torch, precision), output_loading_info=True
        )
    except Exception as error:  # an odd file makes transformers fail in many ways
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ElisionError(
            f"{setting}: {folder} holds no model and processor that transformers can load for {modality} ({why}); run "
            "`elision fetch` again, or give another model"
        ) from error
    finally:
        logging.set_verbosity(said)
    part = _part(modality, model)
    read = {id(each) for each in part.parameters()}
    missing = {name for name in report["missing_keys"] if not _UNUSED.search(name)}
    lost = [name for name, each in model.named_parameters() if name in missing and id(each) in read]
    if lost:
        raise ElisionError(
            f"{setting}: {folder} lacks {len(lost)} of the weights of its model, such as {lost[0]}; run `elision "
            "fetch` again, or give another model"
        )
    place = _device(device)
    return part.eval().to(place), processor, part.config, place


def _processor(modality: str, folder: Path) -> Any:
    import transformers

    if modality == "audio":
        return transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    if modality == "vision":  # resized by Pillow, whatever else is installed
        return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


_MODALITY: dict[type, str] = {AudioFeatures: "audio", VisionFeatures: "vision", TextFeatures: "text"}


def _part(modality: str, model: Any) -> Any:
    """Return the part of a model of several parts that sees a modality."""
    if modality == "vision":
        return getattr(model, "vision_model", model)
    if modality == "text" and hasattr(model, "text_model"):
        return model.text_model
    return model.encoder if getattr(model.config, "is_encoder_decoder", False) else model


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def names(width: int) -> list[str]:
    """Return a name for each dimension of hidden states."""
    return [f"hidden_{number}" for number in range(width)]


def version(settings: Settings) -> str:
    """Return the version of transformers, and what the weights are known by."""
    assert settings.model
    with installed():
        found = metadata.version("transformers")
    return f"transformers {found}, weights {contents.model(settings.model, settings.revision)[:12]}"


def said_of(settings: Settings) -> dict[str, Any]:
    """Return what a header tells of the extractor beside its name and version: settings, and the licence.

    Raises
    ------
    ElisionError
        If the model is not on this machine.
    """
    described = settings.vectors() if isinstance(settings, TextFeatures) else settings.described()
    return {**described, "licence": licence(_folder(settings))}


def _folder(settings: Settings) -> Path:
    assert settings.model, "checked where the settings are read"
    return staged(settings.model, settings.revision, f"features.{_MODALITY[type(settings)]}.model")


def mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the observed frames of a clip.

    Parameters
    ----------
    values : np.ndarray [shape=(T, d), dtype=float32]
        NaN in frames that are not observed.

    Returns
    -------
    mean : np.ndarray [shape=(min(T, 1), d), dtype=float32]
        NaN, if no frame is observed.
    """
    if not len(values):
        return values
    observed = values[~np.isnan(values).any(axis=1)]
    if not len(observed):
        return values[:1]
    return observed.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)

"""ALMT and LNLN, whose authors are the same (Haoyu-ha/ALMT, Haoyu-ha/LNLN). Their code imports einops."""

import types
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.task import DataSpec
from released import Given, Released, imported


def hyper_modality(path: str, layers: int = 3) -> dict[str, str]:
    """Return the modules of hyper-modality layers, whose projections we keep in another order."""
    norms = {
        f"norm{number}": f"norm_{of}" for number, of in enumerate(("language", "audio", "vision", "hyper"), start=1)
    }
    projections = {"to_q": "query", "to_k_ta": "audio_key", "to_k_tv": "vision_key", "to_out": "out"}
    projections |= {"to_v_ta": "audio_value", "to_v_tv": "vision_value"}
    names = norms | {f"fn.{name}": its for name, its in projections.items()}
    return {
        f"{path}.layers.{layer}.0.{name}": f"hyper_modality.{layer}.{its}"
        for layer in range(layers)
        for name, its in names.items()
    }


EMBEDDING = {"proj_l": "embedding.text", "proj_a": "embedding.audio", "proj_v": "embedding.vision"}


class ALMT(Released):
    """ALMT, built as its configuration for a corpus says."""

    repository = "ALMT"
    modules = {
        "h_hyper": "hyper",
        **EMBEDDING,
        "l_encoder": "language_encoder",
        **hyper_modality("h_hyper_layer"),
        "fusion_layer": "fusion",
        "regression_layer": "head",
    }

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build ALMT."""
        settings = yaml.safe_load((folder / "configs" / f"{corpus}.yaml").read_text(encoding="utf-8"))
        module = imported(folder, "models.almt")
        module.BertTextEncoder = lambda *_, **__: Given()
        return module.ALMT(types.SimpleNamespace(model=types.SimpleNamespace(**settings["model"])))

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return vision, audio and the text, which is given."""
        return batch.vision.values, batch.audio.values, None

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return scores [B, 1]."""
        return model(*inputs)

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the squared error."""
        return F.mse_loss(model(*inputs).squeeze(1), batch.label)


class LNLN(Released):
    """LNLN, built as its configuration for a corpus says."""

    repository = "LNLN"
    modules = {
        "h_hyper": "hyper",
        "h_p": "proxy",
        **EMBEDDING,
        "proxy_dominate_modality_generator": "proxy_generator",
        "effective_discriminator": "discriminator",
        "completeness_check": "completeness_check",
        "reconstructor.0": "reconstructor.audio",
        "reconstructor.1": "reconstructor.vision",
        "reconstructor.2": "reconstructor.text",
        "dmml.0": "language_encoder",
        **hyper_modality("dmml.1"),
        "dmml.2": "fusion",
        "dmml.3": "head",
    }

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build LNLN."""
        settings = yaml.safe_load((folder / "configs" / f"train_{corpus}.yaml").read_text(encoding="utf-8"))
        module = imported(folder, "models.lnln")
        module.BertTextEncoder = lambda *_, **__: Given()
        return module.LNLN(settings)

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return vision, audio and the text, which is given, complete and as they came."""
        clean = batch.clean or batch
        return (clean.vision.values, clean.audio.values, 0), (batch.vision.values, batch.audio.values, 0)

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return scores [B, 1]: without a complete input, nothing but the prediction is computed."""
        return model((None, None, None), inputs[1])["sentiment_preds"]

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the sum of the four terms of equation 14."""
        found = model(*inputs)
        real = torch.zeros(len(found["effectiveness_discriminator_out"]), dtype=torch.long, device=batch.label.device)
        real[: len(real) // 2] = 1
        return (
            0.9 * F.mse_loss(found["w"], 1 - batch.rate[:, :1])
            + 0.8 * F.cross_entropy(found["effectiveness_discriminator_out"], real)
            + 0.1 * F.mse_loss(found["rec_feats"], found["complete_feats"])
            + F.mse_loss(found["sentiment_preds"].squeeze(1), batch.label)
        )


RELEASED = {"almt": ALMT(), "lnln": LNLN()}

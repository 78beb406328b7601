"""Self-MM: self-supervised multi-task learning with generated unimodal labels.

Three unimodal heads learn beside the fused head. Their labels are generated epoch by epoch. A modality gets a more
positive label if its feature lies nearer to the centre of the positive samples than the fused feature.

The file follows MMSA's implementation and hyperparameters, because the authors lost those of the paper. Two things
differ. A centre without a sample keeps its value instead of becoming nan. Generated labels are part of the weights
file, so that a resumed run continues with them.

Generated labels are clamped to the label range of the corpus. On CH-SIMS v2 MMSA clamps them to 3 (``label_limit``).
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch, Sequence
from elision.methods.layers.label_generation import Head, LabelGeneratingMethod, LabelGenerator
from elision.methods.layers.packing import read
from elision.task import CORPORA, DataSpec


class RecurrentSubnet(nn.Module):
    """Last hidden state of a one-layer LSTM over the valid frames, projected."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, sequence: Sequence) -> Tensor:
        """Summarise a modality in one vector [B, outputs]; a sample without frames is read as one frame of zeros."""
        _, last = read(self.lstm, sequence.values, sequence.lengths_on_cpu.clamp(min=1))
        return self.out(last[0])


class SelfMM(LabelGeneratingMethod):
    """Yu, Xu, Yuan and Wu, AAAI 2021."""

    name = "self_mm"
    task = ("regression",)
    paper = (
        "Yu, Xu, Yuan, Wu: Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for "
        "Multimodal Sentiment Analysis. AAAI 2021, arXiv 2102.04830"
    )
    official_counts: ClassVar[dict[str, int]] = {"mosi": 159_332, "mosei": 165_668, "sims": 381_380}
    small: ClassVar[dict] = {"accumulate": 1}

    class Hyperparameters(LabelGeneratingMethod.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(16, ge=1, description="utterances per forward pass")
        accumulate: int = Field(4, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate_text_encoder: float = Field(5e-5, gt=0, description="learning rate of the text encoder")
        learning_rate_audio: float = Field(5e-3, gt=0, description="learning rate of the audio subnet")
        learning_rate_vision: float = Field(5e-3, gt=0, description="learning rate of the vision subnet")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of the heads")
        weight_decay_text_encoder: float = Field(
            1e-3, ge=0, description="L2 penalty on the text encoder, except on biases and layer norms"
        )
        weight_decay_audio: float = Field(1e-3, ge=0, description="L2 penalty on the audio subnet")
        weight_decay_vision: float = Field(1e-3, ge=0, description="L2 penalty on the vision subnet")
        weight_decay: float = Field(1e-3, ge=0, description="L2 penalty on the heads")
        audio_hidden: int = Field(16, ge=1, description="width of the hidden state of the audio LSTM")
        vision_hidden: int = Field(32, ge=1, description="width of the hidden state of the vision LSTM")
        audio_out: int = Field(16, ge=1, description="width of the output of the audio subnet")
        vision_out: int = Field(32, ge=1, description="width of the output of the vision subnet")
        fusion_width: int = Field(128, ge=1, description="width of the feature of the fusion head")
        text_width: int = Field(32, ge=1, description="width of the feature of the text head")
        audio_width: int = Field(16, ge=1, description="width of the feature of the audio head")
        vision_width: int = Field(32, ge=1, description="width of the feature of the vision head")
        fusion_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the fusion head")
        text_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the text head")
        audio_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the audio head")
        vision_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the vision head")
        label_limit: Literal["mosi", "corpus"] = Field(
            "corpus",
            description="largest generated label. corpus: the largest label of the corpus. mosi: 3, as MMSA has "
            "it on CH-SIMS v2",
            json_schema_extra={"released": "corpus; simsv2: mosi"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 32,
            "learning_rate_vision": 1e-4,
            "weight_decay_audio": 0.0,
            "weight_decay_vision": 0.0,
            "weight_decay": 1e-2,
            "fusion_dropout": 0.1,
            "text_dropout": 0.0,
            "audio_dropout": 0.0,
        },
        "sims": {
            "batch_size": 32,
            "weight_decay_audio": 1e-2,
            "weight_decay_vision": 1e-2,
            "vision_hidden": 64,
            "text_width": 64,
        },
        "simsv2": {
            "learning_rate_audio": 1e-3,
            "learning_rate_vision": 1e-3,
            "weight_decay_text_encoder": 1e-2,
            "weight_decay_audio": 0.0,
            "weight_decay_vision": 0.0,
            "vision_hidden": 64,
            "text_width": 64,
            "audio_width": 32,
            "text_dropout": 0.0,
            "label_limit": "mosi",
        },
        "demo": {"epochs": 20, "batch_size": 32, "accumulate": 1},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.audio_subnet = RecurrentSubnet(spec.audio, h.audio_hidden, h.audio_out)
        self.vision_subnet = RecurrentSubnet(spec.vision, h.vision_hidden, h.vision_out)
        self.heads = nn.ModuleDict(
            {
                "fusion": Head(encoder.width + h.audio_out + h.vision_out, h.fusion_width, h.fusion_dropout),
                "text": Head(encoder.width, h.text_width, h.text_dropout),
                "audio": Head(h.audio_out, h.audio_width, h.audio_dropout),
                "vision": Head(h.vision_out, h.vision_width, h.vision_dropout),
            }
        )
        limit = CORPORA["mosi" if h.label_limit == "mosi" else spec.corpus].label_range
        self.label_generator = LabelGenerator(self.heads, samples=spec.samples, limit=limit)

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """Return what each head reads: a vector [B, D] per modality, and all of them side by side."""
        vectors = {
            "text": self.encoder(batch.text)[:, 0],
            "audio": self.audio_subnet(batch.audio),
            "vision": self.vision_subnet(batch.vision),
        }
        return {"fusion": torch.cat(list(vectors.values()), 1), **vectors}

    def parameter_groups(self) -> list[dict]:
        """Text encoder with and without weight decay, audio subnet, vision subnet, and the heads."""
        h = self.hyperparameters
        text = self.text_encoder_groups(
            learning_rate=h.learning_rate_text_encoder, weight_decay=h.weight_decay_text_encoder
        )
        audio, vision = list(self.audio_subnet.parameters()), list(self.vision_subnet.parameters())
        heads = list(self.heads.parameters())
        return [
            *text,
            {"name": "audio", "params": audio, "lr": h.learning_rate_audio, "weight_decay": h.weight_decay_audio},
            {"name": "vision", "params": vision, "lr": h.learning_rate_vision, "weight_decay": h.weight_decay_vision},
            {"name": "heads", "params": heads, "lr": h.learning_rate, "weight_decay": h.weight_decay},
        ]

"""Self-MM: self-supervised multi-task learning with generated unimodal labels.

Three unimodal heads are trained beside the fused one. Their labels are generated, epoch by epoch: a modality whose
feature lies nearer to the centre of the positive samples than the fused feature does gets a more positive label.

This follows MMSA's implementation and hyperparameters (the authors lost those of the paper). Two things differ: a
centre without any sample keeps its value instead of becoming nan, and the generated labels are part of the weights
file, so that a resumed run goes on with them.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.task import MODALITIES, DataSpec

HEADS = ("fusion", *MODALITIES)
_EPSILON = 1e-8


class RecurrentSubnet(nn.Module):
    """Last hidden state of a one-layer LSTM over the valid frames, projected."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, sequence: Sequence) -> Tensor:
        """Summarise a modality in one vector [B, outputs]; a sample without frames is read as one frame of zeros."""
        lengths = sequence.lengths.clamp(min=1).cpu()
        packed = pack_padded_sequence(sequence.values, lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.out(hidden[-1])


class Head(nn.Module):
    """Prediction from one vector; its first layer gives the feature from which labels are generated."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Linear(inputs, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature [B, width] and the score [B]."""
        feature = F.relu(self.feature(self.dropout(x)))
        return feature, self.out(F.relu(self.hidden(feature))).squeeze(1)


class SelfMM(Method):
    """Yu, Xu, Yuan and Wu, AAAI 2021.

    Attributes
    ----------
    labels : Tensor [4, N]
        Labels of fusion, text, audio and vision for each training sample; those of fusion are the true ones.
    features_{head} : Tensor [N, width]
        The last feature of each training sample; zeros before its first visit, which count in the centres.
    centres_{head} : Tensor [2, width]
        Mean feature of the training samples with a positive, and with a negative label.
    epoch : Tensor int64
        Current epoch, from 1.
    """

    name = "self_mm"
    paper = (
        "Yu, Xu, Yuan, Wu: Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for "
        "Multimodal Sentiment Analysis. AAAI 2021, arXiv 2102.04830"
    )

    class Hyperparameters(TrainingHyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(100, ge=0, description="upper limit; MMSA has none and stops by patience")
        batch_size: int = Field(16, ge=1, description="utterances per forward pass")
        accumulate: int = Field(4, ge=1, description="batches whose gradients are summed before a step")
        patience: int | None = Field(8, ge=1, description="epochs without a better validation score before stopping")
        learning_rate_text_encoder: float = Field(5e-5, gt=0, description="of the text encoder")
        learning_rate_audio: float = Field(5e-3, gt=0, description="of the audio subnet")
        learning_rate_vision: float = Field(5e-3, gt=0, description="of the vision subnet")
        learning_rate: float = Field(1e-3, gt=0, description="of the heads")
        weight_decay_text_encoder: float = Field(1e-3, ge=0, description="L2, except on biases and layer norms")
        weight_decay_audio: float = Field(1e-3, ge=0, description="L2, of the audio subnet")
        weight_decay_vision: float = Field(1e-3, ge=0, description="L2, of the vision subnet")
        weight_decay: float = Field(1e-3, ge=0, description="L2, of the heads")
        audio_hidden: int = Field(16, ge=1, description="hidden state of the audio LSTM")
        vision_hidden: int = Field(32, ge=1, description="hidden state of the vision LSTM")
        audio_out: int = Field(16, ge=1, description="output of the audio subnet")
        vision_out: int = Field(32, ge=1, description="output of the vision subnet")
        fusion_width: int = Field(128, ge=1, description="feature of the fusion head")
        text_width: int = Field(32, ge=1, description="feature of the text head")
        audio_width: int = Field(16, ge=1, description="feature of the audio head")
        vision_width: int = Field(32, ge=1, description="feature of the vision head")
        fusion_dropout: float = Field(0.0, ge=0, lt=1, description="on the input of the fusion head")
        text_dropout: float = Field(0.1, ge=0, lt=1, description="on the input of the text head")
        audio_dropout: float = Field(0.1, ge=0, lt=1, description="on the input of the audio head")
        vision_dropout: float = Field(0.0, ge=0, lt=1, description="on the input of the vision head")

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
        self.register_buffer("epoch", torch.tensor(1))
        self.register_buffer("labels", torch.zeros(len(HEADS), spec.samples))
        for head in HEADS:
            width = self.heads[head].out.in_features
            self.register_buffer(f"features_{head}", torch.zeros(spec.samples, width))
            self.register_buffer(f"centres_{head}", torch.zeros(2, width))

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """Return what each head reads: a vector [B, D] per modality, and all of them side by side."""
        vectors = {
            "text": self.encoder(batch.text)[:, 0],
            "audio": self.audio_subnet(batch.audio),
            "vision": self.vision_subnet(batch.vision),
        }
        return {"fusion": torch.cat(list(vectors.values()), 1), **vectors}

    def predict(self, batch: Batch) -> Prediction:
        """Predict with the fusion head."""
        feature, output = self.heads["fusion"](self.represent(batch)["fusion"])
        return Prediction(output, feature)

    def forward_heads(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the feature [B, width] and the score [B] of every head."""
        return {head: self.heads[head](vector) for head, vector in self.represent(batch).items()}

    def terms(self, outputs: dict[str, tuple[Tensor, Tensor]], batch: Batch) -> dict[str, Tensor]:
        """Return the absolute error of every head; unimodal ones weigh more the more their label differs."""
        terms = {"fusion": F.l1_loss(outputs["fusion"][1], batch.label)}
        for row, head in enumerate(HEADS[1:], start=1):
            label = self.labels[row, batch.index]
            weight = torch.tanh((label - batch.label).abs())
            terms[head] = (weight * (outputs[head][1] - label).abs()).mean()
        return terms

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of every head on a batch of the training split."""
        return self.terms(self.forward_heads(batch), batch)

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch, then generate its labels anew and move the centres."""
        outputs = self.forward_heads(batch)
        terms = self.terms(outputs, batch)
        self.descend(terms, optimizers, step)
        with torch.no_grad():
            self.remember({head: feature.detach() for head, (feature, _) in outputs.items()}, batch)
        return {name: term.detach() for name, term in terms.items()}

    def remember(self, features: dict[str, Tensor], batch: Batch) -> None:
        """Generate unimodal labels from features and centres, store the features, and recompute the centres."""
        index = batch.index
        if self.epoch > 1:
            nearness = {}
            for head in HEADS:
                offsets = features[head].unsqueeze(1) - getattr(self, f"centres_{head}")
                positive, negative = torch.linalg.vector_norm(offsets, dim=2).unbind(1)
                nearness[head] = (negative - positive) / (positive + _EPSILON)
            share = 2 / (self.epoch + 1)
            for row, head in enumerate(HEADS[1:], start=1):
                ratio = nearness[head] / (nearness["fusion"] + _EPSILON)
                shift = nearness[head] - nearness["fusion"]
                label = 0.5 * ratio * batch.label + 0.5 * (batch.label + shift)
                label = label.clamp(-self.spec.label_range, self.spec.label_range)
                self.labels[row, index] = (1 - share) * self.labels[row, index] + share * label
        for row, head in enumerate(HEADS):
            memory, centres = getattr(self, f"features_{head}"), getattr(self, f"centres_{head}")
            memory[index] = features[head]
            members = torch.stack([self.labels[row] > 0, self.labels[row] < 0]).to(memory.dtype)
            counts = members.sum(1, keepdim=True)
            centres.copy_(torch.where(counts > 0, members @ memory / counts.clamp(min=1), centres))

    def begin_training(self, labels: Tensor) -> None:
        """Start every unimodal label at the true one."""
        self.labels.copy_(labels.expand_as(self.labels))

    def on_epoch_start(self, epoch: int) -> None:
        """Labels settle as epochs pass: the newest counts 2 / (epoch + 1)."""
        self.epoch.fill_(epoch)

    def parameter_groups(self) -> list[dict]:
        """Text encoder with and without weight decay, audio subnet, vision subnet, and the heads."""
        h = self.hyperparameters
        groups = {
            "text encoder": (h.learning_rate_text_encoder, h.weight_decay_text_encoder, []),
            "text encoder, no decay": (h.learning_rate_text_encoder, 0.0, []),
            "audio": (h.learning_rate_audio, h.weight_decay_audio, []),
            "vision": (h.learning_rate_vision, h.weight_decay_vision, []),
            "heads": (h.learning_rate, h.weight_decay, []),
        }
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            if name.startswith("encoder."):
                group = "text encoder, no decay" if "bias" in name or "LayerNorm" in name else "text encoder"
            else:
                group = {"audio_subnet": "audio", "vision_subnet": "vision"}.get(name.split(".")[0], "heads")
            groups[group][2].append(parameter)
        return [
            {"name": name, "params": parameters, "lr": rate, "weight_decay": decay}
            for name, (rate, decay, parameters) in groups.items()
            if parameters
        ]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, whose weight decay is an L2 penalty."""
        return [torch.optim.Adam(self.parameter_groups())]

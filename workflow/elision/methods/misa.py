"""MISA: modality-invariant and modality-specific representations.

Each utterance vector is projected into a space that the modalities share, and into a space of its own. One loss pulls
shared vectors together. Another loss makes private vectors orthogonal to shared ones and to each other. The sum of a
shared and a private vector gives the utterance vector back. A transformer layer fuses the six vectors.

The file follows MMSA's implementation and hyperparameters. Where MMSA and the authors' code differ, the file follows
MMSA:

- Audio and vision are read up to the length of the text, with [CLS] and [SEP], whatever their own length. Aligned
  data, for which the method was made, lose no frame. Unaligned data lose most frames; ``av_lengths: own`` reads all
  of them. Here a text that is longer than the padded length reads all of that length.
- The batch is 16 on MOSI and 64 on MOSEI; the authors have the reverse. Two batches make a step.
- Training stops when validation no longer improves. The authors' code then halves the learning rate and stops at
  once, so that no epoch trains at the halved rate.
- The authors' code starts recurrent weights orthogonal, and freezes most of BERT on MOSEI.
- The accumulated gradient is clipped after every batch, not only before a step. The code never uses the configured
  weight decay.

The similarity is the central moment discrepancy, which both codes use by default. The adversarial similarity with a
gradient reversal is left out. Two layers that the released code never trains are left out, too: ``sp_discriminator``
and ``tlayer_norm``. CH-SIMS v2 has values of its own in MMSA.

Two things are ours. A distance of exactly 0 between two moments has a gradient of 0 instead of nan. An utterance
without text has the vector 0. Classes have the cross-entropy in place of the squared error, as in MMSA.
"""

from itertools import combinations
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction
from elision.methods.layers.packing import read
from elision.methods.layers.precision import float32
from elision.task import MODALITIES, DataSpec

_MOMENTS = 5
_HEADS = 2
_EPSILON = 1e-6


class RecurrentSummary(nn.Module):
    """Last hidden states of two bidirectional LSTMs, one on top of the other, with a layer norm between them.

    Parameters
    ----------
    width : int
        Of the frames, and of each hidden state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(2 * width)
        self.second = nn.LSTM(2 * width, width, bidirectional=True, batch_first=True)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Summarise the first ``lengths`` [B] (on the CPU) frames of ``values`` [B, T, width].

        Returns
        -------
        Tensor [B, 4 * width]
            Both LSTMs forwards, then both backwards.
        """
        outputs, first = read(self.first, values, lengths)
        _, second = read(self.second, self.norm(outputs), lengths)
        return torch.cat([first, second], 2).transpose(0, 1).flatten(1)


class MISA(Method):
    """Hazarika, Zimmermann and Poria, ACM MM 2020."""

    name = "misa"
    error_of_scores = "squared"
    paper = (
        "Hazarika, Zimmermann, Poria: MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment "
        "Analysis. ACM MM 2020, arXiv 2005.03545"
    )
    optimizer = torch.optim.Adam
    sees_padding = "audio and vision are read up to the length of the text, also beyond their own"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 1_134_445, "mosei": 1_431_517, "sims": 21_661_161}
    compared = "equal without `sp_discriminator` (516) and `tlayer_norm` (3,072), which never train"
    # Dropout lies on attention weights, too, where the comparison with the GPU cannot switch it off.
    small: ClassVar[dict] = {"width": 16, "accumulate": 1, "transformer_dropout": 0.0}

    class Hyperparameters(Method.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(16, ge=1, description="utterances per forward pass")
        accumulate: int = Field(2, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(1e-4, gt=0, description="learning rate of all weights, text encoder included")
        width: int = Field(128, ge=2, multiple_of=_HEADS, description="width of shared and private vectors")
        dropout: float = Field(0.2, ge=0, lt=1, description="dropout in the prediction head")
        transformer_dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the transformer layer")
        difference_weight: float = Field(0.1, ge=0, description="weight of the orthogonality of the spaces")
        similarity_weight: float = Field(0.3, ge=0, description="weight of the moment distance of the shared vectors")
        reconstruction_weight: float = Field(
            1.0, ge=0, description="weight of the reconstruction error of the utterance vectors"
        )
        gradient_clip: float = Field(0.8, gt=0, description="largest absolute value of one entry of the gradient")
        av_lengths: Literal["text", "own"] = Field(
            "text",
            description="frames of audio and vision that are read. text: as many as there are tokens. own: all frames",
            json_schema_extra={"released": "text"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"batch_size": 64, "dropout": 0.5, "difference_weight": 0.3, "similarity_weight": 0.8},
        "sims": {
            "batch_size": 64,
            "dropout": 0.0,
            "difference_weight": 0.3,
            "similarity_weight": 1.0,
            "reconstruction_weight": 0.8,
            "gradient_clip": 1.0,
        },
        "simsv2": {
            "width": 64,
            "dropout": 0.5,
            "difference_weight": 0.5,
            "similarity_weight": 1.0,
            "reconstruction_weight": 0.5,
        },
        "demo": {"epochs": 10, "accumulate": 1},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        self.recurrent = nn.ModuleDict({"audio": RecurrentSummary(spec.audio), "vision": RecurrentSummary(spec.vision)})
        inputs = {"text": encoder.width, "audio": 4 * spec.audio, "vision": 4 * spec.vision}
        self.projection = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(inputs[name], width), nn.ReLU(), nn.LayerNorm(width)) for name in MODALITIES}
        )
        self.private = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(width, width), nn.Sigmoid()) for name in MODALITIES}
        )
        self.shared = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        self.reconstructor = nn.ModuleDict({name: nn.Linear(width, width) for name in MODALITIES})
        self.transformer = nn.TransformerEncoderLayer(width, _HEADS, dropout=h.transformer_dropout, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(6 * width, 3 * width), nn.Dropout(h.dropout), nn.ReLU(), nn.Linear(3 * width, spec.outputs)
        )

    def summarise(self, name: str, batch: Batch) -> Tensor:
        """Summarise audio or vision in one vector per utterance; without a frame to read, a frame of zeros is read."""
        sequence: Sequence = getattr(batch, name)
        values, lengths = sequence.values, sequence.lengths_on_cpu
        if self.hyperparameters.av_lengths == "text":
            values = values[:, : batch.text.values.shape[1]]
            lengths = batch.text.lengths_on_cpu.clamp(max=values.shape[1])
        return self.recurrent[name](values, lengths.clamp(min=1))

    def project_utterances(self, batch: Batch) -> dict[str, Tensor]:
        """Return a vector [B, width] of each modality; that of text is the mean of its tokens, projected."""
        valid = batch.text.valid.unsqueeze(2)
        vectors = {
            "text": (self.encoder(batch.text) * valid).sum(1) / valid.sum(1).clamp(min=1),
            "audio": self.summarise("audio", batch),
            "vision": self.summarise("vision", batch),
        }
        return {name: self.projection[name](vector) for name, vector in vectors.items()}

    def split(self, vectors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the private and the shared vectors [B, width] of the modalities."""
        private = {name: self.private[name](vector) for name, vector in vectors.items()}
        return private, {name: self.shared(vector) for name, vector in vectors.items()}

    def fuse(self, private: dict[str, Tensor], shared: dict[str, Tensor]) -> Tensor:
        """Let the six vectors attend to each other; returns them side by side [B, 6 * width]."""
        return self.transformer(torch.stack([*private.values(), *shared.values()], 1)).flatten(1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the fused vectors."""
        representation = self.fuse(*self.split(self.project_utterances(batch)))
        return Prediction(self.readout(self.head(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the four terms of the paper."""
        h = self.hyperparameters
        vectors = self.project_utterances(batch)
        private, shared = self.split(vectors)
        apart = [(private[name], shared[name]) for name in MODALITIES] + list(combinations(private.values(), 2))
        together = combinations(shared.values(), 2)
        # Gradients also flow through the vectors that are to be reconstructed.
        errors = [F.mse_loss(self.reconstructor[n](private[n] + shared[n]), vectors[n]) for n in MODALITIES]
        output = self.readout(self.head(self.fuse(private, shared)))
        return {
            "sentiment": self.error(output, batch.label),
            "difference": h.difference_weight * torch.stack([overlap(x, z) for x, z in apart]).sum(),
            "similarity": h.similarity_weight * torch.stack([moment_distance(x, z) for x, z in together]).mean(),
            "reconstruction": h.reconstruction_weight * torch.stack(errors).mean(),
        }

    def after_backward(self) -> None:
        """Clip every entry of the gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)


@float32
def overlap(x: Tensor, z: Tensor) -> Tensor:
    """Mean squared entry of X^T Z, whose rows are centred over the batch and then of length 1.

    No gradient flows through the lengths.

    Parameters
    ----------
    x, z : Tensor [B, width]
    """
    x, z = x - x.mean(0), z - z.mean(0)
    x, z = (v / (torch.linalg.vector_norm(v.detach(), dim=1, keepdim=True) + _EPSILON) for v in (x, z))
    return (x.T @ z).square().mean()


@float32
def moment_distance(x: Tensor, z: Tensor) -> Tensor:
    """Central moment discrepancy: distances of the means and of the second to fifth central moments, added up.

    Parameters
    ----------
    x, z : Tensor [B, width]
    """
    mean_x, mean_z = x.mean(0), z.mean(0)
    differences = [mean_x - mean_z]
    differences += [((x - mean_x) ** k).mean(0) - ((z - mean_z) ** k).mean(0) for k in range(2, _MOMENTS + 1)]
    # Unlike the root of a sum of squares, a norm has a gradient of 0 at 0.
    return torch.linalg.vector_norm(torch.stack(differences), dim=1).sum()

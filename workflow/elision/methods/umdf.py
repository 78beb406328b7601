"""UMDF: self-distillation under missing modalities, built without the paper from its abstract and a caption.

One network reads a sample with what is missing and once more complete. Each reading learns from the other, so that the
answers agree. Before the answer, every modality attends to the other two: to both at once, and to each by itself. A
gate then enhances each frame, and a second gate filters what is redundant.

No text of the paper and no code were at hand, so that the rows of this method are marked in tables. Known are the aims
of the three parts and the datasets, from the abstract, and from the caption of a figure that the parts have attention,
feed-forward layers, products, sums, a concatenation and a sigmoid. All else is ours:

- The encoder of a modality, the missing modalities in training and the hyperparameters are those of HRLF, by the same
  authors, with two layers.
- Coarse attention reads both others, one after the other in time. Fine attention reads each. The results are added to
  the modality, and a feed-forward layer follows. Layer norms lie before both.
- The first gate is a sigmoid of the modality itself, and adds its product with the frames. The second is a sigmoid of
  the three modalities side by side, and multiplies them. The three parts are added, and averaged over time.
- The answers of both readings are compared by both divergences at a temperature, and by the squared distance of the
  vectors before the answer. No gradient is stopped. A score has the squared distance in place of the divergences.
- The two readings are those of the same weights in the same step. Both learn from the label.

The gates need frames of all modalities at the same time. Audio and vision are therefore averaged over each word
(``alignment``), as in the data of HRLF. A modality without a valid frame is read as one frame of zeros.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.information import perceptron
from elision.methods.layers.precision import float32
from elision.methods.layers.sequence import SequenceHyperparameters, sequence_encoders
from elision.task import MODALITIES, DataSpec, TaskKind

_COUNT = len(MODALITIES)


class Interaction(nn.Module):
    """Multi-grained crossmodal interaction (MCI) of one modality with the two others.

    Parameters
    ----------
    width, heads, feed_forward : int
    dropout : float
        On attention weights and before each residual.
    coarse, fine : bool
        Attend to both others at once, and to each.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, *, dropout: float, coarse: bool, fine: bool) -> None:
        super().__init__()
        self.coarse = coarse
        count = coarse + (_COUNT - 1) * fine
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(width, heads, dropout, batch_first=True) for _ in range(count)
        )
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward = perceptron(width, feed_forward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, others: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Let the steps ``x`` [B, T, width] attend to others, each with the positions that are attended [B, T]."""
        query = self.norm_attention(x)
        normed = [(self.norm_attention(values), attended) for values, attended in others]
        both = tuple(torch.cat(parts, 1) for parts in zip(*normed, strict=True))
        sources = [both, *normed] if self.coarse else normed
        for attention, (source, attended) in zip(self.attentions, sources, strict=False):
            found, _ = attention(query, source, source, key_padding_mask=~attended, need_weights=False)
            x = x + self.dropout(found)
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


class Integration(nn.Module):
    """Dynamic feature integration (DFI): frames of all modalities become one vector.

    Parameters
    ----------
    width : int
    enhancement, filtering : bool
        Have the gate of each modality, and the gate of all together.
    """

    def __init__(self, width: int, *, enhancement: bool, filtering: bool) -> None:
        super().__init__()
        self.enhance = nn.ModuleList(nn.Linear(width, width) for _ in range(_COUNT * enhancement))
        self.filter = nn.Linear(_COUNT * width, _COUNT * width) if filtering else None

    def forward(self, steps: list[Tensor], attended: Tensor) -> Tensor:
        """Return a vector [B, width] of the steps [B, T, width] of each modality, over the attended frames [B, T, 3].

        A frame counts if some modality has it, and then the sum of those that have it.
        """
        if len(self.enhance):
            steps = [x + gate(x).sigmoid() * x for x, gate in zip(steps, self.enhance, strict=True)]
        # Padding of a modality is nothing that a gate may read.
        joined = torch.cat([x * attended[..., m, None] for m, x in enumerate(steps)], 2)
        if self.filter is not None:
            joined = self.filter(joined).sigmoid() * joined
        summed = joined.unflatten(2, (_COUNT, -1)).sum(2)
        return summed.sum(1) / attended.any(2).sum(1, keepdim=True)


class Reading(NamedTuple):
    """What the network makes of a batch: the vector [B, d] before the answer, and the output."""

    vector: Tensor
    output: Tensor


class UMDF(Method):
    """Li, Yang, Lei et al., AAAI 2024.

    Where the parts are: the encoders of the modalities, ``sequences``; multi-grained crossmodal interaction (MCI),
    ``interactions`` (`Interaction`); dynamic feature integration (DFI), ``integration`` (`Integration`); the unified
    self-distillation, the terms ``answers`` and ``vectors``. The term ``sentiment`` is the loss of the incomplete
    sample, ``complete`` that of the complete one.
    """

    name = "umdf"
    known_from = "its abstract and the caption of a figure"
    error_of_scores = "squared"
    corruption = "combined"
    needs_complete = True
    paper = (
        "Li, Yang, Lei, Wang, Wang, Su, Yang, Wang, Sun, Zhang: A Unified Self-Distillation Framework for Multimodal "
        "Sentiment Analysis with Uncertain Missing Modalities. AAAI 2024"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 416_204}
    compared = "no code was released, and the network is ours"
    small: ClassVar[dict] = {"width": 8, "heads": 2, "layers": 1, "dropout": 0.0}

    exceptions: ClassVar[dict[str, dict[str, str]]] = {
        "hyperparameters": {"temperature": "scores have no temperature, and the check trains on scores"}
    }

    class Hyperparameters(SequenceHyperparameters):
        """Those of HRLF for IEMOCAP; none of this method is known."""

        epochs: int = Field(30, ge=0, description="passes over the training split; ours, as in HRLF")
        batch_size: int = Field(32, ge=1, description="utterances per forward pass; ours, as in HRLF")
        layers: int = Field(2, ge=1, description="layers of each transformer; ours")
        alignment: Literal["words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's word. "
            "pooled: means over equal parts of the padded length",
            json_schema_extra={"released": None},
        )
        coarse: bool = Field(True, description="false trains without the attention to both other modalities at once")
        fine: bool = Field(True, description="false trains without the attention to each other modality by itself")
        enhancement: bool = Field(True, description="false trains without the gate of each modality")
        filtering: bool = Field(True, description="false trains without the gate of all modalities together")
        distillation: bool = Field(True, description="false trains both readings without comparing them")
        answer_weight: float = Field(1.0, gt=0, description="weight of the difference of both answers; ours")
        vector_weight: float = Field(1.0, gt=0, description="weight of the squared distance of both vectors; ours")
        temperature: float = Field(2.0, gt=0, description="divisor of the logits before both divergences; ours")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosi": {"epochs": 50, "batch_size": 128, "learning_rate": 1e-3},
        "mosei": {"epochs": 20, "batch_size": 16, "learning_rate": 2e-3, "heads": 8},
        "demo": {"epochs": 10, "batch_size": 8, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.sequences = sequence_encoders(h, spec)
        self.interactions = nn.ModuleList(
            Interaction(h.width, h.heads, h.feed_forward, dropout=h.dropout, coarse=h.coarse, fine=h.fine)
            for _ in MODALITIES
        )
        self.integration = Integration(h.width, enhancement=h.enhancement, filtering=h.filtering)
        self.head = nn.Linear(h.width, spec.outputs)

    def read(self, batch: Batch) -> Reading:
        """Read a batch as it is, complete or not."""
        read = [self.sequences[name].steps(getattr(batch, name)) for name in MODALITIES]
        steps = [
            interact(x, [other for other in read if other[0] is not x])
            for interact, (x, _) in zip(self.interactions, read, strict=True)
        ]
        vector = self.integration(steps, torch.stack([attended for _, attended in read], 2))
        return Reading(vector, self.readout(self.head(vector)))

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the vector of the sample."""
        vector, output = self.read(batch)
        return Prediction(output, vector)

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the difference of answers: of logits [B, C] both divergences, of scores [B] the squared error."""
        if self.spec.task is TaskKind.REGRESSION:
            return squared_error(one, other)
        return both_divergences(one, other, self.hyperparameters.temperature)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of both readings, and their differences."""
        h, lossy, whole = self.hyperparameters, self.read(batch), self.read(batch.clean)
        terms = {"sentiment": self.error(lossy.output, batch.label), "complete": self.error(whole.output, batch.label)}
        if h.distillation:
            terms["answers"] = h.answer_weight * self.compare(lossy.output, whole.output)
            terms["vectors"] = h.vector_weight * squared_error(lossy.vector, whole.vector)
        return terms

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        h = self.hyperparameters
        return [torch.optim.Adam(self.trainable(), lr=h.learning_rate, weight_decay=h.weight_decay)]


@float32
def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared difference; its gradient reaches both."""
    return F.mse_loss(x, y)


@float32
def both_divergences(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return KL(one || other) + KL(other || one) of logits [B, C] divided by a temperature, averaged over samples."""
    p, q = ((logits / temperature).log_softmax(1) for logits in (one, other))
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean()

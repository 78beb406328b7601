"""DMD: decoupled multimodal distillation.

Each sequence is split into a part that the modalities have in common and a part that is specific. Both parts together
give the sequence back. In each of the two spaces, modalities teach each other their predictions along a graph, whose
edges have learnt weights. Self-attention on common parts and crossmodal attention on specific parts make the fused
prediction.

The file follows the released code and its hyperparameters for aligned data. Where code and paper differ, the file
follows the code:

- The gates of the fusion replace the features. They do not scale the features.
- Of the common space, only predictions are distilled. The code computes a distance of representations and leaves it
  out. Its graph reads the hidden layer after the ReLU.
- Of the specific space, representations are pushed apart: the loss is the cosine where it is positive.
- Edges have a prior, which also weighs the losses. In the common space, text teaches audio and vision. In the
  specific space, vision also teaches audio.
- Attention adds sinusoidal positions and masks no padding. A step sees no later steps in self-attention.
- Weight decay is configured but never passed on. Gradients are clipped after every batch, while the gradients of
  ``accumulate`` batches are being summed.

Differences from the released code:

- The cosine of specific and common parts runs over the channels of a step. In the released code, the cosine runs over
  the batch (``cosine_axis: batch``). The released call fails on recent versions of PyTorch.
- Three layers on the specific parts (``proj_cosine``), whose output no loss reads, are left out. So are the biases of
  the edges, which a softmax over the edges does not see.
- Every modality is projected. The released code does not project a modality that has the width already.
- A sequence that is shorter than its convolution is padded with zeros at its end.
- The learning rate follows the validation error over samples. The released code averages over batches.

The weights of heads that only train depend on the padded length. Predictions do not use these heads. Classes have the
cross-entropy, and a distance of 1 between two labels in the margin, which are ours.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.crossmodal import (
    Convolution,
    CrossmodalEncoder,
    Job,
    check_heads,
    encode,
    pairwise,
    summarised,
)
from elision.methods.layers.plateau import Plateau
from elision.methods.layers.precision import float32
from elision.task import DataSpec, TaskKind

NODES = ("text", "vision", "audio")  # of the graphs, and of vectors side by side
PAIRS = tuple((student, teacher) for student in NODES for teacher in NODES if teacher != student)
_MEMORY_LAYERS = 3  # at least
_SHARPNESS = 0.125  # of the edges
_PRIOR_SHARPNESS = 4.0
_PRIOR_WEIGHT = 10.0
_REPRESENTATION_WEIGHT = 10.0
_EPSILON = 1e-8


class ResidualHead(nn.Module):
    """Two layers beside a residual, and a linear layer that predicts.

    Parameters
    ----------
    inputs, hidden, outputs : int
    dropout : float
        Between the two layers.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, inputs)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the prediction [B, outputs], the hidden layer [B, hidden] and what is predicted from [B, inputs]."""
        hidden = F.relu(self.first(x))
        refined = x + self.second(self.dropout(hidden))
        return self.out(refined), hidden, refined


class DistillationGraph(nn.Module):
    """Graph of the modalities, along whose edges a student learns from a teacher.

    Parameters
    ----------
    outputs, inputs, width : int
        Sizes of a prediction, of a representation, and of the layers that read them.
    lessons : tuple of (str, str)
        Student and teacher of the edges that the prior prefers.
    """

    def __init__(self, outputs: int, inputs: int, width: int, lessons: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.prediction, self.representation = nn.Linear(outputs, width), nn.Linear(inputs, width)
        self.edge = nn.Linear(4 * width, 1, bias=False)
        preferred = torch.tensor([float(pair in lessons) for pair in PAIRS])
        self.register_buffer("prior", (_PRIOR_SHARPNESS * preferred).softmax(0), persistent=False)

    def forward(self, predictions: dict[str, Tensor], representations: dict[str, Tensor]) -> Tensor:
        """Weigh the edges of each sample [B, 6], in the order of ``PAIRS``."""
        nodes = {
            name: torch.cat([self.prediction(predictions[name]), self.representation(representations[name])], 1)
            for name in NODES
        }
        scores = [self.edge(torch.cat([nodes[student], nodes[teacher]], 1)) for student, teacher in PAIRS]
        return (_SHARPNESS * torch.cat(scores, 1)).softmax(1)

    def distance_from_prior(self, edges: Tensor) -> Tensor:
        """Compare the mean weights of the batch with the prior."""
        return _PRIOR_WEIGHT * (edges.mean(0) - self.prior).square().sum()

    def imitation(self, edges: Tensor, predictions: dict[str, Tensor]) -> Tensor:
        """Sum the absolute errors of students, weighted by the edges; no gradient reaches teachers."""
        errors = [(predictions[student] - predictions[teacher].detach()).abs().sum(1) for student, teacher in PAIRS]
        return ((edges + self.prior) * torch.stack(errors, 1)).mean(0).sum()

    def repulsion(self, edges: Tensor, representations: dict[str, Tensor]) -> Tensor:
        """Sum the positive cosines of students and teachers, weighted by the edges."""
        cosines = [
            positive_cosine(representations[student], representations[teacher].detach()) for student, teacher in PAIRS
        ]
        return _REPRESENTATION_WEIGHT * ((edges + self.prior).mean(0) * torch.stack(cosines)).sum()


class DMD(Method):
    """Li, Wang and Cui, CVPR 2023."""

    name = "dmd"
    paper = "Li, Wang, Cui: Decoupled Multimodal Distilling for Emotion Recognition. CVPR 2023, arXiv 2303.13802"
    optimizer = torch.optim.Adam
    sees_padding = "no block masks anything, and the last step is read, padded or not"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 4_405_580, "mosei": 1_667_600}
    compared = (
        "equal without `proj_cosine` (mosi: 345,150; mosei: 129,690), which never trains, and two biases of the graphs "
        "that no output depends on"
    )
    small: ClassVar[dict] = {"accumulate": 1, "width": 10, "heads": 2, "layers": 1}

    class Hyperparameters(Method.Hyperparameters):
        """Those of the released code for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. The released code has no limit"
        )
        batch_size: int = Field(16, ge=1, description="utterances per forward pass")
        accumulate: int = Field(10, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            10, ge=1, description="epochs without a better validation score after which training stops"
        )
        alignment: Literal["none", "words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's "
            "word. pooled: means over equal parts of the padded length. none: they keep their own frames",
        )
        learning_rate: float = Field(1e-4, gt=0, description="learning rate of all weights, text encoder included")
        plateau_patience: int = Field(
            5, ge=0, description="epochs without a better validation error after which the learning rate is halved"
        )
        gradient_clip: float = Field(0.6, gt=0, description="largest absolute value of one entry of the gradient")
        width: int = Field(50, ge=1, description="width of each sequence after the convolution")
        heads: int = Field(10, ge=1, validate_default=True, description="attention heads; they must divide the width")
        layers: int = Field(4, ge=1, description="layers of each encoder; those after crossmodal ones have at least 3")
        text_kernel: int = Field(5, ge=1, description="kernel size of the convolution over text")
        audio_kernel: int = Field(5, ge=1, description="kernel size of the convolution over audio")
        vision_kernel: int = Field(5, ge=1, description="kernel size of the convolution over vision")
        attention_dropout: float = Field(
            0.3, ge=0, lt=1, description="dropout on attention to text and on the attention after crossmodal encoders"
        )
        attention_dropout_audio: float = Field(0.2, ge=0, lt=1, description="dropout on attention to audio")
        attention_dropout_vision: float = Field(0.0, ge=0, lt=1, description="dropout on attention to vision")
        relu_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the feed-forward layers")
        embedding_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the input of every encoder")
        residual_dropout: float = Field(0.0, ge=0, lt=1, description="dropout before every residual connection")
        text_dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the output of the text encoder")
        output_dropout: float = Field(0.5, ge=0, lt=1, description="dropout inside every head")
        common_graph_width: int = Field(64, ge=1, description="width of the layers of the graph of the common space")
        specific_graph_width: int = Field(32, ge=1, description="width of the layers of the graph of specific spaces")
        distillation_weight: float = Field(0.05, ge=0, description="weight of the losses of both graphs")
        decoupling_weight: float = Field(
            0.1, ge=0, description="weight of the reconstruction errors of sequences and of their specific parts"
        )
        separation_weight: float = Field(
            0.01, ge=0, description="weight of the margin of common parts and of their overlap with specific parts"
        )
        margin: float = Field(
            0.15, ge=0, description="least difference of the cosines of equal and other labels, per unit of the label"
        )
        cosine_axis: Literal["channels", "batch"] = Field(
            "channels",
            description="axis of the cosine of specific and common parts. channels: those of one step of an utterance. "
            "batch: one channel of one step in all utterances of the batch",
            json_schema_extra={"released": "batch"},
        )

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "width": 30,
            "heads": 6,
            "audio_kernel": 1,
            "vision_kernel": 3,
            "attention_dropout": 0.4,
            "attention_dropout_audio": 0.0,
            "embedding_dropout": 0.0,
            "text_dropout": 0.3,
        },
        "demo": {"epochs": 10, "accumulate": 1, "learning_rate": 1e-3, "width": 20, "heads": 4, "layers": 2},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        kernels = {"text": h.text_kernel, "audio": h.audio_kernel, "vision": h.vision_kernel}
        dropouts = {
            "text": h.attention_dropout,
            "audio": h.attention_dropout_audio,
            "vision": h.attention_dropout_vision,
        }
        flat = {name: width * (max(spec.length[name] - kernels[name], 0) + 1) for name in NODES}

        def linear(inputs: int) -> nn.Linear:
            return nn.Linear(inputs, width, bias=False)

        def head(inputs: int, hidden: int) -> ResidualHead:
            return ResidualHead(inputs, hidden, spec.outputs, h.output_dropout)

        self.text_dropout = nn.Dropout(h.text_dropout)
        self.projections = nn.ModuleDict({name: Convolution(inputs[name], width, kernels[name]) for name in NODES})
        self.specific = nn.ModuleDict({name: linear(width) for name in NODES})
        self.common = linear(width)
        self.decoders = nn.ModuleDict({name: linear(2 * width) for name in NODES})

        self.common_vectors = nn.ModuleDict({name: nn.Linear(flat[name], width) for name in NODES})
        self.common_heads = nn.ModuleDict({name: head(flat[name], width) for name in NODES})
        self.common_attention = nn.ModuleDict({name: self.attention(width, h.layers, dropouts[name]) for name in NODES})
        self.common_fusion = head(3 * width, 3 * width)

        self.crossmodal = pairwise(lambda source: self.attention(width, h.layers, dropouts[source]))
        self.memory = nn.ModuleDict(
            {name: self.attention(2 * width, max(h.layers, _MEMORY_LAYERS), h.attention_dropout) for name in NODES}
        )
        self.specific_heads = nn.ModuleDict({name: head(2 * width, 2 * width) for name in NODES})

        self.gates = nn.ModuleDict({name: nn.Linear(2 * width, 2 * width) for name in NODES})
        self.common_gate = nn.Linear(3 * width, 3 * width)
        self.fusion = head(9 * width, 9 * width)

        from_text = (("vision", "text"), ("audio", "text"))
        self.common_graph = DistillationGraph(spec.outputs, width, h.common_graph_width, from_text)
        self.specific_graph = DistillationGraph(
            spec.outputs, 2 * width, h.specific_graph_width, (*from_text, ("audio", "vision"))
        )
        self.plateau = Plateau(factor=0.5, patience=h.plateau_patience)

    def attention(self, width: int, layers: int, dropout: float) -> CrossmodalEncoder:
        """Build an encoder; all have the same hyperparameters but these."""
        h = self.hyperparameters
        return CrossmodalEncoder(
            width,
            h.heads,
            layers,
            attention_dropout=dropout,
            relu_dropout=h.relu_dropout,
            residual_dropout=h.residual_dropout,
            embedding_dropout=h.embedding_dropout,
            positions=True,
        )

    def project(self, batch: Batch) -> dict[str, Tensor]:
        """Bring the sequences of all modalities [B, T, width] to the same width."""
        inputs = {
            "text": self.text_dropout(self.encoder(batch.text)),
            "audio": batch.audio.values,
            "vision": batch.vision.values,
        }
        return {name: self.projections[name](inputs[name]) for name in NODES}

    def attend(self, specific: dict[str, Tensor], common: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Summarise the specific parts of each modality [B, 2 width], and the common parts of all [B, 3 width]."""
        summaries = summarised(self.crossmodal, self.memory, specific)
        shared = encode([Job(self.common_attention[name], common[name]) for name in NODES], last=True)
        return summaries, torch.cat(shared, 2).squeeze(1)

    def fuse(self, specific: dict[str, Tensor], common: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from the gates of all summaries; returns the prediction and what is predicted from [B, 9 width]."""
        gates = [self.gates[name](specific[name]) for name in NODES]
        output, _, fused = self.fusion(torch.cat([*gates, self.common_gate(common)], 1).sigmoid())
        return output, fused

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the specific parts of the modalities and from what they have in common."""
        projected = self.project(batch)
        specific = {name: self.specific[name](x) for name, x in projected.items()}
        output, fused = self.fuse(*self.attend(specific, {name: self.common(x) for name, x in projected.items()}))
        return Prediction(self.readout(output), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the errors of all predictions, the losses of both graphs and those of the decoupling."""
        h, label = self.hyperparameters, batch.label
        projected = self.project(batch)
        specific = {name: self.specific[name](x) for name, x in projected.items()}
        common = {name: self.common(x) for name, x in projected.items()}
        rebuilt = {name: self.decoders[name](torch.cat([specific[name], common[name]], 2)) for name in NODES}
        summaries, shared = self.attend(specific, common)
        output, _ = self.fuse(summaries, shared)

        of_common = {name: self.common_heads[name](common[name].flatten(1)) for name in NODES}
        of_specific = {name: self.specific_heads[name](summaries[name]) for name in NODES}
        common_outputs, hidden = ({name: x[i] for name, x in of_common.items()} for i in (0, 1))
        specific_outputs, refined = ({name: x[i] for name, x in of_specific.items()} for i in (0, 2))
        common_edges = self.common_graph(common_outputs, hidden)
        specific_edges = self.specific_graph(specific_outputs, refined)

        vectors = torch.cat([self.common_vectors[name](common[name].flatten(1)) for name in NODES])
        overlaps = [positive_cosine(self.rows(specific[name]), self.rows(common[name])) for name in NODES]
        return {
            "sentiment": self.error(self.readout(output), label),
            "common": self.error(self.readout(self.common_fusion(shared)[0]), label),
            "common_modalities": self.errors(common_outputs, label),
            "specific_modalities": self.errors(specific_outputs, label),
            "common_distillation": h.distillation_weight
            * (
                self.common_graph.imitation(common_edges, common_outputs)
                + self.common_graph.distance_from_prior(common_edges)
            ),
            "specific_distillation": h.distillation_weight
            * (
                self.specific_graph.imitation(specific_edges, specific_outputs)
                + self.specific_graph.repulsion(specific_edges, refined)
                + self.specific_graph.distance_from_prior(specific_edges)
            ),
            "reconstruction": h.decoupling_weight * sum(F.mse_loss(rebuilt[name], projected[name]) for name in NODES),
            "specific_reconstruction": h.decoupling_weight
            * sum(F.mse_loss(self.specific[name](rebuilt[name]), specific[name]) for name in NODES),
            "margin": h.separation_weight
            * margin_of_labels(vectors, self.distances(label).repeat(3, 3), margin=h.margin),
            "overlap": h.separation_weight * torch.stack(overlaps).sum(),
        }

    def errors(self, outputs: dict[str, Tensor], label: Tensor) -> Tensor:
        """Sum the errors of the predictions of the modalities."""
        return torch.stack([self.error(self.readout(outputs[name]), label) for name in NODES]).sum()

    def distances(self, label: Tensor) -> Tensor:
        """Return how far apart the labels of two samples are [B, B]; 1 for two classes."""
        if self.spec.task is TaskKind.CLASSIFICATION:
            return (label[:, None] != label).float()
        return (label[:, None] - label).abs()

    def rows(self, x: Tensor) -> Tensor:
        """Turn a sequence [B, T, width] into the rows that a cosine compares."""
        return (x.permute(1, 2, 0) if self.hyperparameters.cosine_axis == "batch" else x).flatten(0, 1)

    def learning_rate_factor(self, epoch: int) -> float:
        """Return a half of what it was after every plateau of the validation error."""
        return self.plateau.multiplier

    def on_epoch_end(self, error: float) -> None:
        """Watch for a plateau."""
        self.plateau.step(error)

    def after_backward(self) -> None:
        """Clip every entry of the gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)


@float32
def positive_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Average the cosine of the rows of two matrices [N, d], where it is positive; a negative one counts as 0."""
    return F.cosine_embedding_loss(x, y, -x.new_ones(len(x)))


@float32
def margin_of_labels(vectors: Tensor, distances: Tensor, *, margin: float) -> Tensor:
    """Hinge loss by which vectors of equal labels are nearer than vectors of other labels, the farther the label.

    Parameters
    ----------
    vectors : Tensor [N, d]
    distances : Tensor [N, N]
        Of the labels.
    margin : float
        Least difference of the two cosines, per unit of distance.

    Returns
    -------
    Tensor []
        Mean over the pairs of an equal and another label, then over the vectors that have such pairs; 0 if none has.
    """
    lengths = (vectors.square().sum(1) + _EPSILON).sqrt()
    cosine = vectors @ vectors.T / (lengths[:, None] * lengths)
    equal = (distances == 0) & ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    pairs = equal[:, :, None] & (distances > 0)[:, None]
    hinge = F.relu(margin * distances[:, None] - cosine[:, :, None] + cosine[:, None])
    count = pairs.sum((1, 2))
    return ((hinge * pairs).sum((1, 2)) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)

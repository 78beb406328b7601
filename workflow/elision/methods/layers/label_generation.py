"""Label generation of Self-MM, by which TETFN is trained too.

Unimodal heads are trained beside the fused one. Their labels are generated, epoch by epoch: a modality whose feature
lies nearer to the centre of the positive samples than the fused feature does gets a more positive label.

This follows MMSA's code. Two things differ: a centre without any sample keeps its value instead of becoming nan, and
the generated labels are part of the weights file, so that a resumed run goes on with them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.precision import raised
from elision.task import MODALITIES

HEADS = ("fusion", *MODALITIES)
_EPSILON = 1e-8


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


class LabelGenerator(nn.Module):
    """Labels of the training samples for every head, and the memory of features from which they are generated.

    Parameters
    ----------
    heads : nn.ModuleDict of Head
        The heads by name: those of ``HEADS``. They stay the method's own.
    samples : int
        Size of the training split.
    limit : float
        Largest absolute label that is generated.

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

    def __init__(self, heads: nn.ModuleDict, *, samples: int, limit: float) -> None:
        super().__init__()
        self.limit, self.later = limit, False
        self.register_buffer("epoch", torch.tensor(1))
        self.register_buffer("labels", torch.zeros(len(HEADS), samples))
        for head in HEADS:
            width = heads[head].feature.out_features
            self.register_buffer(f"features_{head}", torch.zeros(samples, width))
            self.register_buffer(f"centres_{head}", torch.zeros(2, width))

    def begin_training(self, labels: Tensor) -> None:
        """Start every unimodal label at the true one [N]."""
        self.labels.copy_(labels.expand_as(self.labels))

    def on_epoch_start(self, epoch: int) -> None:
        """Labels settle as epochs pass: the newest counts 2 / (epoch + 1)."""
        self.epoch.fill_(epoch)
        self.later = epoch > 1

    def terms(self, outputs: dict[str, tuple[Tensor, Tensor]], batch: Batch) -> dict[str, Tensor]:
        """Return the absolute error of every head; unimodal ones weigh more the more their label differs.

        Parameters
        ----------
        outputs : dict of str to (Tensor [B, width], Tensor [B])
            Feature and score of every head.
        batch : Batch
            Of the training split.
        """
        terms = {"fusion": F.l1_loss(outputs["fusion"][1], batch.label)}
        for row, head in enumerate(HEADS[1:], start=1):
            label = self.labels[row, batch.index]
            weight = torch.tanh((label - batch.label).abs())
            terms[head] = (weight * (outputs[head][1] - label).abs()).mean()
        return terms

    @torch.no_grad()
    def remember(self, features: dict[str, Tensor], batch: Batch) -> None:
        """Generate unimodal labels from features and centres, store the features, and recompute the centres."""
        index = batch.index
        features = {head: raised(feature) for head, feature in features.items()}
        if self.later:
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
                label = label.clamp(-self.limit, self.limit)
                self.labels[row, index] = (1 - share) * self.labels[row, index] + share * label
        for row, head in enumerate(HEADS):
            memory, centres = getattr(self, f"features_{head}"), getattr(self, f"centres_{head}")
            memory[index] = features[head]
            members = torch.stack([self.labels[row] > 0, self.labels[row] < 0]).to(memory.dtype)
            counts = members.sum(1, keepdim=True)
            centres.copy_(torch.where(counts > 0, members @ memory / counts.clamp(min=1), centres))


class LabelGeneratingMethod(Method):
    """A method with a fused and three unimodal heads that is trained on generated labels.

    Subclasses make ``heads`` and ``label_generator``, and say what the heads read.
    """

    compiled = ("forward_heads", "predict")
    optimizer = torch.optim.Adam
    heads: nn.ModuleDict
    label_generator: LabelGenerator

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """Return what each head reads [B, D]."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> Prediction:
        """Predict with the fusion head."""
        feature, output = self.heads["fusion"](self.represent(batch)["fusion"])
        return Prediction(output, feature)

    def forward_heads(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the feature [B, width] and the score [B] of every head."""
        return {head: self.heads[head](vector) for head, vector in self.represent(batch).items()}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of every head on a batch of the training split."""
        return self.label_generator.terms(self.forward_heads(batch), batch)

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch, then generate its labels anew and move the centres."""
        outputs = self.forward_heads(batch)
        terms = self.label_generator.terms(outputs, batch)
        self.descend(terms, optimizers, step)
        self.label_generator.remember({head: feature for head, (feature, _) in outputs.items()}, batch)
        return {name: term.detach() for name, term in terms.items()}

    def begin_training(self, labels: Tensor) -> None:
        """Start every unimodal label at the true one."""
        self.label_generator.begin_training(labels)

    def on_epoch_start(self, epoch: int) -> None:
        """Tell the label generator the epoch, on which the weight of new labels depends."""
        self.label_generator.on_epoch_start(epoch)

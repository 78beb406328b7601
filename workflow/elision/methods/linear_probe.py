"""A linear probe: ridge regression, or logistic regression for classes, on the mean vectors of the modalities.

The probe tells what the features give away without a network: a method that is worse has lost what one linear layer
keeps. The vector of a modality is the mean of the observed frames, or of the observed text vectors. All vectors stand
side by side. Each dimension is scaled to mean 0 and variance 1 over the training samples that have the modality, and an
absent modality is zeros. The training corruption is that of the other methods, so that the comparison is fair on
incomplete data, too.

An epoch is one strength of regularisation, from the strongest to the weakest. The trainer chooses the strength as it
chooses the epoch of any other method: on the validation split. Nothing is random except the training corruption.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.methods.layers.pooling import mean_observed
from elision.task import MODALITIES, DataSpec, TaskKind


class LinearProbe(Method):
    """Ridge or logistic regression; weights are solved for, not trained by gradients.

    Attributes
    ----------
    centre, scale : Tensor [D]
        Of each dimension over the training samples that have its modality.
    """

    name = "linear_probe"
    floor = True
    own_epochs = True
    reads_text = "vectors"
    error_of_scores = "squared"
    sums_gradients = False
    small: ClassVar[dict] = {"steps": 20}

    class Hyperparameters(TrainingHyperparameters):
        """The penalty is strength / 2 times the sum of the squared weights, beside the mean error over samples."""

        epochs: int = Field(
            11,
            ge=2,
            description="strengths of regularisation that are tried, one per epoch, at equal ratios. train.epochs "
            "does not change this number",
        )
        batch_size: int = Field(256, ge=1, description="utterances per forward pass; the fit is of all utterances")
        accumulate: int = Field(1, ge=1, le=1, description="always 1: no gradient is followed")
        strongest: float = Field(100.0, gt=0, description="regularisation in the first epoch")
        weakest: float = Field(1e-3, gt=0, description="regularisation in the last epoch")
        steps: int = Field(
            50, ge=1, description="steps towards the logistic regression of classes; scores need one step"
        )

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        width = sum(getattr(spec, name) for name in MODALITIES)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.head = nn.Linear(width, spec.outputs).requires_grad_(False)
        self.strength, self.collects = hyperparameters.strongest, False
        self._collected: list[tuple[Tensor, Tensor, Tensor]] = []

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """None: the weights are solved for."""
        return []

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean vectors side by side [B, D], and which of their dimensions are present [B, D] bool."""
        means, present = zip(*(mean_observed(getattr(batch, name)) for name in MODALITIES), strict=True)
        masks = [there.expand_as(mean) for there, mean in zip(present, means, strict=True)]
        return torch.cat(means, 1), torch.cat(masks, 1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the scaled vectors, zeros where a modality is absent."""
        vectors, present = self.vectors(batch)
        scaled = torch.where(present, (vectors - self.centre) / self.scale, 0.0)
        return Prediction(self.readout(self.head(scaled)), scaled)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction, without the penalty."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}

    def on_epoch_start(self, epoch: int) -> None:
        """Take the next strength."""
        h = self.hyperparameters
        self.strength = h.strongest * (h.weakest / h.strongest) ** ((min(epoch, h.epochs) - 1) / (h.epochs - 1))

    def passes(self, batches: int) -> list[int]:
        """A pass that collects the vectors of all batches, and one that measures the loss of the fit."""
        return [batches, batches]

    def on_pass_start(self, number: int) -> None:
        """Collect in the first pass; fit before the second."""
        self.collects = number == 0
        if number == 1:
            self.fit(*map(torch.cat, zip(*self._collected, strict=True)))
        self._collected = []

    @torch.no_grad()
    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Collect a batch, or measure its loss."""
        if self.collects:
            self._collected.append((*self.vectors(batch), batch.label))
            return {}
        return self.loss(batch)

    @torch.no_grad()
    def fit(self, vectors: Tensor, present: Tensor, labels: Tensor) -> None:
        """Find scales and weights from the vectors [N, D] of the training split, and where they are present."""
        # Sums over thousands of samples; and not every device has float64.
        device = "cpu" if vectors.device.type == "mps" else vectors.device
        x, there = vectors.to(device, torch.float64), present.to(device, torch.float64)
        count = there.sum(0).clamp(min=1)
        centre = (x * there).sum(0) / count
        scale = (((x - centre) * there).square().sum(0) / count).sqrt()
        scale = torch.where(scale < 1e-6, 1.0, scale)
        classes = self.spec.task is TaskKind.CLASSIFICATION
        targets = labels.to(device)[:, None]
        targets = targets == torch.arange(self.spec.outputs, device=device) if classes else targets
        weight, bias = solve(
            (x - centre) / scale * there,
            targets.to(torch.float64),
            strength=self.strength,
            classes=classes,
            steps=self.hyperparameters.steps,
        )
        for kept, found in (
            (self.centre, centre),
            (self.scale, scale),
            (self.head.weight, weight.T),
            (self.head.bias, bias),
        ):
            kept.copy_(found)


def solve(x: Tensor, targets: Tensor, *, strength: float, classes: bool, steps: int) -> tuple[Tensor, Tensor]:
    """Minimise the mean error plus ``strength`` / 2 times the sum of the squared weights; the bias has no penalty.

    Of scores, the error is half the squared error, and one Newton step is exact. Of classes, it is the cross-entropy,
    whose curvature is at most half that of the squared error (Böhning, Annals of the Institute of Statistical
    Mathematics 44, 1992): steps with this bound need one factorisation and never overshoot. Nesterov's momentum makes
    them faster. The number of steps is fixed, so that a device is not waited for.

    Parameters
    ----------
    x : Tensor [N, D]
    targets : Tensor [N, C]
        Scores (C = 1), or classes as zeros and a one.
    strength : float
    classes : bool
    steps : int
        Steps of classes.

    Returns
    -------
    weight : Tensor [D, C]
    bias : Tensor [C]
    """
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    penalty = x.new_full((x.shape[1],), strength)
    penalty[-1] = 0.0
    curvature = (0.5 if classes else 1.0) * (x.T @ x) / len(x) + penalty.diag()
    factor = torch.linalg.cholesky_ex(curvature).L
    weight = ahead = x.new_zeros(x.shape[1], targets.shape[1])
    for step in range(steps if classes else 1):
        found = (x @ ahead).softmax(1) if classes else x @ ahead
        gradient = x.T @ (found - targets) / len(x) + penalty[:, None] * ahead
        last, weight = weight, ahead - torch.cholesky_solve(gradient, factor)
        ahead = weight + step / (step + 3) * (weight - last)
    return weight[:-1], weight[-1]

"""The network of SMIL, trained on complete data before the meta-learning.

Two convolutions read a modality. The mean over its frames is the vector of the modality. The three vectors side by
side pass one hidden layer and a classifier. SMIL starts from these weights, and its centres are those of the vectors
that this network makes of the training samples.

The released code has two modalities, images of digits and their sounds, and no code for MOSI. It trains an encoder of
each by itself before both together. Here the three are trained together at once. The network is the code's, with
convolutions over time in place of those over images, and with sizes of HRLF for vectors and kernels. A modality without
a frame has a vector of zeros. A score has the squared error, classes the cross-entropy. On MOSEI, epochs are ours.
"""

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.task import MODALITIES, DataSpec

if TYPE_CHECKING:
    from elision.methods.smil import Completion


class Features(NamedTuple):
    """What the network makes of a batch: output [B, outputs], vectors side by side [B, 3 d], hidden layer [B, D]."""

    output: Tensor
    joined: Tensor
    hidden: Tensor


class Encoder(nn.Module):
    """Two convolutions over time, each with a ReLU, and the mean over the frames of a sequence.

    All of it has a second derivative, which the meta-learning needs.

    Parameters
    ----------
    inputs, width, kernel : int
    """

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        sizes = (inputs, width), (width, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(*pair, kernel, padding="same") for pair in sizes)

    def forward(self, sequence: Sequence) -> Tensor:
        """Summarise a modality in one vector [B, width]; zeros without a frame."""
        valid = sequence.valid[:, None]
        x = sequence.values.transpose(1, 2)
        for convolution in self.convolutions:
            x = convolution(x).relu() * valid
        return x.sum(2) / valid.sum(2).clamp(min=1)


class Network(nn.Module):
    """Encoders of the modalities, one hidden layer and a classifier.

    Parameters
    ----------
    h : SMILHyperparameters
    spec : DataSpec
    """

    def __init__(self, h: "SMILHyperparameters", spec: DataSpec) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: Encoder(getattr(spec, name), h.width, h.kernel) for name in MODALITIES})
        self.fuse = nn.Linear(3 * h.width, h.hidden)
        self.dropout = nn.Dropout(h.dropout)
        self.head = nn.Linear(h.hidden, spec.outputs)

    def embed(self, batch: Batch) -> Tensor:
        """Return the vectors [B, 3, width] of the modalities."""
        return torch.stack([encode(getattr(batch, name)) for name, encode in self.encoders.items()], 1)

    def forward(self, batch: Batch, completion: "Completion | None" = None, *, noisy: bool = False) -> Features:
        """Predict; a completion fills in the vectors of what is missing, and changes the features of such samples."""
        vectors = self.embed(batch)
        if completion is None:
            joined = vectors.flatten(1)
            hidden = self.fuse(joined).relu()
        else:
            given = completion.given(batch)
            condition = completion.condition(vectors, given)
            joined = completion.fill(vectors, given, condition).flatten(1)
            joined = completion.change(joined, completion.of_joined(condition), given, noisy=noisy)
            hidden = completion.change(self.fuse(joined).relu(), completion.of_hidden(joined), given, noisy=noisy)
        return Features(self.head(self.dropout(hidden)), joined, hidden)


class SMILHyperparameters(TrainingHyperparameters):
    """What teacher and method share; those of the released code."""

    batch_size: int = Field(64, ge=1, description="utterances per forward pass")
    learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty")
    gradient_clip: float | None = Field(
        None, gt=0, description="largest norm of the gradient (null: no limit, as in the released code)"
    )
    width: int = Field(40, ge=1, description="width of the vector of a modality; ours, as in HRLF")
    kernel: int = Field(3, ge=1, description="kernel size of the convolutions over time; ours, as in HRLF")
    hidden: int = Field(64, ge=1, description="width of the hidden layer before the classifier")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout before the classifier")


class SMILMethod(Method):
    """Adam, and a learning rate that falls once."""

    error_of_scores = "squared"
    reads_text = "vectors"
    paper = (
        "Ma, Ren, Zhao, Tulyakov, Wu, Peng: SMIL: Multimodal Learning with Severely Missing Modality. AAAI 2021, arXiv "
        "2103.05677"
    )
    small: ClassVar[dict] = {"width": 8, "hidden": 8, "dropout": 0.0}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        h = self.hyperparameters
        return [torch.optim.Adam(self.trainable(), lr=h.learning_rate, weight_decay=h.weight_decay)]

    def learning_rate_factor(self, epoch: int) -> float:
        """A tenth after a share of the epochs."""
        h = self.hyperparameters
        return 1.0 if epoch <= max(1, h.constant_share * h.epochs) else 0.1


class SMILTeacher(SMILMethod):
    """Ma, Ren, Zhao, Tulyakov, Wu and Peng, AAAI 2021: the network before the meta-learning."""

    name = "smil_teacher"
    corruption = "complete"
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 202_164}
    compared = "the released code is for images and sounds"

    class Hyperparameters(SMILHyperparameters):
        """Those of the released code for images and sounds."""

        epochs: int = Field(60, ge=0, description="passes over the training split")
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        constant_share: float = Field(
            0.5, gt=0, le=1, description="share of the epochs after which the learning rate falls to a tenth"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"epochs": 20},
        "demo": {"epochs": 10, "batch_size": 8, "dropout": 0.1},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.network = Network(hyperparameters, spec)

    @torch.no_grad()
    def hidden(self, batch: Batch) -> dict[str, Tensor]:
        """Return the vector [B, width] of each modality, for the centres; zeros for one without a frame."""
        return dict(zip(MODALITIES, self.network.embed(batch).unbind(1), strict=True))

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the hidden layer."""
        found = self.network(batch)
        return Prediction(self.readout(found.output), found.hidden)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}

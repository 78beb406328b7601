"""What MMIN and its descendants share: encoders, training, and a teacher that has seen complete data."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Method, TrainingHyperparameters
from elision.methods.layers.utterance import LSTMEncoder, TextCNN
from elision.task import MODALITIES, DataSpec

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

ORDER = ("audio", "text", "vision")  # of the fused vectors
WIDTH = 128  # of the vector of a modality


INITIALISATION = (
    "deviation of the normal distribution of the initial weights. kaiming: root of 2 / inputs. lecun: root of 1 / "
    "inputs. normal: init_gain"
)


class AdamHyperparameters(TrainingHyperparameters):
    """How the methods of the family are trained; the values are those of MMIN."""

    constant_epochs: int = Field(30, ge=1, description="epochs at the full learning rate")
    decay_epochs: int = Field(30, ge=0, description="epochs during which the learning rate falls linearly")
    epochs: int = Field(
        60,
        ge=0,
        description="passes over the training split. Default: constant_epochs + decay_epochs. Another "
        "number keeps the proportion of both",
    )
    batch_size: int = Field(128, ge=1, description="utterances per forward pass")
    learning_rate: float = Field(2e-4, gt=0, description="learning rate of Adam before the rate falls")
    beta1: float = Field(0.5, ge=0, lt=1, description="first beta of Adam; the second is 0.999")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient of each sub-network")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout in the classifier")
    initialisation: Literal["kaiming", "lecun", "normal"] = Field("kaiming", description=INITIALISATION)
    init_gain: float = Field(
        0.012, gt=0, description="standard deviation of the initial weights, for initialisation: normal"
    )

    @model_validator(mode="after")
    def _add_epochs(self) -> "AdamHyperparameters":
        if "epochs" not in self.model_fields_set:
            self.__dict__["epochs"] = self.constant_epochs + self.decay_epochs  # past the frozen setter
        return self


class FamilyHyperparameters(AdamHyperparameters):
    """What the methods have that read sequences with `Encoders`."""

    text_dropout: float = Field(0.5, ge=0, lt=1, description="dropout in the convolutional encoder of text")
    mask_padding: bool = Field(
        True,
        description="false lets padding take part in the maxima over time, up to the padded length of the dataset",
        json_schema_extra={"released": False},
    )


class TeacherHyperparameters(FamilyHyperparameters):
    """What the teachers are trained with, on complete data; the values are those of MMIN's."""

    constant_epochs: int = Field(10, ge=1, description="epochs at the full learning rate")
    decay_epochs: int = Field(10, ge=0, description="epochs during which the learning rate falls linearly")
    beta1: float = Field(0.9, ge=0, lt=1, description="first beta of Adam; the second is 0.999")
    clip: float = Field(0.5, gt=0, description="largest norm of the gradient of each sub-network")
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout in the classifier")


class Encoders(nn.ModuleDict):
    """One encoder per modality: LSTMs for audio and vision, and convolutions or an LSTM for text.

    Parameters
    ----------
    hyperparameters : FamilyHyperparameters
    spec : DataSpec
    text : nn.Module, optional
        Encoder of text; a `TextCNN`, if it is not given.
    """

    def __init__(self, hyperparameters: FamilyHyperparameters, spec: DataSpec, text: nn.Module | None = None) -> None:
        h = hyperparameters
        super().__init__(
            {
                "audio": LSTMEncoder(spec.audio, WIDTH, h.mask_padding),
                "text": text or TextCNN(spec.text, WIDTH, h.text_dropout, h.mask_padding),
                "vision": LSTMEncoder(spec.vision, WIDTH, h.mask_padding),
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        """Encode each modality in a vector; returns them side by side [B, 3 * WIDTH], in ``ORDER``."""
        return torch.cat([self[name](getattr(batch, name)) for name in ORDER], 1)


class InvariantHead(nn.Sequential):
    """Layers that the modalities share, from a modality's vector to one that is invariant (IF-MMIN, section 2.2)."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU())

    def forward(self, fused: Tensor) -> Tensor:
        """Turn vectors side by side [B, 3 * WIDTH] into invariant ones."""
        return super().forward(fused.unflatten(1, (-1, WIDTH))).flatten(1)


def initialise(network: nn.Module, initialisation: str = "kaiming", deviation: float = 0.0) -> None:
    """Draw the weights of all linear and convolutional layers anew, and set their biases to 0.

    Parameters
    ----------
    network : nn.Module
    initialisation : str
        ``kaiming``: the outputs of a ReLU keep the scale of its inputs; ``lecun``: those of a linear layer do, which a
        cascade that adds up its layers needs; ``normal``.
    deviation : float
        Of ``normal``.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            if initialisation == "normal":
                nn.init.normal_(module.weight, std=deviation)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if initialisation == "kaiming" else "linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def masked(batch: Batch, keep: Tensor) -> Batch:
    """Return the batch with zeros for the values of modalities that are not kept.

    Parameters
    ----------
    batch : Batch
    keep : Tensor [B, 3] bool
        For text, audio and vision.
    """
    kept = {}
    for column, name in enumerate(MODALITIES):
        sequence = getattr(batch, name)
        kept[name] = replace(sequence, values=sequence.values * keep[:, column, None, None])
    return replace(batch, **kept)


class FamilyMethod(Method):
    """Base class: Adam, a learning rate that falls linearly, and clipping per sub-network.

    Subclasses make their modules, ``encoders`` among them, and then call ``initialise``.

    Attributes
    ----------
    inherits : tuple of str
        Modules that start from the weights of the teacher's module of the same name, where the method has a teacher.
    """

    reads_text = "vectors"
    inherits: ClassVar[tuple[str, ...]] = ("encoders",)

    class Hyperparameters(AdamHyperparameters):
        """Hyperparameters of the method."""

    def __init__(self, hyperparameters: AdamHyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        # In a list, the teacher is no submodule: neither trained nor stored.
        self._teacher: list[Method] = []

    def initialise(self) -> None:
        """Draw the weights of linear and convolutional layers anew; their biases are 0."""
        h = self.hyperparameters
        initialise(self, h.initialisation, h.init_gain)

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the weights of the teacher, and keep the teacher for the loss."""
        for teacher in teachers.values():
            self._teacher = [teacher]
            for name in self.inherits:
                getattr(self, name).load_state_dict(getattr(teacher, name).state_dict())

    @property
    def teacher(self) -> Method:
        """The teacher, frozen and in evaluation mode."""
        return self._teacher[0]

    def _apply(self, fn, recurse: bool = True) -> "FamilyMethod":  # noqa: ANN001
        """Move the teacher with the rest."""
        for teacher in self._teacher:
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    @torch.no_grad()
    def missing_target(self, batch: Batch) -> Tensor:
        """Return what the teacher's encoders make of the missing modalities alone, zeros for the others [B, 384]."""
        return self.teacher.encoders(masked(batch.clean, ~self.available(batch)))

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, without weight decay."""
        h = self.hyperparameters
        return [torch.optim.Adam(self.trainable(), lr=h.learning_rate, betas=(h.beta1, 0.999))]

    def learning_rate_factor(self, epoch: int) -> float:
        """Constant, then falling linearly to 1 / (decay_epochs + 1); in proportion in a training of another length."""
        h = self.hyperparameters
        constant = math.ceil(h.constant_epochs * h.epochs / (h.constant_epochs + h.decay_epochs))
        return 1 - max(0, epoch - constant) / (h.epochs - constant + 1)

    def sub_networks(self) -> list[nn.Module]:
        """Return the modules whose gradients are clipped: the members of module dictionaries, and other children."""
        networks = []
        for child in self.children():
            networks += child.values() if isinstance(child, nn.ModuleDict) else [child]
        return networks

    def after_backward(self) -> None:
        """Clip the norm of the gradient of each sub-network."""
        for network in self.sub_networks():
            parameters = [p for p in network.parameters() if p.grad is not None]
            if parameters:
                nn.utils.clip_grad_norm_(parameters, self.hyperparameters.clip)

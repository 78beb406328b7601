"""What DiCMoR and IMDer share: MulT on projections of which those of missing modalities are recovered.

A teacher, MulT on complete data, gives the text encoder, the projections of the modalities and the fusion. Text encoder
and projections stay as they are. What a method generates for a missing modality is refined, and the fusion reads the
refined projection in place of the missing one.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.errors import ElisionError
from elision.methods.base import Method, Prediction
from elision.methods.layers.crossmodal import Convolution, summarised
from elision.methods.layers.plateau import Plateau
from elision.methods.layers.precision import float32
from elision.methods.layers.text_encoder import words_of
from elision.methods.mult import MulT
from elision.task import MODALITIES, DataSpec

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

# What a modality is recovered from, in the order in which both are put side by side.
SOURCES = {"text": ("vision", "audio"), "audio": ("text", "vision"), "vision": ("text", "audio")}


class ChannelBlock(nn.Module):
    """Residual block of two convolutions over time, whose channels are weighed by their own means.

    Parameters
    ----------
    width, reduction : int
        Of the channels, and how many of them share a hidden unit of the attention.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, width, 3, padding=1)
        )
        inner = max(1, width // reduction)
        self.attention = nn.Sequential(nn.Conv1d(width, inner, 1), nn.ReLU(), nn.Conv1d(inner, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Change a sequence [B, width, T]."""
        changed = self.convolutions(x)
        return x + changed * self.attention(changed.mean(2, keepdim=True))


class Refinement(nn.Module):
    """Residual channel attention network: twice the width, blocks and a convolution with a skip, and back.

    Parameters
    ----------
    width, blocks, reduction : int
        Of the sequence; number of blocks; see `ChannelBlock`.
    """

    def __init__(self, width: int, blocks: int, reduction: int) -> None:
        super().__init__()
        self.expand, self.contract = nn.Conv1d(width, 2 * width, 1), nn.Conv1d(2 * width, width, 1)
        self.blocks = nn.Sequential(
            *(ChannelBlock(2 * width, reduction) for _ in range(blocks)), nn.Conv1d(2 * width, 2 * width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Refine a sequence [B, T, width]."""
        x = self.expand(x.transpose(1, 2))
        return self.contract(x + self.blocks(x)).transpose(1, 2)


class AlignedMulT(MulT):
    """MulT as teachers and methods have it: aligned, with positions, and a rate that halves on a plateau."""

    paper: ClassVar[str] = ""

    class Hyperparameters(MulT.Hyperparameters):
        """What DiCMoR and IMDer share."""

        finetune_text_encoder: bool = Field(
            True, description="true trains the text encoder with the rest of the method"
        )
        learning_rate_text_encoder: float = Field(
            5e-5, gt=0, description="learning rate of the text encoder, if it is trained; ours"
        )
        alignment: Literal["words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's word. "
            "pooled: means over equal parts of the padded length",
            json_schema_extra={"released": "words"},
        )
        plateau_patience: int = Field(
            5, ge=0, description="epochs without a better validation error after which the learning rates halve"
        )
        width: int = Field(32, ge=2, multiple_of=2, description="width of each sequence after the convolution")
        heads: int = Field(8, ge=1, validate_default=True, description="attention heads; they must divide the width")
        vision_kernel: int = Field(
            5, ge=1, validate_default=True, description="kernel size of the convolution over vision"
        )
        positions: Literal["none", "sinusoidal"] = Field(
            "sinusoidal",
            description="positions that are added to every sequence that attends",
            json_schema_extra={"released": "sinusoidal"},
        )

        @field_validator("vision_kernel")
        @classmethod
        def _equal_kernels(cls, kernel: int, info: ValidationInfo) -> int:
            others = {info.data.get(f"{name}_kernel", kernel) for name in ("text", "audio")}
            if others != {kernel}:
                raise ValueError(
                    "kernels of different sizes make sequences of different lengths; set text_kernel, audio_kernel "
                    "and vision_kernel to the same size"
                )
            return kernel

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        for name, size in inputs.items():
            # MulT leaves out a convolution that keeps the width; the sequence would then be longer than the others.
            if size == h.width:
                self.projections[name] = Convolution(size, h.width, h.text_kernel)
        self.plateau = Plateau(factor=0.5, patience=h.plateau_patience)

    def projected(self, batch: Batch) -> dict[str, Tensor]:
        """Return the projection [B, S, width] of each modality; S is T less the kernel size, plus 1."""
        text = self.text_dropout(self.encoder(batch.text))
        inputs = {"text": text, "audio": batch.audio.values, "vision": batch.vision.values}
        return {name: self.projections[name](inputs[name]) for name in MODALITIES}

    def predict_from(self, projected: dict[str, Tensor]) -> Prediction:
        """Predict from the projections of the modalities."""
        fused = torch.cat([*summarised(self.crossmodal, self.memory, projected).values()], 1)
        return Prediction(self.readout(self.out(fused + self.residual(fused))), fused)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the last steps of the three modalities."""
        return self.predict_from(self.projected(batch))


class RecoveryHyperparameters(BaseModel):
    """What a method has beside the hyperparameters of its teacher."""

    finetune_text_encoder: bool = Field(
        False,
        description="true trains the text encoder of the teacher further, by the error of the prediction alone",
        json_schema_extra={"released": False},
    )
    refinement_blocks: int = Field(20, ge=1, description="residual blocks that refine a recovered projection")
    refinement_reduction: int = Field(
        16, ge=1, description="channels of a refinement that share a hidden unit of its channel attention"
    )
    recovery_weight: float = Field(
        0.1, ge=0, description="weight of the loss of the generator, and of the error of the recovered projections"
    )
    mask_padding: bool = Field(
        True,
        description="true leaves padding out of the losses of recovered projections. false: as in the released code",
        json_schema_extra={"released": False},
    )


class RecoveringMethod(AlignedMulT):
    """A method that recovers the projections of missing modalities from those that are given."""

    stores_encoder = True

    class Hyperparameters(RecoveryHyperparameters, AlignedMulT.Hyperparameters):
        """Those of the teacher, and what a method has beside them."""

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.projections.requires_grad_(False)
        # A modality that the dataset does not have is 1 wide. What no sample has cannot be learnt.
        self.recovered = [name for name in MODALITIES if name == "text" or getattr(spec, name) > 1]
        self.join = nn.ModuleDict({name: nn.Linear(2 * h.width, h.width) for name in self.recovered})
        sizes = h.width, h.refinement_blocks, h.refinement_reduction
        self.refine = nn.ModuleDict({name: Refinement(*sizes) for name in self.recovered})

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the text encoder, the projections and the fusion of the teacher.

        Raises
        ------
        ElisionError
            If they have other sizes.
        """
        for teacher in teachers.values():
            for part in ("encoder", "projections", "crossmodal", "memory", "residual", "out"):
                try:
                    getattr(self, part).load_state_dict(getattr(teacher, part).state_dict())
                except RuntimeError as error:
                    raise ElisionError(
                        f"{self.name}: {part} has other sizes in its teacher; set the same width, layers, kernels and "
                        f"modalities under teachers.{teacher.name}"
                    ) from error

    def given(self, batch: Batch) -> Tensor:
        """Return of which of text, audio and vision each sample has something [B, 3] bool.

        [CLS] and [SEP], the ends of a text, are never lost, and are no text.
        """
        observed = batch.text.observed & words_of(batch.text.valid), batch.audio.observed, batch.vision.observed
        return torch.stack([each.any(1) for each in observed], 1)

    def generate(
        self, known: dict[str, Tensor], given: dict[str, Tensor], lost: dict[str, Tensor], row: Tensor
    ) -> dict[str, Tensor]:
        """Generate projections of missing modalities, before they are refined.

        Parameters
        ----------
        known : dict of str to Tensor [B, S, width]
            The projections of what is observed, without a gradient.
        given, lost : dict of str to Tensor [B, 1, 1] bool
            Which samples have the modality, and which need it: those that have another one.
        row : Tensor [B] int64

        Returns
        -------
        dict of str to Tensor [B, S, width]
            Of the modalities that can be recovered; where nothing is lost, any finite numbers.
        """
        raise NotImplementedError

    def merge(self, name: str, sources: tuple[Tensor, Tensor], given: dict[str, Tensor]) -> Tensor:
        """Merge what the two sources of a modality say [B, S, width], or take the one that a sample has."""
        first, second = (given[source] for source in SOURCES[name])
        return torch.where(first & second, self.join[name](torch.cat(sources, 2)), torch.where(first, *sources))

    def flags(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return by modality which samples have it, and which need it although they have another [B, 1, 1] bool."""
        given = self.given(batch)
        lost = given.any(1, keepdim=True) & ~given
        of_each = [dict(zip(MODALITIES, flags[..., None, None].unbind(1), strict=True)) for flags in (given, lost)]
        return of_each[0], of_each[1]

    def completed(self, projected: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Replace the projections [B, S, width] of missing modalities by refined ones."""
        given, lost = self.flags(batch)
        made = self.generate({name: x.detach() for name, x in projected.items()}, given, lost, batch.row)
        completed = dict(projected)
        for name, x in made.items():
            # What nobody needs is not refined: where it is out of range, it would make gradients NaN.
            refined = self.refine[name](torch.where(lost[name], x, 0.0))
            completed[name] = torch.where(lost[name], refined.to(projected[name].dtype), projected[name])
        return completed

    def predict(self, batch: Batch) -> Prediction:
        """Predict from what is given and what is recovered."""
        return self.predict_from(self.completed(self.projected(batch), batch))

    def counted(self, batch: Batch) -> dict[str, Tensor]:
        """Return the positions of complete projections that count in losses [B, S] bool; none, where it has none."""
        h, found = self.hyperparameters, {}
        for name, has in zip(MODALITIES, self.given(batch).unbind(1), strict=True):
            seen = windows(getattr(batch, name), h.text_kernel)
            found[name] = (seen if h.mask_padding else torch.ones_like(seen)) & has[:, None]
        return found

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction, the loss of the generator, and the error of what is recovered."""
        projected, weight = self.projected(batch), self.hyperparameters.recovery_weight
        with torch.no_grad():
            truth, counted = self.projected(batch.clean), self.counted(batch.clean)
        completed = self.completed(projected, batch)
        _, lost = self.flags(batch)
        errors = {
            name: squared_error(completed[name], truth[name], counted[name] & lost[name][..., 0])
            for name in self.recovered
        }
        return {
            "sentiment": self.error(self.predict_from(completed).output, batch.label),
            **{name: weight * term for name, term in self.generator_terms(projected, truth, counted, batch).items()},
            "reconstruction": weight * self.reconstruction(torch.stack([*errors.values()], 1), lost),
        }

    def generator_terms(
        self, projected: dict[str, Tensor], truth: dict[str, Tensor], counted: dict[str, Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """Return the losses of the generator, before they are weighted.

        Parameters
        ----------
        projected, truth : dict of str to Tensor [B, S, width]
            Projections of what is observed, and of the complete data.
        counted : dict of str to Tensor [B, S] bool
            Positions of the complete data that count.
        batch : Batch
        """
        raise NotImplementedError

    def reconstruction(self, errors: Tensor, lost: dict[str, Tensor]) -> Tensor:
        """Reduce the errors [B, M] of recovered projections to one number; that of a modality not recovered is 0."""
        raise NotImplementedError


def windows(sequence: Sequence, kernel: int) -> Tensor:
    """Return which outputs of a `Convolution` read a valid position [B, S] bool."""
    valid = sequence.valid.float()
    padded = F.pad(valid, (0, max(kernel - valid.shape[1], 0)))
    return F.max_pool1d(padded[:, None], kernel, 1).squeeze(1) > 0


@float32
def squared_error(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """Return the mean squared difference [B] of sequences [B, S, d] over the positions that count [B, S]; or 0."""
    # Where nothing counts, `x` may be anything.
    squares = torch.where(counted[..., None], x - y, 0.0).square().sum((1, 2))
    return squares / (counted.sum(1) * x.shape[2]).clamp(min=1)

"""Encoder of the steps of one modality, of the methods of Li et al. (HRLF, CorrKD, UMDF).

Padding is not attended. A modality without a valid frame is read as one frame of zeros.
"""

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from elision.batch import Sequence
from elision.methods.base import TrainingHyperparameters
from elision.methods.layers.crossmodal import check_heads, sinusoids
from elision.task import MODALITIES, DataSpec


class SequenceHyperparameters(TrainingHyperparameters):
    """What the methods share; defaults are those of HRLF for IEMOCAP."""

    learning_rate: float = Field(4e-3, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty; ours")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient; ours")
    width: int = Field(40, ge=1, description="width d of the vector of a modality")
    heads: int = Field(10, ge=1, validate_default=True, description="attention heads; they must divide the width")
    kernel: int = Field(3, ge=1, description="kernel size of the convolution over time")
    convolution_bias: bool = Field(
        False,
        description="true gives the convolution a bias; the default is ours",
        json_schema_extra={"released": None},
    )
    layers: int = Field(4, ge=1, description="layers of each transformer; ours")
    pre_norm: bool = Field(
        True,
        description="true normalises before each sub-layer, false after it; the default is ours",
        json_schema_extra={"released": None},
    )
    feed_forward: int = Field(160, ge=1, description="width of the feed-forward layers of the transformers; ours")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the transformers; ours")

    @field_validator("heads")
    @classmethod
    def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
        return check_heads(heads, info.data.get("width", heads))


class SequenceEncoder(nn.Module):
    """Convolution over time, positions and a transformer (HRLF, section 3.3).

    Parameters
    ----------
    inputs, width : int
        Of the frames, and of the vector.
    heads, layers, kernel, feed_forward : int
    dropout : float
        On attention weights, inside the feed-forward layers and before each residual.
    pre_norm : bool
        Normalise before attention and feed-forward layers, and once more at the end; else after each.
    bias : bool
        Of the convolution.
    last_index : bool
        The vector of a sequence is the last step of the padded sequence, instead of the last valid one.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        heads: int,
        layers: int,
        kernel: int,
        feed_forward: int,
        dropout: float,
        pre_norm: bool,
        bias: bool,
        last_index: bool = False,
    ) -> None:
        super().__init__()
        self.last_index = last_index
        self.convolution = nn.Conv1d(inputs, width, kernel, padding="same", bias=bias)
        # Not nn.TransformerEncoder, which copies one layer, so that all start with the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, feed_forward, dropout, batch_first=True, norm_first=pre_norm)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()

    def encode(self, sequence: Sequence) -> tuple[Tensor, Tensor]:
        """Return the steps [B, T, width] before the last layer norm, and which of them are attended [B, T]."""
        x = self.convolution(sequence.values.transpose(1, 2)).transpose(1, 2)
        # Those of ones: zeros would count as padding, and lost frames have a position like any other.
        x = x + sinusoids(torch.ones_like(x))
        attended = sequence.valid.clone()
        attended[:, 0] |= ~sequence.valid.any(1)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~attended)
        return x, attended

    def steps(self, sequence: Sequence) -> tuple[Tensor, Tensor]:
        """Return all steps [B, T, width], and which of them are the sequence [B, T]: at least one of each sample."""
        x, attended = self.encode(sequence)
        return self.norm(x), attended

    def forward(self, sequence: Sequence) -> Tensor:
        """Summarise a modality in one vector [B, width]."""
        x, attended = self.encode(sequence)
        if self.last_index:
            return self.norm(x[:, -1])
        last = (attended * torch.arange(x.shape[1], device=x.device)).amax(1)
        return self.norm(x[torch.arange(len(x), device=x.device), last])


def sequence_encoders(h: SequenceHyperparameters, spec: DataSpec, *, last_index: bool = False) -> nn.ModuleDict:
    """Build an encoder of each modality."""
    sizes = {name: getattr(h, name) for name in ("heads", "layers", "kernel", "feed_forward", "dropout", "pre_norm")}
    return nn.ModuleDict(
        {
            name: SequenceEncoder(getattr(spec, name), h.width, **sizes, bias=h.convolution_bias, last_index=last_index)
            for name in MODALITIES
        }
    )

"""CubeMLP: perceptrons that mix a cube of time, modalities and channels, one axis after another.

Text, and audio and vision of each token, make a cube. A block has a perceptron of two layers for each axis. The
blocks shrink the cube, whose mean over time is classified.

The file follows the released code, with the values of its command for MOSI. The command for MOSEI differs in the
features alone. Where code and paper differ, the file follows the code:

- A block normalises before each perceptron, and has a linear residual.
- The cube is averaged over time, where the paper flattens the cube.
- The lower layers of the text encoder are frozen; its embeddings are trained.
- The learning rate falls to a tenth after 60 of 70 epochs.

Differences from the released code:

- The released code has one frame per word. The words lie in the middle of the tokens, so that a word may stand beside
  another word's token. Here each token has the frames of its own word (``alignment: words``).
- The released code encodes padding up to the longest text of a batch, and puts zeros after that. Predictions then
  depend on the batch. Here padding is zeros; an utterance alone has the same prediction in both. ``read_padding: true``
  is the released behaviour.
- A text that is longer than the cube loses its end. The released code cuts the words, but not the tokens.
- Convolutions and LSTMs in place of the GRUs, normalisation after the perceptrons, and other summaries of the cube are
  options of the released code that are left out. A classifier of a wide cube has no hidden layer.

Lost tokens and frames stay in the cube. Frames of zeros become 1e-6 where text is, as in the released code. Classes
have the cross-entropy, which is ours.
"""

import re
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.packing import pack, unpack
from elision.task import MODALITIES, DataSpec

_NO_FRAME = 1e-6  # value of a frame of zeros
_EPSILON = 1e-6  # of layer norms
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")

Size = Annotated[int, Field(ge=1)]


class FrameEncoder(nn.Module):
    """Two bidirectional GRU layers whose directions are summed, layer norm and ReLU.

    Parameters
    ----------
    inputs, width : int
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, width, 2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        for name, weight in self.gru.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(weight)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Encode the first ``lengths`` [B] (on the CPU) of frames [B, T, inputs] into [B, T, width]."""
        packed, _ = self.gru(pack(frames, lengths.clamp(min=1)))
        forwards, backwards = unpack(packed, frames.shape[1]).chunk(2, 2)
        return F.relu(self.norm(forwards + backwards))


class AxisMixer(nn.Module):
    """Layer norm, perceptron and dropout along one axis of the cube, beside a linear residual.

    Parameters
    ----------
    axis : int
        Of the cube [B, time, modalities, channels].
    inputs, outputs : int
        Size of the axis before and after; hidden layers have the size after.
    dropout : float
    """

    def __init__(self, axis: int, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.axis = axis
        self.perceptron = nn.Sequential(
            nn.LayerNorm(inputs, eps=_EPSILON),
            *(nn.Linear(inputs, outputs), nn.GELU()),
            *(nn.Linear(outputs, outputs), nn.Dropout(dropout)),
        )
        self.residual = nn.Linear(inputs, outputs, bias=False)

    def forward(self, cube: Tensor) -> Tensor:
        """Mix the cube along the axis."""
        x = cube.movedim(self.axis, -1)
        return (self.perceptron(x) + self.residual(x)).movedim(-1, self.axis)


class CubeMLP(Method):
    """Sun, Wang, Liu, Chen and Lin, ACM MM 2022."""

    name = "cubemlp"
    paper = (
        "Sun, Wang, Liu, Chen, Lin: CubeMLP: An MLP-based Model for Multimodal Sentiment Analysis and Depression "
        "Estimation. ACM MM 2022, arXiv 2207.14087"
    )
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {"mosi": 983_987, "mosei": 1_048_499}
    compared = "equal; with the 74 and 47 features of its own MOSI files 1,057,715, equal, too"
    small: ClassVar[dict] = {"time_length": 12, "width": 16, "blocks": ((6, 3, 16), (4, 3, 8))}

    class Hyperparameters(Method.Hyperparameters):
        """Those of the command in the README of the released code."""

        epochs: int = Field(70, ge=0, description="passes over the training split")
        batch_size: int = Field(128, ge=1, description="utterances per forward pass")
        alignment: Literal["words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's "
            "word. pooled: means over equal parts of the padded length",
        )
        learning_rate: float = Field(
            4e-3, gt=0, description="learning rate of all weights except those of the text encoder"
        )
        learning_rate_text_encoder: float = Field(4e-5, gt=0, description="learning rate of the text encoder")
        decay_every: int = Field(60, ge=1, description="epochs after which the learning rates fall to a tenth")
        gradient_clip: float = Field(1.0, gt=0, description="largest absolute value of one entry of the gradient")
        frozen_layers: int = Field(9, ge=0, description="layers of the text encoder, from the first, that never train")
        time_length: int = Field(100, ge=1, description="tokens of the cube; zeros fill the cube, longer texts are cut")
        width: int = Field(128, ge=1, description="channels of each modality in the cube")
        blocks: tuple[tuple[Size, Size, Size], ...] = Field(
            ((50, 3, 128), (10, 3, 32)),
            min_length=1,
            description="time, modalities and channels of the cube after each block; hidden layers have the same sizes",
        )
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout on each modality in the cube")
        block_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the output of each perceptron")
        read_padding: bool = Field(
            False,
            description="true encodes the padding of a batch like the text, so that predictions depend on the batch",
            json_schema_extra={"released": True},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"epochs": 12, "batch_size": 16, "frozen_layers": 0, "time_length": 32},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        for name, weight in encoder.named_parameters():
            layer = _LAYER.search(name)
            if layer and int(layer[1]) < h.frozen_layers:
                weight.requires_grad_(False)
        self.text_projection = nn.Linear(encoder.width, h.width, bias=False)
        self.frames = nn.ModuleDict(
            {"audio": FrameEncoder(spec.audio, h.width), "vision": FrameEncoder(spec.vision, h.width)}
        )
        self.dropout = nn.Dropout(h.dropout)
        sizes = [(h.time_length, len(MODALITIES), h.width), *h.blocks]
        self.mixers = nn.Sequential(
            *(
                AxisMixer(axis, before[axis - 1], after[axis - 1], h.block_dropout)
                for before, after in pairwise(sizes)
                for axis in (1, 2, 3)
            )
        )
        _, modalities, channels = sizes[-1]
        self.out = nn.Linear(modalities * channels, spec.outputs)

    @property
    def one_by_one(self) -> bool:
        """Not, if the padding of a batch is read."""
        return not self.hyperparameters.read_padding

    def cube(self, batch: Batch) -> Tensor:
        """Stack the modalities [B, time_length, 3, width]; zeros where no text is."""
        h, text = self.hyperparameters, batch.text
        encoded = [self.text_projection(self.encoder(text))]
        for name in ("audio", "vision"):
            frames = getattr(batch, name).values
            empty = text.valid & (frames == 0).all(2)
            encoded.append(self.frames[name](frames.masked_fill(empty[..., None], _NO_FRAME), text.lengths_on_cpu))
        read = text.valid.any(0).expand_as(text.valid) if h.read_padding else text.valid
        cube = torch.stack([self.dropout(x) for x in encoded], 2) * read[:, :, None, None]
        return F.pad(cube, (0, 0, 0, 0, 0, h.time_length - cube.shape[1]))

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the mean of the mixed cube over time."""
        representation = self.mixers(self.cube(batch)).mean(1).flatten(1)
        return Prediction(self.readout(self.out(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, or the cross-entropy."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}

    def learning_rate_factor(self, epoch: int) -> float:
        """Return a tenth of what it was after every ``decay_every`` epochs."""
        return 0.1 ** ((epoch - 1) // self.hyperparameters.decay_every)

    def after_backward(self) -> None:
        """Clip every entry of the gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)

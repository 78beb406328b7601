"""TransM: translations from text to each other modality and back, whose encoders see two modalities (TransModality).

A Transformer translates text to vision, and a second one translates what the first has decoded back to text. Another
pair does the same with audio. What the four encoders make of their sources is joined with the read modalities and
classified. The translations learn from the features that they should give.

The method was made for videos of utterance vectors. Its code is in Keras and reads such vectors. Others call it TransM
and run it on word sequences, without saying how. The file follows the code, with these differences:

- A frame takes the place of an utterance of a video, so that a clip has one label. Each sequence becomes one vector,
  its last step (``pooling``).
- A convolution of width 40 reads a modality (``reader``). The code has bidirectional GRUs of 300 units. With
  ``reader: gru``, the dropout between steps of a GRU is left out, which PyTorch lacks.
- The code has 10 encoder and 5 decoder layers of width 100. Here both have 2 layers of width 40 (``encoder_layers``,
  ``decoder_layers``, ``width``), because deep post-norm Transformers do not train without a warm-up.
- The predicted features are linear (``relu_output``). The ReLU of the code cuts every negative feature.
- The translations give the complete features (``targets``). The code knows no missing data.
- Lost frames are read as zeros (``read_lost``). The code skips every step of zeros.
- The loss takes a score by its squared error. The code has classes alone.
- The code reports the best epoch on the test split. Here the validation split chooses.

As in the code, a decoder reads the target modality itself, without a shift or a causal mask. A ReLU follows each
projection of the attention (``attention_relu``). Positions are sines, then cosines; the code alternates them. A sixth
weight of a loss, 0.5, belongs to no output in the code and is left out. Padding is not attended. A modality without a
valid frame is read as one frame of zeros. Epochs on MOSEI are ours.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.methods.layers.crossmodal import check_heads, sinusoids
from elision.methods.layers.information import perceptron
from elision.methods.layers.packing import pack, unpack
from elision.methods.layers.precision import float32
from elision.task import MODALITIES, DataSpec

_OTHERS = ("vision", "audio")  # what text is translated to
_UNITS = 300  # of each direction of a GRU
_READER_DROPOUT = 0.3
_GRU_DROPOUT = 0.5


class Steps(NamedTuple):
    """A sequence [B, T, width] and which of its positions are attended [B, T]: at least one of each sample."""

    values: Tensor
    attended: Tensor

    def placed(self) -> "Steps":
        """Add positions."""
        # Those of ones: zeros would count as padding.
        return self._replace(values=self.values + sinusoids(torch.ones_like(self.values)))


class Reader(nn.Module):
    """A convolution or a bidirectional GRU over time, and a layer with tanh.

    Parameters
    ----------
    inputs, width : int
        Of the frames, and of what is read.
    kind : str
        ``convolution``, of three frames, or ``gru``.
    read_lost : bool
        Attend lost frames.
    """

    def __init__(self, inputs: int, width: int, *, kind: str, read_lost: bool) -> None:
        super().__init__()
        self.read_lost = read_lost
        if kind == "gru":
            self.over_time: nn.Module = nn.GRU(inputs, _UNITS, bidirectional=True, batch_first=True)
        else:
            self.over_time = nn.Conv1d(inputs, width, 3, padding="same")
        self.dense = nn.Linear(2 * _UNITS if kind == "gru" else width, width)
        self.dropout, self.input_dropout = nn.Dropout(_READER_DROPOUT), nn.Dropout(_GRU_DROPOUT)

    def forward(self, sequence: Sequence) -> Steps:
        """Read the steps of a modality."""
        values = sequence.values
        if isinstance(self.over_time, nn.GRU):
            packed, _ = self.over_time(pack(self.input_dropout(values), sequence.lengths_on_cpu.clamp(min=1)))
            x = unpack(packed, values.shape[1])
        else:
            x = self.over_time(values.transpose(1, 2)).transpose(1, 2)
        attended = (sequence.valid if self.read_lost else sequence.observed).clone()
        attended[:, 0] |= ~attended.any(1)
        return Steps(self.dropout(self.dense(self.dropout(x)).tanh()), attended)


class Attention(nn.Module):
    """Attention of several heads; a ReLU may follow each of its four projections.

    Parameters
    ----------
    width, heads : int
    relu : bool
    """

    def __init__(self, width: int, heads: int, *, relu: bool) -> None:
        super().__init__()
        self.heads, self.activation = heads, F.relu if relu else nn.Identity()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, source: Steps) -> Tensor:
        """Let ``x`` [B, T, width] attend to a source."""
        projected = self.query(x), self.key(source.values), self.value(source.values)
        query, key, value = (self.activation(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for y in projected)
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=source.attended[:, None, None])
        return self.activation(self.out(answer.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """Attention to the sequence itself, to a source if the layer decodes, and a feed-forward layer.

    Each ends in dropout, a residual and a layer norm.

    Parameters
    ----------
    width, heads, feed_forward : int
    dropout : float
    relu : bool
        See `Attention`.
    decodes : bool
    """

    def __init__(self, width: int, heads: int, feed_forward: int, *, dropout: float, relu: bool, decodes: bool) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Attention(width, heads, relu=relu) for _ in range(1 + decodes))
        self.feed_forward = perceptron(width, feed_forward, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 + decodes))
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Steps, source: Steps | None = None) -> Steps:
        """Return the steps after the layer."""
        x, norms = steps.values, iter(self.norms)
        for attention in self.attentions:
            # The first attention reads the sequence, a second one the source.
            read = steps if attention is self.attentions[0] else source
            x = next(norms)(x + self.dropout(attention(x, read)))
        return steps._replace(values=next(norms)(x + self.dropout(self.feed_forward(x))))


class Translation(nn.Module):
    """A Transformer that translates one modality to another, which it reads, too.

    Parameters
    ----------
    encoder_layers, decoder_layers : int
    outputs : int
        Of the predicted frames.
    layer : dict
        Arguments of each `Layer`.
    """

    def __init__(self, encoder_layers: int, decoder_layers: int, outputs: int, layer: dict) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Layer(**layer, decodes=False) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(Layer(**layer, decodes=True) for _ in range(decoder_layers))
        self.prediction = nn.Linear(layer["width"], outputs)

    def forward(self, source: Steps, target: Steps) -> tuple[Steps, Steps]:
        """Return what encoder and decoder make of a source and of the target, both without positions."""
        encoded, decoded = source.placed(), target.placed()
        for layer in self.encoder:
            encoded = layer(encoded)
        for layer in self.decoder:
            decoded = layer(decoded, encoded)
        return encoded, decoded


class TransM(Method):
    """Wang, Wan and Wan, WWW 2020.

    Where the parts of the method are:

    - The readers of the modalities: ``readers`` (`Reader`).
    - Forward translation of text to vision and to audio: ``forwards`` (`Translation`); backward translation of what it
      has decoded: ``backwards``. Their pairs are the fusion cells of the paper.
    - The joint vector of four encoders and three readers: `translate`; the classifier: ``head``.
    - The losses of the translations: the terms ``to_vision``, ``to_audio``, ``from_vision`` and ``from_audio``.
    """

    name = "transm"
    error_of_scores = "squared"
    needs_complete = True
    paper = (
        "Wang, Wan, Wan: TransModality: An End2End Fusion Method with Transformer for Multimodal Sentiment Analysis. "
        "WWW 2020, arXiv 2009.02902"
    )
    reads_text = "vectors"
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 657_644}
    compared = "the Keras code has deeper Transformers and GRUs; its inputs are not published"
    small: ClassVar[dict] = {
        "width": 8,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "feed_forward_vision": 8,
        "feed_forward_audio": 8,
        "dropout": 0.0,
    }

    class Hyperparameters(TrainingHyperparameters):
        """Those of the code for MOSI; sizes of the Transformers are ours."""

        epochs: int = Field(100, ge=0, description="passes over the training split")
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam")
        gradient_clip: float | None = Field(
            None, gt=0, description="largest norm of the gradient (null: no limit, as in the code)"
        )
        reader: Literal["convolution", "gru"] = Field(
            "convolution",
            description="what reads a modality. convolution: one over three frames. gru: a bidirectional GRU of 300 "
            "units",
            json_schema_extra={"released": "gru"},
        )
        read_lost: bool = Field(
            True,
            description="true reads lost frames as zeros; false attends observed frames alone",
            json_schema_extra={"released": False},
        )
        width: int = Field(
            40, ge=1, description="width of all sequences after the readers", json_schema_extra={"released": 100}
        )
        heads: int = Field(5, ge=1, validate_default=True, description="attention heads; they must divide the width")
        encoder_layers: int = Field(
            2, ge=1, description="layers of the encoder of each translation", json_schema_extra={"released": 10}
        )
        decoder_layers: int = Field(
            2, ge=1, description="layers of the decoder of each translation", json_schema_extra={"released": 5}
        )
        feed_forward_vision: int = Field(
            200, ge=1, description="width of the feed-forward layers between text and vision"
        )
        feed_forward_audio: int = Field(
            120, ge=1, description="width of the feed-forward layers between text and audio"
        )
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout before each residual of the Transformers")
        attention_relu: bool = Field(
            True,
            description="true has a ReLU after each projection of the attention",
            json_schema_extra={"released": True},
        )
        relu_output: bool = Field(
            False,
            description="true has a ReLU on predicted features, which then are never negative",
            json_schema_extra={"released": True},
        )
        backward: bool = Field(True, description="false trains without the translations back to text")
        targets: Literal["complete", "observed"] = Field(
            "complete",
            description="frames that a translation should give. complete: all, as they were before the corruption. "
            "observed: those that are not lost",
            json_schema_extra={"released": None},
        )
        translation_weight: float = Field(
            10.0, gt=0, description="weight of the absolute error of each translation in the loss"
        )
        pooling: Literal["last", "mean"] = Field(
            "last",
            description="vector of a sequence. last: its last step. mean: the mean of its steps. The code predicts at "
            "every step",
            json_schema_extra={"released": None},
        )

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"epochs": 20},
        "demo": {"epochs": 10, "batch_size": 8, "dropout": 0.1},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        self.readers = nn.ModuleDict(
            {name: Reader(getattr(spec, name), width, kind=h.reader, read_lost=h.read_lost) for name in MODALITIES}
        )
        self.forwards, self.backwards = nn.ModuleDict(), nn.ModuleDict()
        for name, feed_forward in zip(_OTHERS, (h.feed_forward_vision, h.feed_forward_audio), strict=True):
            layer = {"width": width, "heads": h.heads, "feed_forward": feed_forward}
            layer |= {"dropout": h.dropout, "relu": h.attention_relu}
            sizes = h.encoder_layers, h.decoder_layers
            self.forwards[name] = Translation(*sizes, getattr(spec, name), layer)
            if h.backward:
                self.backwards[name] = Translation(*sizes, spec.text, layer)
        self.head = nn.Linear((7 if h.backward else 5) * width, spec.outputs)

    def translate(self, batch: Batch) -> tuple[Tensor, dict[str, tuple[Tensor, str]]]:
        """Translate text to the others and back.

        Returns
        -------
        joint : Tensor [B, 7 * width]
            Vectors of the sources of all translations and of the three modalities; without backward translations, two
            fewer.
        predicted : dict of str to (Tensor [B, T, d], str)
            By term of the loss: the predicted frames, and their modality.
        """
        h = self.hyperparameters
        read = {name: self.readers[name](getattr(batch, name)) for name in MODALITIES}
        activation = F.relu if h.relu_output else nn.Identity()
        joined, predicted = [], {}
        for name in _OTHERS:
            forwards = self.forwards[name]
            encoded, decoded = forwards(read["text"], read[name])
            joined.append(encoded)
            predicted[f"to_{name}"] = activation(forwards.prediction(decoded.values)), name
            if h.backward:
                backwards = self.backwards[name]
                encoded, decoded = backwards(decoded, read["text"])
                joined.append(encoded)
                predicted[f"from_{name}"] = activation(backwards.prediction(decoded.values)), "text"
        return torch.cat([self.pool(steps) for steps in (*joined, *read.values())], 1), predicted

    def pool(self, steps: Steps) -> Tensor:
        """Return the vector [B, width] of a sequence."""
        values, attended = steps
        if self.hyperparameters.pooling == "mean":
            return (values * attended[..., None]).sum(1) / attended.sum(1, keepdim=True)
        last = (attended * torch.arange(values.shape[1], device=values.device)).amax(1)
        return values[torch.arange(len(values), device=values.device), last]

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the joint vector."""
        joint, _ = self.translate(batch)
        return Prediction(self.readout(self.head(joint)), joint)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction and of each translation."""
        h = self.hyperparameters
        joint, predicted = self.translate(batch)
        targets = batch.clean if h.targets == "complete" else batch
        terms = {"sentiment": self.error(self.readout(self.head(joint)), batch.label)}
        for term, (frames, name) in predicted.items():
            wanted: Sequence = getattr(targets, name)
            terms[term] = h.translation_weight * absolute_error(frames, wanted.values, wanted.observed)
        return terms

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        return [self.optimizer(self.trainable(), lr=self.hyperparameters.learning_rate)]


@float32
def absolute_error(frames: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Return the mean absolute difference of frames [B, T, d] at the positions that count [B, T]; 0 without any."""
    return ((frames - wanted).abs().mean(2) * counted).sum() / counted.sum().clamp(min=1)

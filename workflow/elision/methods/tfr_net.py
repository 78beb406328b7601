"""TFR-Net: transformer-based feature reconstruction network.

Transformers within and between the modalities encode the corrupted sequences. Gated recurrent summaries of the three
encodings are classified. In training, the missing elements are reconstructed from the same encodings. The encodings
must therefore hold what was lost.

The file follows MMSA's implementation and hyperparameters. The authors' own repository has higher learning rates on
MOSI. The temporal encoders of the reconstruction are as wide as the padded sequences are long. They fit one length,
and their size grows with its square. Predictions do not use them. Two quirks of the released code have switches:

- The released temporal encoders treat the batch as the sequence. A channel then attends to the same channel of the
  samples before it. Here the channels of one sample attend to each other, without a mask, because channels have no
  order. ``temporal_attention: batch`` is the released behaviour. The switch changes what is learnt; a prediction
  never depends on other samples.
- The code clears gradients every ``accumulate`` batches. The code steps after each batch, and twice after the last
  batch of a group. The quirk is kept; ``update: accumulate`` takes one step per group.

Other differences from the released code:

- 25 temporal heads do not divide the 39 tokens of CH-SIMS, and the released code fails there. Here CH-SIMS has 1
  head, as the maintainers advise. For any length and any width, the largest number of heads that divides it is taken.
- Positions that were never observed are not reconstructed. A batch without a loss has a reconstruction error of
  exactly 0, and not of a constant.
- The text encoder is that of the dataset. MMSA reads Chinese with an English encoder.
- Every modality is projected. The released code does not project a modality with 30 features.
- A sample without frames is read as one frame.
- The learning rates follow the validation error over samples. MMSA averages over batches.
- The training corruption decides what is missing. The released code draws the missing elements once, at one rate per
  trained model.
"""

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.batch_norm import BatchNorm
from elision.methods.layers.crossmodal import CrossmodalEncoder, Job, encode
from elision.methods.layers.packing import pack, unpack
from elision.methods.layers.plateau import Plateau
from elision.task import MODALITIES, DataSpec

_EPSILON = 1e-4
_LEAST_DEPTH = 3  # of the encoders that attend within a sequence


class GatedSummary(nn.Module):
    """Maximum over the positions of a sequence, each seen with its context, which a gate lets through or not.

    Parameters
    ----------
    inputs, hidden, depth : int
        Width of the sequence, of each direction of the GRU and of the summary; layers of the GRU.
    dropout : float
        On the summary.
    """

    def __init__(self, inputs: int, hidden: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, depth, batch_first=True, bidirectional=True)
        self.gate = nn.Conv1d(2 * hidden, 1, 3, padding=1)
        self.out = nn.Linear(2 * hidden + inputs, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Summarise [B, T, inputs] in [B, hidden]: the GRU reads valid positions, the maximum is over all of them."""
        packed = pack(x, lengths.clamp(min=1))
        context = unpack(self.gru(packed)[0], x.shape[1])
        gate = torch.sigmoid(self.gate(context.transpose(1, 2))).transpose(1, 2)
        summary = torch.tanh(self.out(torch.cat([x, torch.tanh(context) * gate], 2)))
        return self.dropout(summary.amax(1))


class TFRNet(Method):
    """Yuan, Li, Xu and Yu, ACM MM 2021."""

    name = "tfr_net"
    needs_complete = True
    paper = (
        "Yuan, Li, Xu, Yu: Transformer-based Feature Reconstruction Network for Robust Multimodal Sentiment Analysis. "
        "ACM MM 2021"
    )
    optimizer = torch.optim.Adam
    sums_gradients = False
    sees_padding = "attention between modalities and the maximum of a summary see every position"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 14_850_620, "mosei": 18_812_589, "sims": 6_668_422}
    compared = "equal; on SIMS the released configuration fails, and the count is with one temporal head"
    small: ClassVar[dict] = {
        "width": 12,
        "layers": 1,
        "attention_dropout": 0.0,
        "attention_dropout_audio": 0.0,
        "relu_dropout": 0.0,
        "embedding_dropout": 0.0,
        "residual_dropout": 0.0,
    }

    class Hyperparameters(Method.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(24, ge=1, description="utterances per forward pass")
        accumulate: int = Field(4, ge=1, description="batches per group; gradients are cleared once per group")
        update: Literal["official", "accumulate"] = Field(
            "official",
            description="when weights change. official: after every batch, and twice after the last of a group. "
            "accumulate: once per group",
            json_schema_extra={"released": "official"},
        )
        patience: int | None = Field(
            6, ge=1, description="epochs without a better validation score after which training stops"
        )
        plateau_patience: int = Field(
            5,
            ge=0,
            description="epochs without a better validation error after which the learning rates fall to a tenth",
        )
        learning_rate_text_encoder: float = Field(2e-6, gt=0, description="learning rate of the text encoder")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of all other weights")
        weight_decay_text_encoder: float = Field(
            1e-4, ge=0, description="L2 penalty on the text encoder, except on biases and layer norms"
        )
        weight_decay: float = Field(1e-3, ge=0, description="L2 penalty on all other weights")
        gradient_clip: float = Field(0.8, gt=0, description="largest absolute value of one entry of the gradient")
        width: int = Field(30, ge=1, description="channels of each projected modality")
        heads: int = Field(
            6, ge=1, description="attention heads; the largest number up to this one that divides the width is taken"
        )
        layers: int = Field(
            3, ge=1, description="layers of each encoder between modalities; the other encoders have at least 3"
        )
        temporal_heads: int = Field(
            25,
            ge=1,
            description="heads of the temporal encoders; the largest number up to this one that divides the "
            "length is taken",
        )
        temporal_attention: Literal["channel", "batch"] = Field(
            "channel",
            description="what a channel attends to in the temporal encoders. channel: the channels of its own "
            "sample. batch: the same channel of the samples before it",
            json_schema_extra={"released": "batch"},
        )
        text_kernel: int = Field(1, ge=1, description="kernel size of the convolution over text")
        audio_kernel: int = Field(5, ge=1, description="kernel size of the convolution over audio")
        vision_kernel: int = Field(3, ge=1, description="kernel size of the convolution over vision")
        text_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the output of the text encoder")
        attention_dropout: float = Field(
            0.2, ge=0, lt=1, description="dropout on attention to text and within a modality"
        )
        attention_dropout_audio: float = Field(
            0.1, ge=0, lt=1, description="dropout on attention of other modalities to audio"
        )
        attention_dropout_vision: float = Field(
            0.0, ge=0, lt=1, description="dropout on attention of other modalities to vision"
        )
        relu_dropout: float = Field(0.2, ge=0, lt=1, description="dropout inside the feed-forward layers")
        embedding_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the input of every encoder")
        residual_dropout: float = Field(0.2, ge=0, lt=1, description="dropout before every residual connection")
        text_hidden: int = Field(36, ge=1, description="width of the summary of text")
        audio_hidden: int = Field(20, ge=1, description="width of the summary of audio")
        vision_hidden: int = Field(48, ge=1, description="width of the summary of vision")
        summary_depth: int = Field(3, ge=1, description="layers of the GRU of each summary")
        summary_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on each summary")
        head_width: int = Field(128, ge=1, description="width of the hidden layer of the prediction")
        head_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the hidden layer of the prediction")
        text_weight: float = Field(5.0, ge=0, description="weight of the reconstruction error of text")
        audio_weight: float = Field(2.0, ge=0, description="weight of the reconstruction error of audio")
        vision_weight: float = Field(20.0, ge=0, description="weight of the reconstruction error of vision")
        similarity_weight: float = Field(
            5.0, ge=0, description="weight of the moment distance in each reconstruction error"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "learning_rate_text_encoder": 1e-5,
            "learning_rate": 2e-3,
            "text_weight": 5e-6,
            "audio_weight": 2e-6,
            "vision_weight": 2e-5,
        },
        "sims": {
            "batch_size": 16,
            "learning_rate_text_encoder": 1e-5,
            "learning_rate": 2e-3,
            "layers": 2,
            "temporal_heads": 1,
            "relu_dropout": 0.0,
            "embedding_dropout": 0.1,
            "head_dropout": 0.1,
            "plateau_patience": 10,
            "text_weight": 1.0,
            "audio_weight": 0.01,
            "vision_weight": 1e-4,
        },
        "demo": {
            "epochs": 8,
            "batch_size": 16,
            "accumulate": 1,
            "update": "accumulate",
            "finetune_text_encoder": False,
            "layers": 1,
            "summary_depth": 1,
            "relu_dropout": 0.0,
            "embedding_dropout": 0.0,
            "residual_dropout": 0.0,
        },
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        kernels = {"text": h.text_kernel, "audio": h.audio_kernel, "vision": h.vision_kernel}
        hidden = {"text": h.text_hidden, "audio": h.audio_hidden, "vision": h.vision_hidden}
        crossmodal_dropout = (h.attention_dropout, h.attention_dropout_audio, h.attention_dropout_vision)
        crossmodal_dropout = dict(zip(MODALITIES, crossmodal_dropout, strict=True))
        transformer = partial(
            CrossmodalEncoder,
            relu_dropout=h.relu_dropout,
            residual_dropout=h.residual_dropout,
            embedding_dropout=h.embedding_dropout,
        )
        with_positions = partial(transformer, h.width, _divisor(h.width, h.heads), positions=True)
        depth = max(h.layers, _LEAST_DEPTH)

        self.text_dropout = nn.Dropout(h.text_dropout)
        self.projection = nn.ModuleDict(
            {name: nn.Conv1d(inputs[name], h.width, kernels[name], padding="same", bias=False) for name in MODALITIES}
        )
        self.within = nn.ModuleDict(
            {name: with_positions(depth, attention_dropout=h.attention_dropout) for name in MODALITIES}
        )
        self.between = nn.ModuleDict(
            {
                f"{name}_from_{other}": with_positions(h.layers, attention_dropout=crossmodal_dropout[other])
                for name in MODALITIES
                for other in _others(name)
            }
        )
        self.temporal = nn.ModuleDict(
            {
                name: transformer(
                    spec.length[name],
                    _divisor(spec.length[name], h.temporal_heads),
                    depth,
                    attention_dropout=h.attention_dropout,
                    causal=h.temporal_attention == "batch",
                )
                for name in MODALITIES
            }
        )
        self.generator = nn.ModuleDict({name: nn.Linear(3 * h.width, inputs[name]) for name in MODALITIES})
        self.summary = nn.ModuleDict(
            {name: GatedSummary(3 * h.width, hidden[name], h.summary_depth, h.summary_dropout) for name in MODALITIES}
        )
        self.head = nn.Sequential(
            BatchNorm(sum(hidden.values())),
            nn.Linear(sum(hidden.values()), h.head_width),
            nn.LeakyReLU(),
            nn.Dropout(h.head_dropout),
            nn.Linear(h.head_width, spec.outputs),
        )
        self.plateau = Plateau(factor=0.1, patience=h.plateau_patience)
        self.epoch = 1

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Encode each modality [B, T, 3 width]: by itself, and by what it finds in the two others."""
        inputs = {
            "text": self.text_dropout(self.encoder(batch.text)),
            "audio": batch.audio.values,
            "vision": batch.vision.values,
        }
        x = {name: self.projection[name](inputs[name].transpose(1, 2)).transpose(1, 2) for name in MODALITIES}
        pairs = [(name, other) for name in MODALITIES for other in _others(name)]
        within = encode([Job(self.within[name], x[name]) for name in MODALITIES])
        between = encode([Job(self.between[f"{name}_from_{other}"], x[name], x[other]) for name, other in pairs])
        found = zip(MODALITIES, within, between[::2], between[1::2], strict=True)
        return {name: torch.cat(parts, 2) for name, *parts in found}

    def represent(self, encoded: dict[str, Tensor], batch: Batch) -> Tensor:
        """Concatenate the summaries of the modalities [B, D]."""
        return torch.cat(
            [self.summary[name](encoded[name], getattr(batch, name).lengths_on_cpu) for name in MODALITIES], 1
        )

    def reconstruct(self, name: str, encoded: Tensor) -> Tensor:
        """Reconstruct the features of a modality [B, T, d] from its encoding [B, T, 3 width]."""
        channels = encoded.transpose(1, 2)
        if self.hyperparameters.temporal_attention == "batch":
            attended = self.temporal[name](channels.transpose(0, 1)).transpose(0, 1)
        else:
            attended = self.temporal[name](channels)
        return self.generator[name](attended.transpose(1, 2))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction and, from the second epoch, of the reconstruction of each modality."""
        h = self.hyperparameters
        encoded = self.encode(batch)
        output = self.readout(self.head(self.represent(encoded, batch)))
        terms = {"sentiment": self.error(output, batch.label)}
        if self.epoch == 1:
            return terms
        clean = batch if batch.clean is None else batch.clean
        # As in the released code, gradients flow into the target of text: the encoder is trained by it, too.
        targets = {"text": self.encoder(clean.text), "audio": clean.audio.values, "vision": clean.vision.values}
        weights = {"text": h.text_weight, "audio": h.audio_weight, "vision": h.vision_weight}
        for name in MODALITIES:
            missing = getattr(clean, name).observed & ~getattr(batch, name).observed
            error = reconstruction_error(
                self.reconstruct(name, encoded[name]), targets[name], missing, similarity_weight=h.similarity_weight
            )
            terms[f"{name}_reconstruction"] = weights[name] * error
        return terms

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the corrupted input alone."""
        representation = self.represent(self.encode(batch), batch)
        return Prediction(self.readout(self.head(representation)), representation)

    def on_epoch_start(self, epoch: int) -> None:
        """Remember the epoch: the first learns to predict only."""
        self.epoch = epoch

    def on_epoch_end(self, error: float) -> None:
        """Watch for a plateau."""
        self.plateau.step(error)

    def learning_rate_factor(self, epoch: int) -> float:
        """Return a tenth of what it was after every plateau of the validation error."""
        return self.plateau.multiplier

    def parameter_groups(self) -> list[dict]:
        """Text encoder with and without weight decay, and the rest."""
        h = self.hyperparameters
        rest = [p for n, p in self.named_parameters() if not n.startswith("encoder.") and p.requires_grad]
        return [
            *self.text_encoder_groups(
                learning_rate=h.learning_rate_text_encoder, weight_decay=h.weight_decay_text_encoder
            ),
            {"name": "method", "params": rest, "lr": h.learning_rate, "weight_decay": h.weight_decay},
        ]

    def descend(self, terms: dict[str, Tensor], optimizers: list[torch.optim.Optimizer], step: int) -> None:
        """Follow the gradient, which grows within a group of batches while every batch takes a step."""
        if self.hyperparameters.update == "accumulate":
            super().descend(terms, optimizers, step)
            return
        accumulate = self.hyperparameters.accumulate
        if step % accumulate == 0:
            for optimizer in optimizers:
                optimizer.zero_grad()
        self.backward(terms)
        for _ in range(2 if (step + 1) % accumulate == 0 else 1):
            for optimizer in optimizers:
                optimizer.step()

    def after_backward(self) -> None:
        """Clip every gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)


def reconstruction_error(x: Tensor, target: Tensor, missing: Tensor, *, similarity_weight: float) -> Tensor:
    """Compare what was missing with its reconstruction; 0 where nothing was.

    Parameters
    ----------
    x, target : Tensor [B, T, d]
    missing : Tensor [B, T] bool
        The positions that count; all others are set to 0 in both.
    similarity_weight : float
        Of the discrepancy of the moments, beside the smooth absolute error.

    Returns
    -------
    Tensor []
        Divided by the number of missing elements.
    """
    mask = missing.unsqueeze(2).expand_as(x)
    x, target = x * mask, target * mask
    error = F.smooth_l1_loss(x, target, reduction="sum") + similarity_weight * moment_discrepancy(x, target)
    return missing.any() * error / (mask.sum() + _EPSILON)


def moment_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Sum the distances of the means and of the second and third central moments over all positions of [B, T, d]."""
    x, y = x.flatten(0, 1), y.flatten(0, 1)
    mean_x, mean_y = x.mean(0), y.mean(0)
    discrepancy = _distance(mean_x, mean_y)
    for moment in (2, 3):
        discrepancy = discrepancy + _distance(((x - mean_x) ** moment).mean(0), ((y - mean_y) ** moment).mean(0))
    return discrepancy


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distance with a finite slope at 0."""
    return ((x - y).square().sum() + 1e-12).sqrt()


def _others(name: str) -> tuple[str, ...]:
    return tuple(other for other in MODALITIES if other != name)


def _divisor(size: int, limit: int) -> int:
    """Largest divisor of ``size`` up to ``limit``."""
    return max(n for n in range(1, min(size, limit) + 1) if size % n == 0)

"""NIAT: noise imitation based adversarial training.

One network fuses each training sample twice: as it was recorded, and corrupted. A reconstruction rebuilds the fused
vector of the complete sample from the vector of the corrupted one. A discriminator tells both vectors apart, and the
fusion learns to mislead it.

The file follows the official code and its configurations. What differs here:

- The discriminator learns (``adversary: trained``). In the official code, the line that trains the discriminator is a
  comment, and its gradient from the loss of the fusion is cleared. The discriminator keeps its random weights
  (``adversary: as_shipped``), if the version of PyTorch leaves weights without a gradient alone. The official ablation
  without reconstruction trains the discriminator as this file does: one step of all networks for each batch.
- The first position of the encoder sees all positions (``readout: full``). In the official code, a position sees none
  after it, and the first one is read. So the vector follows from [CLS] and from the first frames of audio and vision
  (``readout: causal``).
- The training corruption decides what is missing. ``protocol: niat`` has that of the official code: the same moments
  of all modalities, 20 % of them, drawn once. The official code also drops [CLS] and [SEP] in training. Here both stay.
- The changes of text that the paper tests (antonyms, deleted words of sentiment, recognised speech) are no part of this
  file. No corruption of Elision makes them.
- The range of the scores is the label range of the corpus. The official code has -3 to 3, and no other corpora.
- The official code selects on the summed error of complete and corrupted validation samples. Here validation samples
  are corrupted as ``train.selection`` and ``train.corruption`` say.
- The official ablations weigh the remaining terms otherwise: by 1 in place of ``generator_weight``, and by 0.5 in place
  of ``discriminator_weight``.
- CH-SIMS has no official values. The defaults are those of MOSI, with ``alignment: pooled``.
- Classes have the cross-entropy, and logits without a range.

The hyperbolic tangent of the reconstruction cannot reach values beyond 1, which the fused vector has. This is kept.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.batch_norm import BatchNorm
from elision.methods.layers.crossmodal import CrossmodalEncoder, check_heads
from elision.methods.layers.precision import raised
from elision.task import MODALITIES, DataSpec, TaskKind

_SLOPE = 0.2  # of leaky rectifiers, below 0


class NIAT(Method):
    """Yuan, Liu, Xu and Gao, IEEE Transactions on Multimedia 2023."""

    name = "niat"
    paper = (
        "Yuan, Liu, Xu, Gao: Noise Imitation Based Adversarial Training for Robust Multimodal Sentiment Analysis. IEEE "
        "Transactions on Multimedia 2023"
    )
    needs_complete = True
    requires = ("text",)
    sees_padding = "padded positions are attended"
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {"mosi": 1_235_802, "mosei": 1_071_346}
    compared = "equal without two constants"
    small: ClassVar[dict] = {
        **{"text_width": 8, "audio_width": 4, "vision_width": 4, "heads": 2, "layers": 1},
        **{"embedding_dropout": 0.0, "attention_dropout": 0.0, "residual_dropout": 0.0},
        **{"reconstruction_dropout": 0.0, "head_dropout": 0.0},
    }

    class Hyperparameters(Method.Hyperparameters):
        """Those of the official configuration for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. The official code stops by patience alone"
        )
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        alignment: Literal["words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's word. "
            "pooled: means over equal parts of the padded length",
            json_schema_extra={"released": "words"},
        )
        learning_rate_text_encoder: float = Field(2e-5, gt=0, description="learning rate of the text encoder")
        learning_rate: float = Field(5e-4, gt=0, description="learning rate of all other weights")
        weight_decay_text_encoder: float = Field(
            1e-4, ge=0, description="L2 penalty on the text encoder, except on biases and layer norms"
        )
        weight_decay: float = Field(5e-4, ge=0, description="L2 penalty on all other weights")
        gradient_clip: float = Field(0.6, gt=0, description="largest absolute value of one entry of the gradient")
        text_width: int = Field(96, ge=1, description="channels of text after the convolution")
        audio_width: int = Field(24, ge=1, description="channels of audio after the convolution")
        vision_width: int = Field(40, ge=1, description="channels of vision after the convolution")
        text_kernel: int = Field(3, ge=1, description="kernel size of the convolution over text")
        audio_kernel: int = Field(3, ge=1, description="kernel size of the convolution over audio")
        vision_kernel: int = Field(9, ge=1, description="kernel size of the convolution over vision")
        heads: int = Field(
            8, ge=1, validate_default=True, description="attention heads; they must divide the sum of the channels"
        )
        layers: int = Field(3, ge=1, description="layers of the encoder")
        readout: Literal["full", "causal"] = Field(
            "full",
            description="what the first position sees, which is read. full: all positions. causal: itself alone",
            json_schema_extra={"released": "causal"},
        )
        embedding_dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the input of the encoder")
        attention_dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the attention weights")
        relu_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the feed-forward layers")
        residual_dropout: float = Field(0.4, ge=0, lt=1, description="dropout before every residual connection")
        reconstruction: bool = Field(True, description="false trains without the reconstruction")
        reconstruction_widths: tuple[int, int] = Field(
            (80, 96), description="widths of the hidden layers of the reconstruction"
        )
        reconstruction_dropout: float = Field(0.4, ge=0, lt=1, description="dropout in the reconstruction")
        adversary: Literal["trained", "as_shipped", "none"] = Field(
            "trained",
            description="discriminator. trained: it learns. as_shipped: it keeps its random weights, as in the "
            "official code. none: training without a discriminator",
            json_schema_extra={"released": "as_shipped"},
        )
        discriminator_widths: tuple[int, int] = Field(
            (128, 64), description="widths of the hidden layers of the discriminator"
        )
        head_width: int = Field(80, ge=1, description="width of the hidden layer of the prediction")
        head_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the input of the prediction")
        noisy_weight: float = Field(
            1.0, ge=0, description="weight beta of the error of the corrupted sample, beside 1 of the complete one"
        )
        adversarial_share: float = Field(
            0.6, ge=0, le=1, description="share alpha of the adversarial term, beside that of the reconstruction"
        )
        generator_weight: float = Field(0.2, ge=0, description="weight of the adversarial term and the reconstruction")
        discriminator_weight: float = Field(0.1, gt=0, description="weight of the loss of the discriminator")

        @field_validator("text_kernel", "audio_kernel", "vision_kernel")
        @classmethod
        def _be_odd(cls, kernel: int) -> int:
            if not kernel % 2:
                raise ValueError(f"a kernel size of {kernel} does not keep the length; set an odd number")
            return kernel

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, sum(info.data.get(f"{name}_width", 0) for name in MODALITIES))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "learning_rate_text_encoder": 2e-6,
            "learning_rate": 2e-3,
            "weight_decay_text_encoder": 0.0,
            "gradient_clip": 1.0,
            "audio_width": 16,
            "vision_width": 32,
            "audio_kernel": 5,
            "vision_kernel": 3,
            "heads": 4,
            "embedding_dropout": 0.0,
            "attention_dropout": 0.1,
            "relu_dropout": 0.5,
            "residual_dropout": 0.5,
            "reconstruction_widths": (128, 64),
            "reconstruction_dropout": 0.2,
            "discriminator_widths": (80, 32),
            "head_width": 256,
            "head_dropout": 0.2,
        },
        "sims": {"alignment": "pooled"},
        "demo": {
            "epochs": 12,
            "batch_size": 16,
            "layers": 1,
            "embedding_dropout": 0.0,
            "attention_dropout": 0.0,
            "residual_dropout": 0.0,
        },
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        widths = {"text": h.text_width, "audio": h.audio_width, "vision": h.vision_width}
        kernels = {"text": h.text_kernel, "audio": h.audio_kernel, "vision": h.vision_kernel}
        width = sum(widths.values())
        self.projection = nn.ModuleDict(
            {
                name: nn.Conv1d(inputs[name], widths[name], kernels[name], padding="same", bias=False)
                for name in MODALITIES
            }
        )
        self.fusion = CrossmodalEncoder(
            width,
            h.heads,
            h.layers,
            attention_dropout=h.attention_dropout,
            relu_dropout=h.relu_dropout,
            residual_dropout=h.residual_dropout,
            embedding_dropout=h.embedding_dropout,
            causal=h.readout == "causal",
        )
        if h.reconstruction:
            wide, narrow = h.reconstruction_widths
            self.reconstruction = nn.Sequential(
                *(nn.Linear(width, wide), nn.Dropout(h.reconstruction_dropout), nn.LeakyReLU(_SLOPE)),
                *(nn.Linear(wide, narrow), nn.Dropout(h.reconstruction_dropout), BatchNorm(narrow)),
                *(nn.LeakyReLU(_SLOPE), nn.Linear(narrow, width), nn.Tanh()),
            )
        if h.adversary != "none":
            wide, narrow = h.discriminator_widths
            self.discriminator = nn.Sequential(
                *(BatchNorm(width), nn.Linear(width, wide), nn.LeakyReLU(_SLOPE)),
                *(nn.Linear(wide, narrow), nn.Tanh(), nn.Linear(narrow, 1)),
            ).requires_grad_(h.adversary == "trained")
        self.head = nn.Sequential(
            *(BatchNorm(width), nn.Dropout(h.head_dropout), nn.Linear(width, h.head_width), nn.ReLU()),
            nn.Linear(h.head_width, spec.outputs),
        )

    def fuse(self, batch: Batch) -> Tensor:
        """Fuse the modalities [B, width]: the first position of the encoder, that of [CLS]."""
        inputs = {"text": self.encoder(batch.text), "audio": batch.audio.values, "vision": batch.vision.values}
        projected = [self.projection[name](inputs[name].transpose(1, 2)) for name in MODALITIES]
        return self.fusion(torch.cat(projected, 1).transpose(1, 2))[:, 0]

    def decide(self, fused: Tensor) -> Tensor:
        """Predict from fused vectors; scores are squashed into their range, class logits are not."""
        output = self.readout(self.head(fused))
        if self.spec.task is TaskKind.REGRESSION:
            output = 2 * self.spec.label_range * output.sigmoid() - self.spec.label_range
        return output

    def predict(self, batch: Batch) -> Prediction:
        """Predict from what is observed."""
        fused = self.fuse(batch)
        return Prediction(self.decide(fused), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the errors of the complete and of the corrupted samples, and the terms of both games.

        The adversarial term reaches the fusion alone, and the term of the discriminator the discriminator alone.
        """
        h, label = self.hyperparameters, batch.label
        complete, noisy = self.fuse(batch.clean), self.fuse(batch)
        terms = {}
        if h.reconstruction:
            error = F.l1_loss(raised(self.reconstruction(noisy)), raised(complete))
            terms["reconstruction"] = h.generator_weight * (1 - h.adversarial_share) * error
        if h.adversary != "none":
            fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
            judged = functional_call(self.discriminator, fixed, (noisy,))
            terms["adversarial"] = h.generator_weight * h.adversarial_share * _distance_from(judged, 1.0)
        error = self.error(self.decide(complete), label)
        noisy_error = self.error(self.decide(noisy), label)
        terms["sentiment"] = (error + h.noisy_weight * noisy_error) / (1 + h.noisy_weight)
        if h.adversary == "trained":
            told_apart = _distance_from(self.discriminator(complete.detach()), 1.0)
            told_apart = told_apart + _distance_from(self.discriminator(noisy.detach()), 0.0)
            terms["discriminator"] = h.discriminator_weight * told_apart
        return terms

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

    def after_backward(self) -> None:
        """Clip every gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)


def _distance_from(logits: Tensor, target: float) -> Tensor:
    """Return the mean binary cross-entropy of logits [B, 1], where all samples have one target."""
    logits = raised(logits)
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

"""MulT: multimodal transformer for unaligned sequences.

Each modality attends to each of the others in a crossmodal transformer. Sequences therefore need no alignment. Each
modality then attends to itself, and the last step of each goes into the prediction.

``alignment: words`` or ``pooled`` gives the MulT for aligned sequences.

The file follows MMSA's implementation and hyperparameters. Where the released code and the paper differ, the file
follows the code:

- Text is the features of a frozen BERT; in the paper, text is GloVe vectors. The CTC module is left out.
- No positions are added. ``positions: sinusoidal`` adds them, as the authors' code and early versions of MMSA do.
- No block masks padding. Padded frames are attended, and the last step of audio and vision is usually padding. A step
  sees at most as many steps ahead as the two sequences differ in length. In self-attention, a step sees none ahead.
- Weight decay is configured but never passed on.
- Gradients are clipped after every batch, while the gradients of ``accumulate`` batches are being summed.
- The learning rate falls on a plateau of the validation error. On MOSEI, the plateau lasts longer than the patience.

The features of BERT are computed from the corrupted text, and not read from a file. A sequence that is shorter than
its convolution is padded with zeros at its end. CH-SIMS v2 has values of its own in MMSA.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.crossmodal import Convolution, CrossmodalEncoder, check_heads, pairwise, summarised
from elision.methods.layers.plateau import Plateau
from elision.task import MODALITIES, DataSpec

_MEMORY_LAYERS = 3  # at least


class MulT(Method):
    """Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, ACL 2019."""

    name = "mult"
    paper = (
        "Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov: Multimodal Transformer for Unaligned Multimodal Language "
        "Sequences. ACL 2019, arXiv 1906.00295"
    )
    optimizer = torch.optim.Adam
    sees_padding = "no block masks anything, and the last step is read, padded or not"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 2_571_551, "mosei": 982_951, "sims": 1_870_701}
    small: ClassVar[dict] = {"accumulate": 1, "width": 10, "heads": 2, "layers": 1}

    class Hyperparameters(Method.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(16, ge=1, description="utterances per forward pass")
        accumulate: int = Field(8, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        finetune_text_encoder: bool = Field(
            False,
            description="true trains the text encoder with the rest of the method. The released code reads "
            "features of a frozen BERT",
            json_schema_extra={"released": False},
        )
        learning_rate: float = Field(
            2e-3, gt=0, description="learning rate of all weights except those of the text encoder"
        )
        learning_rate_text_encoder: float = Field(
            5e-5, gt=0, description="learning rate of the text encoder, if it is trained"
        )
        plateau_patience: int = Field(
            5,
            ge=0,
            description="epochs without a better validation error after which the learning rates fall to a tenth",
        )
        gradient_clip: float = Field(0.6, gt=0, description="largest absolute value of one entry of the gradient")
        width: int = Field(50, ge=1, description="width of each sequence after the convolution")
        heads: int = Field(10, ge=1, validate_default=True, description="attention heads; they must divide the width")
        layers: int = Field(4, ge=1, description="layers of each crossmodal encoder; self-attention has at least 3")
        text_kernel: int = Field(5, ge=1, description="kernel size of the convolution over text")
        audio_kernel: int = Field(5, ge=1, description="kernel size of the convolution over audio")
        vision_kernel: int = Field(5, ge=1, description="kernel size of the convolution over vision")
        positions: Literal["none", "sinusoidal"] = Field(
            "none",
            description="positions that are added to every sequence that attends. The authors' own code adds "
            "sinusoidal ones, MMSA adds none",
            json_schema_extra={"released": "none"},
        )
        attention_dropout: float = Field(
            0.3, ge=0, lt=1, description="dropout on attention to text and on self-attention"
        )
        attention_dropout_audio: float = Field(
            0.2, ge=0, lt=1, description="dropout on attention of other modalities to audio"
        )
        attention_dropout_vision: float = Field(
            0.0, ge=0, lt=1, description="dropout on attention of other modalities to vision"
        )
        relu_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the feed-forward layers")
        embedding_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the input of every encoder")
        residual_dropout: float = Field(0.0, ge=0, lt=1, description="dropout before every residual connection")
        text_dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the text features")
        output_dropout: float = Field(0.5, ge=0, lt=1, description="dropout inside the last residual block")

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 4,
            "learning_rate": 5e-4,
            "plateau_patience": 20,
            "width": 30,
            "heads": 6,
            "audio_kernel": 1,
            "vision_kernel": 3,
            "attention_dropout": 0.4,
            "attention_dropout_audio": 0.0,
            "embedding_dropout": 0.0,
            "text_dropout": 0.3,
        },
        "sims": {
            "plateau_patience": 10,
            "layers": 2,
            "audio_kernel": 1,
            "vision_kernel": 1,
            "attention_dropout": 0.2,
            "attention_dropout_audio": 0.1,
            "embedding_dropout": 0.1,
            "residual_dropout": 0.2,
            "text_dropout": 0.3,
            "output_dropout": 0.1,
        },
        "simsv2": {
            "learning_rate": 5e-4,
            "plateau_patience": 10,
            "gradient_clip": 1.0,
            "width": 30,
            "heads": 6,
            "audio_kernel": 3,
            "vision_kernel": 1,
            "attention_dropout": 0.1,
            "relu_dropout": 0.1,
            "output_dropout": 0.3,
        },
        "demo": {"epochs": 10, "accumulate": 1, "width": 20, "heads": 4, "layers": 2},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        kernels = {"text": h.text_kernel, "audio": h.audio_kernel, "vision": h.vision_kernel}
        dropouts = {
            "text": h.attention_dropout,
            "audio": h.attention_dropout_audio,
            "vision": h.attention_dropout_vision,
        }
        self.text_dropout = nn.Dropout(h.text_dropout)
        self.projections = nn.ModuleDict(
            {
                name: nn.Identity() if inputs[name] == width else Convolution(inputs[name], width, kernels[name])
                for name in MODALITIES
            }
        )
        self.crossmodal = pairwise(lambda source: self.attention(width, h.layers, dropouts[source]))
        self.memory = nn.ModuleDict(
            {name: self.attention(2 * width, max(h.layers, _MEMORY_LAYERS), h.attention_dropout) for name in MODALITIES}
        )
        fused = 2 * width * len(MODALITIES)
        self.residual = nn.Sequential(
            nn.Linear(fused, fused), nn.ReLU(), nn.Dropout(h.output_dropout), nn.Linear(fused, fused)
        )
        self.out = nn.Linear(fused, spec.outputs)
        self.plateau = Plateau(factor=0.1, patience=h.plateau_patience)

    def attention(self, width: int, layers: int, dropout: float) -> CrossmodalEncoder:
        """Build an encoder; all have the same hyperparameters but these."""
        h = self.hyperparameters
        return CrossmodalEncoder(
            width,
            h.heads,
            layers,
            attention_dropout=dropout,
            relu_dropout=h.relu_dropout,
            residual_dropout=h.residual_dropout,
            embedding_dropout=h.embedding_dropout,
            positions=h.positions == "sinusoidal",
        )

    def fuse(self, sequences: dict[str, Tensor]) -> Tensor:
        """Turn the features [B, T, d] of each modality into one vector per utterance [B, 6 width]."""
        projected = {name: self.projections[name](sequences[name]) for name in MODALITIES}
        return torch.cat([*summarised(self.crossmodal, self.memory, projected).values()], 1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the last steps of the three modalities."""
        text = self.text_dropout(self.encoder(batch.text))
        fused = self.fuse({"text": text, "audio": batch.audio.values, "vision": batch.vision.values})
        return Prediction(self.readout(self.out(fused + self.residual(fused))), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, or the cross-entropy."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}

    def after_backward(self) -> None:
        """Clip every gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)

    def learning_rate_factor(self, epoch: int) -> float:
        """Return a tenth of what it was after every plateau of the validation error."""
        return self.plateau.multiplier

    def on_epoch_end(self, error: float) -> None:
        """Watch for a plateau."""
        self.plateau.step(error)

"""The backbone of MPLMM: a MulT over text vectors, which learns from complete data.

Each modality attends to each of the others, with sinusoidal positions and a mask of later steps. Each modality then
attends to itself, and its last step goes into the prediction. MPLMM starts from all layers but the first and the last.

The file follows the official code. What differs from the official code:

- The backbone learns from the dataset that MPLMM learns from. The authors train the backbone on CMU-MOSEI, and MPLMM on
  CMU-MOSI, CH-SIMS or IEMOCAP.
- Samples are shuffled. The official loaders give them in the order of the files.
- The test split is scored. The official code ends with the scores of the validation split.
- Every modality is projected. The official code leaves out the projection of a modality that has the width already.

Padding takes part as zeros, up to the padded length of the dataset, as in the official code. The last step of a
sequence is therefore often padding. The official features are aligned to the words; ``alignment: words`` aligns others.
"""

from typing import ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.crossmodal import CrossmodalEncoder, check_heads, pairwise, summarised
from elision.methods.layers.plateau import Plateau
from elision.task import MODALITIES, DataSpec

_MEMORY_LAYERS = 3  # at least


class MPLMMBackbone(Method):
    """Guo, Jin and Zhao, ACL 2024; the network is that of Tsai et al., ACL 2019."""

    name = "mplmm_backbone"
    corruption = "complete"
    paper = (
        "Guo, Jin, Zhao: Multimodal Prompt Learning with Missing Modalities for Sentiment Analysis and Emotion "
        "Recognition. ACL 2024"
    )
    reads_text = "vectors"
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {
        "mosi": 1_085_251,
        "mosei": 1_087_771,
        "sims": 1_106_761,
        "iemocap": 1_106_884,
    }
    compared = "equal; with the aligned files of MulT (300 values) mosi 1,071,211 and mosei 1,073,731, equal, too"
    small: ClassVar[dict] = {
        "width": 10,
        "heads": 2,
        "layers": 1,
        "attention_dropout": 0.0,
        "relu_dropout": 0.0,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "output_dropout": 0.0,
    }

    class Hyperparameters(Method.Hyperparameters):
        """Those of the official code, for all corpora."""

        epochs: int = Field(40, ge=0, description="passes over the training split")
        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam")
        plateau_patience: int = Field(
            10, ge=0, description="epochs without a better validation error after which the rate falls to a tenth"
        )
        gradient_clip: float | None = Field(
            0.8, gt=0, description="largest norm of the gradient of all weights (null: no limit)"
        )
        width: int = Field(30, ge=2, description="width of a step of each modality")
        heads: int = Field(5, ge=1, validate_default=True, description="attention heads; they must divide the width")
        layers: int = Field(5, ge=1, description="layers of each encoder; self-attention has at least 3")
        attention_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the attention weights")
        relu_dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the feed-forward layers")
        residual_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before every residual connection")
        embedding_dropout: float = Field(
            0.25, ge=0, lt=1, description="dropout on the text, and on the input of every encoder"
        )
        output_dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the last residual block")

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {"demo": {"epochs": 10, "batch_size": 16, "layers": 2}}

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        self.text_dropout = nn.Dropout(h.embedding_dropout)
        self.projection = nn.ModuleDict(
            {name: nn.Linear(getattr(spec, name), width, bias=False) for name in MODALITIES}
        )
        self.crossmodal = pairwise(lambda _: self.attention(width, h.layers))
        self.memory = nn.ModuleDict(
            {name: self.attention(2 * width, max(h.layers, _MEMORY_LAYERS)) for name in MODALITIES}
        )
        fused = 2 * width * len(MODALITIES)
        self.residual = nn.Sequential(
            nn.Linear(fused, fused), nn.ReLU(), nn.Dropout(h.output_dropout), nn.Linear(fused, fused)
        )
        self.out = nn.Linear(fused, spec.outputs)
        self.plateau = Plateau(factor=0.1, patience=h.plateau_patience)

    def attention(self, width: int, layers: int) -> CrossmodalEncoder:
        """Build an encoder; all have the same hyperparameters but these."""
        h = self.hyperparameters
        return CrossmodalEncoder(
            width,
            h.heads,
            layers,
            attention_dropout=h.attention_dropout,
            relu_dropout=h.relu_dropout,
            residual_dropout=h.residual_dropout,
            embedding_dropout=h.embedding_dropout,
            positions=True,
        )

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sequences [B, T, d], with zeros up to the padded length of the dataset."""
        found = {}
        for name in MODALITIES:
            values = getattr(batch, name).values
            found[name] = F.pad(values, (0, 0, 0, max(self.spec.length[name] - values.shape[1], 0)))
        return found | {"text": self.text_dropout(found["text"])}

    def fuse(self, batch: Batch) -> Tensor:
        """Return the last steps of the modalities side by side [B, 6 width]."""
        projected = {name: self.projection[name](x) for name, x in self.inputs(batch).items()}
        return torch.cat([*summarised(self.crossmodal, self.memory, projected).values()], 1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the last steps of the three modalities."""
        fused = self.fuse(batch)
        return Prediction(self.readout(self.out(fused + self.residual(fused))), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, or the cross-entropy."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}

    def learning_rate_factor(self, epoch: int) -> float:
        """Return a tenth of what it was after every plateau of the validation error."""
        return self.plateau.multiplier

    def on_epoch_end(self, error: float) -> None:
        """Watch for a plateau."""
        self.plateau.step(error)

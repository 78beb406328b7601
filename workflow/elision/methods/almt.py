"""ALMT: adaptive language-guided multimodal transformer.

Each modality is compressed into a few tokens. Language at three depths queries audio and vision. The answers form a
hyper-modality without what contradicts language or has nothing to do with it. A transformer fuses language and
hyper-modality.

The file follows the present form of the released code, for unaligned data. MMSA has the same network and schedule.
Where code and paper differ, the file follows the code:

- The residual of the hyper-modality holds the output of its layer norm. In the paper, the residual holds the
  hyper-modality itself.
- The fusion has depth 2 on MOSI and depth 4 on MOSEI and CH-SIMS.
- The paper reports the best epoch on the test split per metric, with one seed per dataset. Here ``train.selection``
  chooses the epoch, as for every method.

Training never stops early. MMSA stops after 32 epochs without improvement; ``patience: 32`` does the same.
Classification is ours: the same network with cross-entropy in place of the squared error.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.schedule import warm_up_and_cosine
from elision.methods.layers.transformer import (
    Block,
    CrossTransformer,
    HyperModalityLayer,
    TokenTransformer,
    gathered,
    refine,
)
from elision.task import MODALITIES, DataSpec


class ALMT(Method):
    """Zhang, Wang, Yin, Liu, Liu and Yu, EMNLP 2023."""

    name = "almt"
    error_of_scores = "squared"
    paper = (
        "Zhang, Wang, Yin, Liu, Liu, Yu: Learning Language-guided Adaptive Hyper-modality Representation for "
        "Multimodal Sentiment Analysis. EMNLP 2023, arXiv 2310.05804"
    )
    sees_padding = "no block masks anything, and learned positions follow the padded length"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 2_603_649, "mosei": 3_223_041, "sims": 3_232_897}
    small: ClassVar[dict] = {"width": 16, "tokens": 2, "language_depth": 1, "fusion_depth": 1}

    class Hyperparameters(Method.Hyperparameters):
        """Those of the released configuration for MOSI."""

        epochs: int = Field(200, ge=0, description="passes over the training split")
        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(
            1e-4, gt=0, description="highest learning rate, of all weights, text encoder included"
        )
        weight_decay: float = Field(
            1e-4, ge=0, description="weight decay of AdamW, for all weights, text encoder included"
        )
        width: int = Field(128, ge=8, multiple_of=8, description="width of every token after the embedding")
        tokens: int = Field(8, ge=1, description="tokens into which a modality is embedded")
        embedding_depth: int = Field(1, ge=1, description="blocks of each embedding")
        language_depth: int = Field(
            2, ge=0, description="blocks of the language encoder; the hyper-modality has one block more"
        )
        fusion_depth: int = Field(2, ge=1, description="blocks of the fusion")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"fusion_depth": 4},
        "sims": {"fusion_depth": 4},
        "demo": {"epochs": 8, "batch_size": 16},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width, tokens = hyperparameters, hyperparameters.width, hyperparameters.tokens
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        self.embedding = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(inputs[name], width),
                    TokenTransformer(spec.length[name], width, h.embedding_depth, tokens=tokens),
                )
                for name in MODALITIES
            }
        )
        self.language_encoder = TokenTransformer(tokens, width, h.language_depth)
        self.hyper = nn.Parameter(torch.ones(1, tokens, width))
        self.hyper_modality = nn.ModuleList(HyperModalityLayer(width) for _ in range(h.language_depth + 1))
        self.fusion = CrossTransformer(tokens, tokens, width, h.fusion_depth)
        self.head = nn.Linear(width, spec.outputs)

    def fuse(self, batch: Batch) -> Tensor:
        """Fuse the modalities into one vector per utterance [B, width]."""
        inputs = {"text": self.encoder(batch.text), "audio": batch.audio.values, "vision": batch.vision.values}
        language, audio, vision = (self.embedding[name](inputs[name]) for name in MODALITIES)
        scales = self.language_encoder.layers(language)
        hyper = self.hyper.expand(len(language), -1, -1)
        hyper = refine(self.hyper_modality, scales, audio, vision, hyper)
        return self.fusion(hyper, scales[-1], read=slice(1)).squeeze(1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the learned token of the fusion."""
        representation = self.fuse(batch)
        return Prediction(self.readout(self.head(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error, or the cross-entropy of classes."""
        with gathered([[module] for module in self.modules() if isinstance(module, Block)]):
            return {"sentiment": self.error(self.predict(batch).output, batch.label)}

    def learning_rate_factor(self, epoch: int) -> float:
        """Warm up over a tenth of the epochs, then follow half a cosine."""
        return warm_up_and_cosine(epoch, epochs=self.hyperparameters.epochs)

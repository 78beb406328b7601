"""LNLN: language-dominated noise-resistant learning network.

Language is the dominant modality. A check measures how complete the language is. A proxy, generated from audio and
vision, replaces the missing share. The corrected language then queries audio and vision, and a transformer fuses
both. In training, a reconstructor predicts the embeddings of the complete input. A discriminator compares the
corrected language with the language of the complete input.

The file follows the released code where code and paper differ:

- The code reverses gradients at the proxy before the proxy is mixed. The generator therefore works against all
  losses, and not only against the discriminator. ``grl_scope: adv`` is the game of the paper.
- The discriminator tells corrected from complete language. In the paper, the discriminator tells the proxy from
  language.
- The reconstructor predicts the embeddings of the complete input, which receive gradients, too. In the paper, the
  reconstructor predicts the input.
- The fusion has depth 2 on MOSI, and 4 in the paper. Training never stops early.

Classification is ours: the same network with cross-entropy in place of the squared error.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.precision import float32
from elision.methods.layers.schedule import warm_up_and_cosine
from elision.methods.layers.stack import stack
from elision.methods.layers.transformer import (
    Block,
    CrossTransformer,
    HyperModalityLayer,
    TokenTransformer,
    encode_together,
    gathered,
    refine,
)
from elision.task import MODALITIES, DataSpec


class LNLN(Method):
    """Zhang, Wang and Yu, NeurIPS 2024."""

    name = "lnln"
    needs_complete = True
    error_of_scores = "squared"
    paper = (
        "Zhang, Wang, Yu: Towards Robust Multimodal Sentiment Analysis with Incomplete Data. NeurIPS 2024, "
        "arXiv 2409.20012"
    )
    sees_padding = "no block masks anything, and learned positions follow the padded length"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 6_483_012, "mosei": 7_102_404, "sims": 7_112_260}
    small: ClassVar[dict] = {
        "width": 16,
        "tokens": 2,
        "embedding_depth": 1,
        "completeness_depth": 1,
        "generator_depth": 1,
        "language_depth": 1,
        "fusion_depth": 1,
        "reconstructor_depth": 1,
    }

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
        embedding_depth: int = Field(2, ge=1, description="blocks of each embedding")
        completeness_depth: int = Field(2, ge=1, description="blocks of the completeness check")
        generator_depth: int = Field(2, ge=1, description="blocks of the proxy generator")
        language_depth: int = Field(
            2, ge=1, description="blocks of the language encoder; the hyper-modality has one block more"
        )
        fusion_depth: int = Field(2, ge=1, description="blocks of the fusion")
        reconstructor_depth: int = Field(2, ge=1, description="blocks of the reconstructor of each modality")
        completeness_weight: float = Field(
            0.9, ge=0, description="weight alpha of the completeness loss; 0 drops the loss"
        )
        adversarial_weight: float = Field(
            0.8, ge=0, description="weight beta of the adversarial loss; 0 drops the loss"
        )
        reconstruction_weight: float = Field(
            0.1, ge=0, description="weight gamma of the reconstruction loss; 0 drops the loss"
        )
        sentiment_weight: float = Field(1.0, gt=0, description="weight delta of the sentiment loss")
        grl_scope: Literal["all", "adv"] = Field(
            "all",
            description="losses whose gradients are reversed into the proxy. all: every loss. adv: only the "
            "adversarial loss, as in the paper",
            json_schema_extra={"released": "all"},
        )
        dominant_modality_correction: bool = Field(
            True, description="false uses the language features without a correction"
        )
        completeness_check: bool = Field(
            True, description="false mixes proxy and language half and half for every sample"
        )
        multimodal_learning: bool = Field(
            True, description="false concatenates the mean tokens of the modalities instead"
        )
        reconstructor: bool = Field(True, description="false trains without reconstruction")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"fusion_depth": 4},
        "sims": {"fusion_depth": 4, "adversarial_weight": 0.6},
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
        if h.dominant_modality_correction:
            self.proxy = nn.Parameter(torch.ones(1, tokens, width))
            self.proxy_generator = TokenTransformer(3 * tokens, width, h.generator_depth, tokens=tokens)
            self.discriminator = nn.Sequential(
                nn.Linear(width, width // 2), nn.LeakyReLU(0.1), nn.Linear(width // 2, 2)
            )
            if h.completeness_check:
                self.completeness_check = nn.Sequential(
                    TokenTransformer(tokens, width, h.completeness_depth, tokens=1),
                    nn.Flatten(),
                    nn.Linear(width, width // 2),
                    nn.LeakyReLU(0.1),
                    nn.Linear(width // 2, 1),
                    nn.Sigmoid(),
                )
        if h.multimodal_learning:
            self.hyper = nn.Parameter(torch.ones(1, tokens, width))
            self.language_encoder = TokenTransformer(tokens, width, h.language_depth)
            self.hyper_modality = nn.ModuleList(HyperModalityLayer(width) for _ in range(h.language_depth + 1))
            self.fusion = CrossTransformer(tokens, tokens, width, h.fusion_depth)
        self.head = nn.Linear(width if h.multimodal_learning else 3 * width, spec.outputs)
        if h.reconstructor:
            self.reconstructor = nn.ModuleDict(
                {name: TokenTransformer(tokens, width, h.reconstructor_depth) for name in MODALITIES}
            )

    def embed(self, *batches: Batch) -> list[dict[str, Tensor]]:
        """Turn each modality of each batch into tokens [B, tokens, width] (eq. 1), all batches in one pass."""
        inputs = {
            "text": torch.cat([self.encoder(batch.text) for batch in batches]),
            "audio": torch.cat([batch.audio.values for batch in batches]),
            "vision": torch.cat([batch.vision.values for batch in batches]),
        }
        embedded = {name: self.embedding[name](inputs[name]).chunk(len(batches)) for name in MODALITIES}
        return [{name: parts[number] for name, parts in embedded.items()} for number in range(len(batches))]

    def completeness(self, language: Tensor) -> Tensor:
        """Estimate how complete the language is, from 0 to 1 [B, 1] (eq. 5)."""
        if self.hyperparameters.completeness_check:
            return self.completeness_check(language)
        return language.new_full((len(language), 1), 0.5)

    def generate_proxy(self, embedded: dict[str, Tensor]) -> Tensor:
        """Generate a substitute for language [B, tokens, width] from audio and vision (eq. 7)."""
        audio, vision = embedded["audio"], embedded["vision"]
        return self.proxy_generator(torch.cat([self.proxy.expand(len(audio), -1, -1), audio, vision], 1))

    def fuse(self, language: Tensor, embedded: dict[str, Tensor]) -> Tensor:
        """Fuse the corrected language with audio and vision into one vector per utterance [B, D] (eq. 2 to 4)."""
        audio, vision = embedded["audio"], embedded["vision"]
        if not self.hyperparameters.multimodal_learning:
            return torch.cat([language.mean(1), audio.mean(1), vision.mean(1)], 1)
        scales = self.language_encoder.layers(language)
        hyper = self.hyper.expand(len(language), -1, -1)
        hyper = refine(self.hyper_modality, scales, audio, vision, hyper)
        return self.fusion(hyper, scales[-1], read=slice(1, None)).mean(1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the four terms of eq. 14, as far as their weights and modules are there."""
        rebuilding = [list(blocks) for blocks in zip(*(t.blocks for t in self.reconstructors()), strict=True)]
        others = {block for blocks in rebuilding for block in blocks}
        alone = [[module] for module in self.modules() if isinstance(module, Block) and module not in others]
        with gathered([*alone, *rebuilding]):
            return self.terms(batch)

    def reconstructors(self) -> list[TokenTransformer]:
        """Return the reconstructor of each modality; none, if the method has none."""
        return [self.reconstructor[name] for name in MODALITIES] if self.hyperparameters.reconstructor else []

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        h = self.hyperparameters
        adversarial = h.dominant_modality_correction and h.adversarial_weight > 0
        reconstruct = h.reconstructor and h.reconstruction_weight > 0
        clean = batch if batch.clean is None else batch.clean
        compared = adversarial or reconstruct
        embedded, complete = self.embed(batch, clean) if compared else (*self.embed(batch), {})
        terms = {}

        language = embedded["text"]
        if h.dominant_modality_correction:
            weight = self.completeness(language)
            proxy = self.generate_proxy(embedded)
            judged = _mix(_reverse_gradient(proxy), language, weight)
            language = judged if h.grl_scope == "all" else _mix(proxy, language, weight)
            if h.completeness_check and h.completeness_weight > 0:
                # The label is the rate that was drawn, not the share that is missing: [CLS] and [SEP] never are.
                target = (1 - batch.rate[:, :1]) * batch.text.valid.any(1, keepdim=True)
                terms["completeness"] = h.completeness_weight * F.mse_loss(weight, target)
            if adversarial:
                logits = self.discriminator(torch.cat([judged, complete["text"]]).flatten(0, 1))
                corrected = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
                corrected[: len(logits) // 2] = 1
                terms["adversarial"] = h.adversarial_weight * F.cross_entropy(logits, corrected)
        if reconstruct:
            rebuilt = encode_together(self.reconstructors(), [embedded[name] for name in MODALITIES])
            # All modalities have as many values: the mean over all is that of the three errors.
            error = F.mse_loss(rebuilt, stack([complete[name] for name in MODALITIES]))
            terms["reconstruction"] = h.reconstruction_weight * error
        output = self.readout(self.head(self.fuse(language, embedded)))
        terms["sentiment"] = h.sentiment_weight * self.error(output, batch.label)
        return terms

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the corrupted input alone."""
        (embedded,) = self.embed(batch)
        language = embedded["text"]
        if self.hyperparameters.dominant_modality_correction:
            language = _mix(self.generate_proxy(embedded), language, self.completeness(language))
        representation = self.fuse(language, embedded)
        return Prediction(self.readout(self.head(representation)), representation)

    def learning_rate_factor(self, epoch: int) -> float:
        """Warm up over a tenth of the epochs, then follow half a cosine."""
        return warm_up_and_cosine(epoch, epochs=self.hyperparameters.epochs)


@float32
def _mix(proxy: Tensor, language: Tensor, weight: Tensor) -> Tensor:
    """Corrected language (eq. 8); ``weight`` [B, 1] is that of the language as it came."""
    return torch.lerp(proxy, language, weight.unsqueeze(2))


def _reverse_gradient(x: Tensor) -> Tensor:
    """Return ``x`` to the bit, with a gradient of the opposite sign."""
    return 2 * x.detach() - x

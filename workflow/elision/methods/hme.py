"""HME: vectors of missing modalities are enhanced by similar samples and other modalities, as far as they are certain.

A transformer summarises each modality in a vector. The mean of similar training samples and the vectors of the other
modalities make a hyper-modality vector for each modality. A variational bottleneck squeezes this vector, and its
deviation says how much the vector counts in the mix with the vector of the modality. No reconstruction is learnt, so
that training needs no complete data.

The file follows the released code, with these differences:

- Predictions look for similar samples in a memory of all training samples, which is part of the weights. The code
  looks in the test batch, so that a prediction depends on the rest of the batch (``neighbours: batch``). Training
  looks in the batch in both cases. A pass without learning fills the memory at the end of each epoch.
- Only available modalities are similar to others, in training, too. In the code, a missing modality is a vector like
  any other, and samples that miss the same modality are most similar to each other (``neighbours: batch``).
- Evaluation takes the mean of the bottleneck. The code draws in evaluation, too (``sample_at_eval``).
- The optimizer lives on. The code makes a new one in each epoch, which loses its moments (``fresh_optimizer``).
- A text without an observed word is missing, and the output of the text encoder is then zeros, as in the code.
- One model serves all missing rates (``corruption: modality_rate``). The code trains one model for each rate. Its
  options of other rates than 0.2 on MOSI and 0.1 on MOSEI are not published, and the file has these for all.
- Masks of validation and test are drawn once. The code draws them at each evaluation.
- The code reads frames per word beside tokens, of which a word may have several. Here frames go with tokens.
- The code configures other dropouts of the attention for audio and vision, and uses that of the text for all.
- Classes have the cross-entropy.

Padded positions are attended, and take part in the maximum over time, as in the code.
"""

from itertools import permutations
from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.crossmodal import CrossmodalEncoder, Job, check_heads, encode
from elision.methods.layers.precision import float32, raised
from elision.methods.layers.text_encoder import words_of
from elision.methods.layers.transformer import attend
from elision.task import MODALITIES, DataSpec

_EPSILON = 1e-8
_SMALLEST = 1e-30  # deviation of which a logarithm is taken


class GatedFeedForward(nn.Module):
    """Pre-norm feed-forward layer with a gated GELU, four times as wide inside, and a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.expand, self.contract = (
            nn.LayerNorm(width),
            nn.Linear(width, 8 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Turn [B, T, width] into the same shape."""
        values, gates = self.expand(self.norm(x)).chunk(2, 2)
        return x + self.contract(values * F.gelu(gates))


class Attention(nn.Module):
    """Pre-norm attention to a context, or to itself, with a residual.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    crossed : bool
        Whether it attends to a context, which has a layer norm of its own.
    """

    def __init__(self, width: int, heads: int, *, crossed: bool) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width) if crossed else None
        self.query, self.key_value = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Let ``x`` [B, T, width] attend to ``context`` [B, S, width]."""
        normed = self.norm(x)
        source = normed if self.norm_context is None or context is None else self.norm_context(context)
        key, value = self.key_value(source).chunk(2, 2)
        return x + self.out(attend(self.query(normed), key, value, heads=self.heads))


class HyperEncoder(nn.Module):
    """Layers in which one vector attends to others, and a last layer norm."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, heads, crossed=True), GatedFeedForward(width)]) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Let ``x`` [B, width] attend to ``context`` [B, S, width]."""
        x = x[:, None]
        for attention, feed_forward in self.layers:
            x = feed_forward(attention(x, context))
        return self.norm(x[:, 0])


class Perceiver(nn.Module):
    """Learned vectors that attend to vectors and to each other; their mean, and a last layer norm."""

    def __init__(self, width: int, heads: int, depth: int, latents: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Attention(width, heads, crossed=True),
                    GatedFeedForward(width),
                    Attention(width, heads, crossed=False),
                    GatedFeedForward(width),
                ]
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, context: Tensor) -> Tensor:
        """Summarise vectors [B, S, width] in one [B, width]."""
        x = self.latents.expand(len(context), -1, -1)
        for cross, after_cross, itself, after_itself in self.layers:
            x = after_itself(itself(after_cross(cross(x, context))))
        return self.norm(x.mean(1))


class Bottleneck(nn.Module):
    """Mean and deviation of a latent vector, and a prediction from a draw of it."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.statistics = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, 2 * width),
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation [B, width]."""
        mean, deviation = raised(self.statistics(x)).chunk(2, 1)
        return mean, F.softplus(deviation - 5)


class CertainMix(nn.Module):
    """Mix of vectors whose weights follow from the vectors, times how certain each is.

    Parameters
    ----------
    width, count : int
        Of the vectors.
    dropout : float
    """

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(count * width, width), nn.Dropout(dropout), nn.ReLU(), nn.Linear(width, count)
        )

    def forward(self, vectors: list[Tensor], certainty: Tensor) -> Tensor:
        """Mix vectors [B, width] by their certainty [B, count]."""
        scores = self.score(torch.cat(vectors, 1)) * certainty * vectors[0].shape[1] ** -0.5
        return (torch.stack(vectors, 1) * scores.softmax(1)[..., None]).sum(1)


def mean_of_similar(
    query: Tensor, here: Tensor, others: Tensor, there: Tensor, *, threshold: float, itself: bool
) -> Tensor:
    """Average the vectors that are similar to each query; without any, average all.

    Parameters
    ----------
    query : Tensor [B, d]
    here : Tensor [B] bool
        Whether a query has similar vectors at all; the others get the average of all.
    others : Tensor [N, d]
    there : Tensor [N] bool
        Which vectors count.
    threshold : float
        Least cosine of similar vectors.
    itself : bool
        False: the queries are the vectors, and none is similar to itself.

    Returns
    -------
    Tensor [B, d]
        Zeros, where no vector counts.
    """
    query, others = raised(query), raised(others)
    cosine = F.normalize(query, dim=1, eps=_EPSILON) @ F.normalize(others, dim=1, eps=_EPSILON).T
    similar = (cosine >= threshold) & there
    if not itself:
        similar = similar & ~torch.eye(len(query), dtype=torch.bool, device=query.device)
    count = similar.sum(1, keepdim=True)
    mean = similar.to(others.dtype) @ others / count.clamp(min=1)
    rest = there.to(others.dtype) @ others / there.sum().clamp(min=1)
    return torch.where(here[:, None] & (count > 0), mean, rest)


class HME(Method):
    """Zhuang, Liu, Bai, Zhang, Li, Deng and Ren, NeurIPS 2025.

    Attributes
    ----------
    memory : Tensor [3, N, width]
        Vector of each modality of each training sample, after the last epoch.
    remembered : Tensor [3, N] bool
        Which of them were available.
    """

    name = "hme"
    paper = (
        "Zhuang, Liu, Bai, Zhang, Li, Deng, Ren: Hyper-Modality Enhancement for Multimodal Sentiment Analysis with "
        "Missing Modalities. NeurIPS 2025"
    )
    corruption = "modality_rate"
    sees_padding = "padded positions are attended, and take part in the maximum over time"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 44_090_573, "mosei": 36_695_885}
    small: ClassVar[dict] = {
        "width": 16,
        "heads": 4,
        "layers": 1,
        "hyper_depth": 1,
        "latent_layers": 1,
        "feed_forward": 32,
        "attention_dropout": 0.0,
        "relu_dropout": 0.0,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "mix_dropout": 0.0,
        "transformer_dropout": 0.0,
        "dropout": 0.0,
        "initial_std": 0.2,
    }

    class Hyperparameters(Method.Hyperparameters):
        """Those of the released command for MOSI."""

        epochs: int = Field(100, ge=0, description="most passes over the training split")
        batch_size: int = Field(256, ge=1, description="utterances per forward pass")
        patience: int | None = Field(
            10, ge=1, description="epochs without a better validation score after which training stops"
        )
        alignment: Literal["words", "pooled", "none"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's word. "
            "pooled: means over equal parts of the padded length. none: audio and vision keep their own frames",
            json_schema_extra={"released": "words"},
        )
        learning_rate: float = Field(2e-5, gt=0, description="learning rate of all weights but the text encoder")
        weight_decay: float = Field(5e-4, ge=0, description="weight decay of all weights but biases")
        gradient_clip: float = Field(0.8, gt=0, description="largest absolute value of one entry of the gradient")
        width: int = Field(192, ge=1, description="width of all vectors")
        heads: int = Field(16, ge=1, validate_default=True, description="attention heads; they must divide the width")
        layers: int = Field(4, ge=1, description="layers of the encoder of each modality")
        latents: int = Field(5, ge=1, description="learned vectors of each perceiver")
        latent_layers: int = Field(4, ge=1, description="layers of each perceiver")
        hyper_depth: int = Field(3, ge=1, description="layers in which vectors of modalities attend to each other")
        feed_forward: int = Field(2048, ge=1, description="width of the feed-forward layers of the last transformer")
        attention_dropout: float = Field(
            0.5, ge=0, lt=1, description="dropout on the attention weights of the encoders"
        )
        relu_dropout: float = Field(
            0.3, ge=0, lt=1, description="dropout inside the feed-forward layers of the encoders"
        )
        residual_dropout: float = Field(0.3, ge=0, lt=1, description="dropout before each residual of the encoders")
        embedding_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the input of the encoders")
        mix_dropout: float = Field(0.3, ge=0, lt=1, description="dropout in the scores by which vectors are mixed")
        transformer_dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the last transformer")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the prediction head")
        similarity: float = Field(0.6, ge=-1, le=1, description="least cosine of similar vectors")
        least_certainty: float = Field(
            0.2, ge=0, le=1, description="least factor of the score of a hyper-modality vector; the largest is 1"
        )
        auxiliary_weight: float = Field(
            0.8, ge=0, description="weight of the mean error of the bottlenecks' predictions"
        )
        information_weight: float = Field(0.01, ge=0, description="weight of the mean divergence of the bottlenecks")
        neighbours: Literal["memory", "batch"] = Field(
            "memory",
            description="where predictions look for similar samples. memory: among the training samples. batch: in the "
            "batch that is predicted, and missing modalities count as vectors",
            json_schema_extra={"released": "batch"},
        )
        sample_at_eval: bool = Field(
            False,
            description="true draws from the bottlenecks in evaluation, too; an utterance always has the same draw",
            json_schema_extra={"released": True},
        )
        fresh_optimizer: bool = Field(
            False,
            description="true forgets the moments of the optimizer at the beginning of each epoch",
            json_schema_extra={"released": True},
        )
        initial_std: float = Field(
            0.02,
            gt=0,
            description="standard deviation of the new weights of linear layers; the default is that of BERT",
        )

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"layers": 2, "latent_layers": 3},
        "sims": {"alignment": "pooled"},
        "demo": {
            "epochs": 12,
            "batch_size": 16,
            "patience": None,
            "learning_rate": 1e-3,
            "learning_rate_text_encoder": 1e-4,
            "width": 32,
            "heads": 4,
            "layers": 1,
            "latent_layers": 1,
            "hyper_depth": 1,
            "feed_forward": 64,
            "initial_std": 0.1,
        },
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width, heads = hyperparameters, hyperparameters.width, hyperparameters.heads
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        self.project = nn.ModuleDict({name: nn.Conv1d(d, width, 1, bias=False) for name, d in inputs.items()})
        self.encoders = nn.ModuleDict(
            {
                name: CrossmodalEncoder(
                    width,
                    heads,
                    h.layers,
                    attention_dropout=h.attention_dropout,
                    relu_dropout=h.relu_dropout,
                    residual_dropout=h.residual_dropout,
                    embedding_dropout=h.embedding_dropout,
                    causal=False,
                    positions=True,
                )
                for name in MODALITIES
            }
        )
        self.of_similar = nn.ModuleDict(
            {name: Perceiver(width, heads, h.latent_layers, h.latents) for name in MODALITIES}
        )
        self.of_sample = Perceiver(width, heads, h.latent_layers, h.latents)
        self.crossed = nn.ModuleDict(
            {f"{x}_from_{y}": HyperEncoder(width, heads, h.hyper_depth) for x, y in permutations(MODALITIES, 2)}
        )
        self.hyper = nn.ModuleDict({name: HyperEncoder(width, heads, h.hyper_depth) for name in MODALITIES})
        self.bottleneck = nn.ModuleDict({name: Bottleneck(width, spec.outputs) for name in MODALITIES})
        self.refine = nn.ModuleDict({name: CertainMix(width, 2, h.mix_dropout) for name in MODALITIES})
        self.join = CertainMix(width, 3, h.mix_dropout)
        self.transformer = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, h.feed_forward, h.transformer_dropout, batch_first=True)
            for _ in range(2)
        )
        self.head = nn.Sequential(
            nn.Linear(4 * width, 2 * width), nn.Dropout(h.dropout), nn.ReLU(), nn.Linear(2 * width, spec.outputs)
        )
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear) and not name.startswith("encoder."):
                nn.init.normal_(layer.weight, std=h.initial_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.remembers, self.filling = h.neighbours == "memory", False
        if self.remembers:
            self.register_buffer("memory", torch.zeros(len(MODALITIES), spec.samples, width))
            self.register_buffer("remembered", torch.zeros(len(MODALITIES), spec.samples, dtype=torch.bool))

    @property
    def one_by_one(self) -> bool:
        """Whether similar samples are training samples."""
        return self.remembers

    def summarise(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the vector of each modality [3, B, width], and whether the modality is available [3, B]."""
        words = words_of(batch.text.valid) & batch.text.observed
        available = torch.stack([seen.any(1) for seen in (words, batch.audio.observed, batch.vision.observed)])
        tokens = self.encoder(batch.text) * available[0, :, None, None]
        jobs = []
        for name, x in zip(MODALITIES, (tokens, batch.audio.values, batch.vision.values), strict=True):
            projected = self.project[name](x.transpose(1, 2)).transpose(1, 2)
            jobs.append(Job(self.encoders[name], projected, projected))  # every layer attends to what was embedded
        return torch.stack([x.max(1).values for x in encode(jobs)]), available

    def similar(self, vectors: Tensor, available: Tensor) -> list[Tensor]:
        """Return the mean of similar vectors [B, width] for each modality of vectors [3, B, width]."""
        itself = self.remembers and not self.training
        others, there = (self.memory, self.remembered) if itself else (vectors, available)
        if not self.remembers:  # what counts is told by the vectors
            available = vectors.sum(2) != 0
            there = torch.ones_like(available)
        threshold, found = self.hyperparameters.similarity, []
        for query, here, bank, count in zip(vectors, available, others, there, strict=True):
            found.append(mean_of_similar(query, here, bank, count, threshold=threshold, itself=itself))
        return found

    def draw(self, deviation: Tensor, row: Tensor) -> Tensor:
        """Return random numbers [3, B, width] times a deviation, or zeros in evaluation without ``sample_at_eval``.

        In evaluation, the numbers follow from ``row`` [B] alone, and so not from the rest of the batch.
        """
        if self.training:
            noise = torch.randn(deviation.shape)  # on the CPU: the same on every device
        elif self.hyperparameters.sample_at_eval:
            shape = (deviation.shape[0], deviation.shape[2])
            drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(number)) for number in row.tolist()]
            noise = torch.stack(drawn, 1)
        else:
            return torch.zeros_like(deviation)
        return noise.to(deviation.device, non_blocking=True) * deviation

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the fused vector, and of the bottlenecks the means, the deviations and the drawn vectors.

        Returns
        -------
        fused : Tensor [B, 4 width]
        means, deviations, drawn : Tensor [3, B, width]
        """
        vectors, available = self.summarise(batch)
        enhanced = {
            name: self.of_similar[name](x[:, None])
            for name, x in zip(MODALITIES, self.similar(vectors, available), strict=True)
        }
        sample = self.of_sample(vectors.transpose(0, 1))
        crossed = {
            (x, y): self.crossed[f"{x}_from_{y}"](enhanced[x], enhanced[y][:, None])
            for x, y in permutations(MODALITIES, 2)
        }
        hyper = [
            self.hyper[name](sample, torch.stack([each for (x, _), each in crossed.items() if x == name], 1))
            for name in MODALITIES
        ]
        found = [bottleneck(x) for bottleneck, x in zip(self.bottleneck.values(), hyper, strict=True)]
        means, deviations = (torch.stack(each) for each in zip(*found, strict=True))
        drawn = means + self.draw(deviations, batch.row)

        certainty = 1 / (deviations.mean(2) + _EPSILON)
        joined = self.join(list(drawn), certainty.softmax(0).T)
        least = self.hyperparameters.least_certainty
        parts = []
        for mix, vector, other, each in zip(self.refine.values(), vectors, drawn, certainty, strict=True):
            bounded = each.clamp(least, 1)
            parts.append(mix([vector, other], torch.stack([torch.ones_like(bounded), bounded], 1)))
        hidden = torch.stack([*parts, joined], 1)
        for layer in self.transformer:
            hidden = layer(hidden)
        return hidden.flatten(1), means, deviations, drawn

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the refined vectors and the joint hyper-modality vector."""
        fused, *_ = self(batch)
        return Prediction(self.readout(self.head(fused)), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error, that of the bottlenecks, and their divergence from a normal distribution."""
        h = self.hyperparameters
        fused, means, deviations, drawn = self(batch)
        auxiliary = [
            self.error(self.readout(bottleneck.head(x)), batch.label)
            for bottleneck, x in zip(self.bottleneck.values(), drawn, strict=True)
        ]
        return {
            "label": self.error(self.readout(self.head(fused)), batch.label),
            "auxiliary": h.auxiliary_weight * torch.stack(auxiliary).mean(),
            "information": h.information_weight * divergence(means, deviations),
        }

    def on_epoch_start(self, epoch: int) -> None:
        """Learn first."""
        self.filling = False

    def passes(self, batches: int) -> list[int]:
        """A pass that learns, and one that fills the memory."""
        return [batches, batches] if self.remembers else [batches]

    def on_pass_start(self, number: int) -> None:
        """The second pass fills the memory."""
        self.filling = number == 1

    @torch.no_grad()
    def remember(self, batch: Batch) -> None:
        """Store the vectors of training samples, as evaluation makes them."""
        self.eval()
        vectors, available = self.summarise(batch)
        self.train()
        self.memory[:, batch.index] = raised(vectors)
        self.remembered[:, batch.index] = available

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch, or remember it."""
        if self.filling:
            self.remember(batch)
            return {}
        if step == 0 and self.hyperparameters.fresh_optimizer:
            for optimizer in optimizers:
                optimizer.state.clear()
        return super().update(batch, optimizers, step)

    def after_backward(self) -> None:
        """Clip every entry of the gradient."""
        nn.utils.clip_grad_value_(self.parameters(), self.hyperparameters.gradient_clip)

    def parameter_groups(self) -> list[dict]:
        """Text encoder and the rest, each with and without weight decay; biases do not decay."""
        h, decays, rest = self.hyperparameters, [], []
        rate = h.learning_rate if h.learning_rate_text_encoder is None else h.learning_rate_text_encoder
        for name, parameter in self.named_parameters():
            if not name.startswith("encoder."):
                (rest if "bias" in name else decays).append(parameter)
        return [
            *self.text_encoder_groups(learning_rate=rate, weight_decay=h.weight_decay),
            {"name": "method", "params": decays},
            {"name": "method, no decay", "params": rest, "weight_decay": 0.0},
        ]


@float32
def divergence(means: Tensor, deviations: Tensor) -> Tensor:
    """Return the mean divergence per entry of normal distributions from the standard one."""
    return 0.5 * (means.square() + deviations.square() - 2 * deviations.clamp(min=_SMALLEST).log() - 1).mean()

"""What P-RMF and QDRF share: tokens of every modality, a proxy of all modalities that asks each of them, and training.

How a proxy is made of the modalities, and from what it learns, is the idea of each method.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.schedule import warm_up_and_cosine
from elision.methods.layers.stack import stack
from elision.methods.layers.transformer import Block, TokenTransformer, apply, encode_together, gathered
from elision.task import MODALITIES, DataSpec


class Collector(TokenTransformer):
    """A transformer over a sequence that returns only the first of its learned tokens.

    Parameters
    ----------
    length, width, depth : int
        See `TokenTransformer`.
    tokens, unread : int
        Learned tokens that are returned, and learned tokens that only take part.
    """

    def __init__(self, length: int, width: int, depth: int, *, tokens: int, unread: int) -> None:
        super().__init__(length, width, depth, tokens=tokens + unread)
        self.read = slice(tokens)

    def forward(self, x: Tensor) -> Tensor:
        """Return the first learned tokens [B, tokens, width]; the last block computes nothing else."""
        x = self.embed(x)[None]
        *blocks, last = self.blocks
        for block in blocks:
            x = apply([block], x)
        return apply([last], x, read=self.read).squeeze(0)


class Coder(nn.Module):
    """Half of an autoencoder of tokens: a layer with ReLU, a transformer, and a linear layer.

    Parameters
    ----------
    tokens, width, depth : int
    outputs : int
        Vectors of ``width`` that are made of each token, side by side.
    """

    def __init__(self, tokens: int, width: int, depth: int, *, outputs: int = 1) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.transformer = TokenTransformer(tokens, width, depth)
        self.out = nn.Linear(width, outputs * width)


def code(coders: Sequence[Coder], xs: Sequence[Tensor]) -> Tensor:
    """Return what each coder makes of its tokens [B, T, width], stacked [n, B, T, outputs * width]."""
    hidden = [F.relu(coder.project(x)) for coder, x in zip(coders, xs, strict=True)]
    encoded = encode_together([coder.transformer for coder in coders], hidden)
    return stack([coder.out(x) for coder, x in zip(coders, encoded.unbind(), strict=True)])


class ProxyAttention(nn.Module):
    """The proxy asks one modality: attention with one head, and without a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_query, self.norm_source = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def given(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, T, width] of a modality, which no proxy changes."""
        normed = self.norm_source(source)
        return self.key(normed), self.value(normed)

    def forward(self, proxy: Tensor, given: tuple[Tensor, Tensor]) -> Tensor:
        """Return the answer [B, T, width] to every token of the proxy."""
        query = self.query(self.norm_query(proxy))
        return self.out(F.scaled_dot_product_attention(query, *given))


class ProxyLayer(nn.Module):
    """A layer of the cross-modal encoder: weighted answers of all modalities, and a linear layer, with residuals.

    Parameters
    ----------
    width : int
    dropout : float
        After the linear layer.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({name: ProxyAttention(width) for name in MODALITIES})
        self.feed_forward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.Dropout(dropout))

    def given(self, embedded: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of text, audio and vision."""
        return [each.given(tokens) for each, tokens in zip(self.attention.values(), embedded, strict=True)]

    def forward(self, proxy: Tensor, given: list[tuple[Tensor, Tensor]], weights: Tensor) -> Tensor:
        """Return the next proxy [B, T, width]; ``weights`` [3, B, T or 1, width or 1] are those of the answers."""
        asked = zip(self.attention.values(), given, weights.unbind(), strict=True)
        answered = sum((weight * attention(proxy, each) for attention, each, weight in asked), proxy)
        return answered + self.feed_forward(answered)


class ProxyMethod(Method):
    """A method whose proxy asks the modalities.

    The modalities of what is embedded are text, audio and vision, in this order.

    Parameters
    ----------
    outputs : int
        Vectors that ``coder`` makes of each token.
    layers : int
        Layers of the cross-modal encoder that have weights of their own.
    """

    error_of_scores = "squared"
    sees_padding = "no block masks anything, and learned positions follow the padded length"
    small: ClassVar[dict] = {
        "width": 16,
        "tokens": 2,
        "unread_tokens": 1,
        "embedding_depth": 1,
        "autoencoder_depth": 1,
        "reconstructor_depth": 1,
        "cross_modal_layers": 2,
        "dropout": 0.0,
    }

    class Hyperparameters(Method.Hyperparameters):
        """What both released configurations have."""

        epochs: int = Field(100, ge=0, description="passes over the training split")
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(
            1e-4,
            gt=0,
            description="highest learning rate of all weights except those of text encoder and cross-modal encoder",
        )
        learning_rate_text_encoder: float = Field(5e-6, gt=0, description="highest learning rate of the text encoder")
        learning_rate_cross_modal: float = Field(
            5e-6, gt=0, description="highest learning rate of the cross-modal encoder"
        )
        weight_decay: float = Field(
            1e-4, ge=0, description="weight decay of AdamW, for all weights, text encoder included"
        )
        width: int = Field(128, ge=1, description="width of every token after the embedding")
        tokens: int = Field(8, ge=1, description="tokens into which a modality is embedded")
        unread_tokens: int = Field(
            0,
            ge=0,
            description="further learned tokens of each embedding, which take part there and are not read afterwards",
        )
        embedding_depth: int = Field(2, ge=1, description="blocks of each embedding")
        autoencoder_depth: int = Field(2, ge=1, description="blocks of each half of an autoencoder")
        reconstructor_depth: int = Field(2, ge=1, description="blocks of the reconstructor of each modality")
        cross_modal_layers: int = Field(4, ge=1, description="layers of the cross-modal encoder")
        dropout: float = Field(
            0.5, ge=0, lt=1, description="dropout in the cross-modal encoder and before the last layer"
        )
        sentiment_weight: float = Field(1.0, gt=0, description="weight of the sentiment loss")
        reconstruction_weight: float = Field(
            0.1, ge=0, description="weight of the reconstruction loss; 0 drops the loss"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "sims": {"unread_tokens": 31},
        "demo": {
            "epochs": 8,
            "batch_size": 16,
            "learning_rate_text_encoder": 1e-4,
            "learning_rate_cross_modal": 1e-4,
        },
    }

    def __init__(
        self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module, *, outputs: int, layers: int
    ) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width, tokens = hyperparameters, hyperparameters.width, hyperparameters.tokens
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        self.embedding = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(inputs[name], width),
                    Collector(spec.length[name], width, h.embedding_depth, tokens=tokens, unread=h.unread_tokens),
                )
                for name in MODALITIES
            }
        )
        self.coder, self.decoder = (
            nn.ModuleDict({name: Coder(tokens, width, h.autoencoder_depth, outputs=count) for name in MODALITIES})
            for count in (outputs, 1)
        )
        self.cross_modal = nn.ModuleList(ProxyLayer(width, h.dropout) for _ in range(layers))
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(h.dropout), nn.Linear(width, spec.outputs)
        )
        self.reconstructor = nn.ModuleDict(
            {name: TokenTransformer(tokens, width, h.reconstructor_depth) for name in MODALITIES}
        )

    def read(self, batch: Batch) -> list[Tensor]:
        """Return what of each modality is embedded [B, T, d]."""
        return [self.encoder(batch.text), batch.audio.values, batch.vision.values]

    def embed(self, *inputs: list[Tensor]) -> list[tuple[Tensor, ...]]:
        """Turn the modalities of each input into tokens [B, tokens, width], all inputs in one pass."""
        together = zip(self.embedding.values(), zip(*inputs, strict=True), strict=True)
        embedded = [embedding(torch.cat(parts)).chunk(len(inputs)) for embedding, parts in together]
        return list(zip(*embedded, strict=True))

    def fuse(self, proxy: Tensor, embedded: Iterable[Tensor], weights: Tensor) -> Tensor:
        """Let the proxy [B, tokens, width] ask the modalities; returns its mean token afterwards [B, width].

        Without layers enough, the layers begin anew.
        """
        given = [layer.given(embedded) for layer in self.cross_modal]
        for number in range(self.hyperparameters.cross_modal_layers):
            turn = number % len(given)
            proxy = self.cross_modal[turn](proxy, given[turn], weights)
        return proxy.mean(1)

    def rebuild(self, codes: Tensor) -> Tensor:
        """Decode the codes of each modality [3, B, tokens, width]."""
        return code(list(self.decoder.values()), codes.unbind())

    def reconstruct(self, embedded: Sequence[Tensor]) -> Tensor:
        """Predict the tokens of the complete modalities [3, B, tokens, width]."""
        return encode_together(list(self.reconstructor.values()), list(embedded))

    def answer(self, representation: Tensor, batch: Batch) -> Tensor:
        """Return the weighted sentiment loss of fused vectors [B, width]."""
        error = self.error(self.readout(self.head(representation)), batch.label)
        return self.hyperparameters.sentiment_weight * error

    def predicted(self, representation: Tensor) -> Prediction:
        """Predict from fused vectors [B, width]."""
        return Prediction(self.readout(self.head(representation)), representation)

    def gathering(self) -> AbstractContextManager:
        """Gather the weights of all blocks at once; equal blocks of the modalities share operations."""
        coders = [[coder.transformer for coder in half.values()] for half in (self.coder, self.decoder)]
        together = [
            list(blocks)
            for transformers in (*coders, self.reconstructor.values())
            for blocks in zip(*(transformer.blocks for transformer in transformers), strict=True)
        ]
        grouped = {block for blocks in together for block in blocks}
        alone = [[each] for each in self.modules() if isinstance(each, Block) and each not in grouped]
        return gathered([*alone, *together])

    def parameter_groups(self) -> list[dict]:
        """Text encoder, cross-modal encoder and the rest."""
        own, *text = super().parameter_groups()
        asking = list(self.cross_modal.parameters())
        apart = set(map(id, asking))
        own["params"] = [p for p in own["params"] if id(p) not in apart]
        rate = self.hyperparameters.learning_rate_cross_modal
        return [own, {"name": "cross-modal encoder", "params": asking, "lr": rate}, *text]

    def learning_rate_factor(self, epoch: int) -> float:
        """Warm up over a tenth of the epochs, then follow half a cosine."""
        return warm_up_and_cosine(epoch, epochs=self.hyperparameters.epochs)

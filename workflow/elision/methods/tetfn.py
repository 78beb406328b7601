"""TETFN: text enhanced transformer fusion network.

Each modality attends to the two others. Exchange between audio and vision passes through the text: one modality
attends to the text, and the other attends to the result. Three unimodal heads learn beside the fused head. Their
labels are generated as in Self-MM.

The file follows MMSA's code, which is the only public code. Where the code differs from its own settings or from the
paper, the file follows the code:

- The convolution over vision has the kernel size of audio. The code never reads the kernel size that is configured
  for vision (``tied_kernels: false`` reads it).
- Generated labels are clamped to 3, the range of MOSI, even where labels end at 1. ``label_limit: corpus`` clamps
  them to the range of the corpus.
- The code passes lengths around and never uses them. LSTMs, convolutions, attention, maxima over time and the last
  step of the memories run over padding.
- Vision features are those of the dataset. The paper computes them with a Vision Transformer.

The following is ours. A sequence that is shorter than a kernel is padded with zeros to the length of the kernel. As
in Self-MM, a centre without a sample keeps its value, and generated labels are part of the weights file. The method
also works without aligned modalities (``alignment: none``). CH-SIMS v2 has values of its own in MMSA.
"""

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.layers.crossmodal import Convolution, CrossmodalEncoder, Job, encode
from elision.methods.layers.label_generation import Head, LabelGeneratingMethod, LabelGenerator
from elision.task import CORPORA, MODALITIES, DataSpec


class SequenceSubnet(nn.Module):
    """One-layer LSTM over all frames, padding included, and a convolution."""

    def __init__(self, inputs: int, hidden: int, width: int, kernel_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.convolution = Convolution(hidden, width, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Turn frames [B, T, inputs] into a sequence [B, T', width]."""
        return self.convolution(self.lstm(x)[0])


class TextEnhancedEncoder(nn.Module):
    """A modality that attends to what another has found in the text; both with sinusoidal positions.

    Parameters
    ----------
    width, layers : int
        ``layers`` are those of the modality; the other has one.
    **settings
        Of both `CrossmodalEncoder`.
    """

    def __init__(self, width: int, *, layers: int, **settings: float) -> None:
        super().__init__()
        self.lower = CrossmodalEncoder(width, layers=1, positions=True, **settings)
        self.upper = CrossmodalEncoder(width, layers=layers, positions=True, **settings)


class TETFN(LabelGeneratingMethod):
    """Wang, Guo, Tian, Liu, He and Luo, Pattern Recognition 2023."""

    name = "tetfn"
    task = ("regression",)
    paper = (
        "Wang, Guo, Tian, Liu, He, Luo: TETFN: A text enhanced transformer fusion network for multimodal sentiment "
        "analysis. Pattern Recognition 136, 2023"
    )
    requires = ("text",)
    sees_padding = "LSTMs, attention, maxima and last steps run over padding"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 1_254_224, "mosei": 1_257_360, "sims": 1_529_968}
    small: ClassVar[dict] = {"accumulate": 1, "heads": 2, "head_width": 6, "depth": 1}

    class Hyperparameters(LabelGeneratingMethod.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        accumulate: int = Field(4, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        alignment: Literal["none", "words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's "
            "word, as in MMSA's aligned files. pooled: means over equal parts of the padded length, "
            "as MMSA does on CH-SIMS. none: audio and vision keep their own frames",
            json_schema_extra={"released": "words; pooled on CH-SIMS"},
        )
        learning_rate_text_encoder: float = Field(3e-5, gt=0, description="learning rate of the text encoder")
        learning_rate_audio: float = Field(5e-4, gt=0, description="learning rate of the audio subnet")
        learning_rate_vision: float = Field(3e-4, gt=0, description="learning rate of the vision subnet")
        learning_rate: float = Field(3e-4, gt=0, description="learning rate of all other weights")
        weight_decay_text_encoder: float = Field(
            1e-3, ge=0, description="L2 penalty on the text encoder, except on biases and layer norms"
        )
        weight_decay_audio: float = Field(1e-2, ge=0, description="L2 penalty on the audio subnet")
        weight_decay_vision: float = Field(0.0, ge=0, description="L2 penalty on the vision subnet")
        weight_decay: float = Field(1e-2, ge=0, description="L2 penalty on all other weights")
        audio_hidden: int = Field(16, ge=1, description="width of the hidden state of the audio LSTM")
        vision_hidden: int = Field(64, ge=1, description="width of the hidden state of the vision LSTM")
        text_kernel: int = Field(1, ge=1, description="kernel size of the convolution over text")
        audio_kernel: int = Field(
            1, ge=1, description="kernel size of the convolution over audio, and over vision if tied_kernels is true"
        )
        vision_kernel: int = Field(
            3, ge=1, description="kernel size of the convolution over vision, if tied_kernels is false"
        )
        tied_kernels: bool = Field(
            True,
            description="true gives the convolution over vision the kernel size of audio, as in the released code",
            json_schema_extra={"released": True},
        )
        heads: int = Field(5, ge=1, description="attention heads")
        head_width: int = Field(
            10,
            ge=1,
            description="width of one attention head. A modality has heads * head_width channels, a memory "
            "twice as many",
        )
        depth: int = Field(2, ge=1, description="layers of each crossmodal encoder and of each memory encoder")
        attention_dropout: float = Field(
            0.1, ge=0, lt=1, description="dropout on attention to text and in the memories"
        )
        attention_dropout_audio: float = Field(0.0, ge=0, lt=1, description="dropout on attention of text to audio")
        attention_dropout_vision: float = Field(0.1, ge=0, lt=1, description="dropout on attention of text to vision")
        relu_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the feed-forward layers")
        embedding_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of every encoder")
        residual_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before every residual connection")
        fusion_width: int = Field(64, ge=1, description="width of the feature of the fusion head")
        text_width: int = Field(32, ge=1, description="width of the feature of the text head")
        audio_width: int = Field(32, ge=1, description="width of the feature of the audio head")
        vision_width: int = Field(16, ge=1, description="width of the feature of the vision head")
        fusion_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the fusion head")
        text_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the text head")
        audio_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the audio head")
        vision_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the vision head")
        label_limit: Literal["mosi", "corpus"] = Field(
            "mosi",
            description="largest generated label. mosi: 3, on every corpus. corpus: the largest label of the corpus",
            json_schema_extra={"released": "mosi"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 32,
            "learning_rate_audio": 1e-3,
            "learning_rate_vision": 5e-3,
            "learning_rate": 1e-4,
            "weight_decay_audio": 0.0,
            "weight_decay_vision": 1e-3,
            "audio_hidden": 32,
            "vision_hidden": 32,
            "vision_kernel": 1,
            "relu_dropout": 0.1,
            "embedding_dropout": 0.1,
            "residual_dropout": 0.0,
            "text_width": 64,
            "text_dropout": 0.1,
            "vision_dropout": 0.1,
        },
        "sims": {
            "alignment": "pooled",
            "learning_rate_audio": 3e-3,
            "learning_rate_vision": 5e-4,
            "learning_rate": 3e-3,
            "weight_decay_audio": 0.0,
            "weight_decay_vision": 1e-2,
            "weight_decay": 1e-3,
            "text_kernel": 3,
            "audio_kernel": 5,
            "vision_kernel": 1,
            "attention_dropout": 0.0,
            "attention_dropout_audio": 0.1,
            "attention_dropout_vision": 0.0,
            "relu_dropout": 0.1,
            "residual_dropout": 0.0,
            "text_width": 64,
            "audio_width": 16,
            "vision_width": 32,
            "fusion_dropout": 0.1,
        },
        "simsv2": {
            "alignment": "pooled",
            "learning_rate_text_encoder": 5e-6,
            "learning_rate_vision": 5e-3,
            "weight_decay_audio": 1e-3,
            "weight_decay_vision": 1e-3,
            "weight_decay": 1e-3,
            "vision_hidden": 32,
            "text_kernel": 5,
            "audio_kernel": 3,
            "vision_kernel": 1,
            "fusion_width": 128,
            "text_width": 64,
            "audio_width": 16,
            "vision_width": 32,
            "fusion_dropout": 0.1,
            "text_dropout": 0.1,
        },
        "demo": {"epochs": 10, "batch_size": 16, "accumulate": 1},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.heads * hyperparameters.head_width
        vision_kernel = h.audio_kernel if h.tied_kernels else h.vision_kernel
        self.text_projection = Convolution(encoder.width, width, h.text_kernel)
        self.audio_subnet = SequenceSubnet(spec.audio, h.audio_hidden, width, h.audio_kernel)
        self.vision_subnet = SequenceSubnet(spec.vision, h.vision_hidden, width, vision_kernel)

        settings = {
            "heads": h.heads,
            "layers": h.depth,
            "attention_dropout": h.attention_dropout,
            "relu_dropout": h.relu_dropout,
            "residual_dropout": h.residual_dropout,
            "embedding_dropout": h.embedding_dropout,
        }
        encode = partial(CrossmodalEncoder, width)
        self.text_from_audio = encode(**settings | {"attention_dropout": h.attention_dropout_audio})
        self.text_from_vision = encode(**settings | {"attention_dropout": h.attention_dropout_vision})
        self.audio_from_text = encode(**settings)
        self.audio_from_vision = TextEnhancedEncoder(width, **settings)
        self.vision_from_text = encode(**settings)
        self.vision_from_audio = TextEnhancedEncoder(width, **settings)
        self.memories = nn.ModuleDict({name: CrossmodalEncoder(2 * width, **settings) for name in MODALITIES})

        self.heads = nn.ModuleDict(
            {
                "fusion": Head(6 * width, h.fusion_width, h.fusion_dropout),
                "text": Head(width, h.text_width, h.text_dropout),
                "audio": Head(width, h.audio_width, h.audio_dropout),
                "vision": Head(width, h.vision_width, h.vision_dropout),
            }
        )
        limit = CORPORA["mosi" if h.label_limit == "mosi" else spec.corpus].label_range
        self.label_generator = LabelGenerator(self.heads, samples=spec.samples, limit=limit)

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """Return what each head reads: the memories' last steps side by side, and each modality's maximum over time."""
        text = self.text_projection(self.encoder(batch.text))
        audio, vision = self.audio_subnet(batch.audio.values), self.vision_subnet(batch.vision.values)
        enhanced_vision, enhanced_audio = encode(
            [Job(self.audio_from_vision.lower, vision, text), Job(self.vision_from_audio.lower, audio, text)]
        )
        found = encode(
            [
                Job(self.text_from_audio, text, audio),
                Job(self.text_from_vision, text, vision),
                Job(self.audio_from_text, audio, text),
                Job(self.audio_from_vision.upper, audio, enhanced_vision),
                Job(self.vision_from_text, vision, text),
                Job(self.vision_from_audio.upper, vision, enhanced_audio),
            ]
        )
        pairs = zip(MODALITIES, found[::2], found[1::2], strict=True)
        last = encode([Job(self.memories[name], torch.cat(pair, 2)) for name, *pair in pairs], last=True)
        # Not amax, which would share the gradient among equal maxima.
        vectors = {name: x.max(1).values for name, x in (("text", text), ("audio", audio), ("vision", vision))}
        return {"fusion": torch.cat(last, 2).squeeze(1), **vectors}

    def parameter_groups(self) -> list[dict]:
        """Text encoder with and without weight decay, audio subnet, vision subnet, and the rest."""
        h = self.hyperparameters
        text = self.text_encoder_groups(
            learning_rate=h.learning_rate_text_encoder, weight_decay=h.weight_decay_text_encoder
        )
        audio, vision = list(self.audio_subnet.parameters()), list(self.vision_subnet.parameters())
        others = {*audio, *vision, *self.encoder.parameters()}
        rest = [p for p in self.parameters() if p not in others]
        return [
            *text,
            {"name": "audio", "params": audio, "lr": h.learning_rate_audio, "weight_decay": h.weight_decay_audio},
            {"name": "vision", "params": vision, "lr": h.learning_rate_vision, "weight_decay": h.weight_decay_vision},
            {"name": "rest", "params": rest, "lr": h.learning_rate, "weight_decay": h.weight_decay},
        ]

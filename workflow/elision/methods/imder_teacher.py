"""The teacher of IMDer: the same network without recovery, trained on complete data.

IMDer starts from the text encoder, the projections and the fusion of this network. The released code loads such a
checkpoint, and no script makes the checkpoint. How the teacher learns is therefore ours: the text encoder is trained,
the loss is the absolute error of the score, and all other values are those of IMDer. The network is that of
``dicmor_teacher`` with other values.
"""

from typing import ClassVar

from pydantic import Field

from elision.methods.layers.recovery import AlignedMulT


class IMDerTeacher(AlignedMulT):
    """Wang, Li and Cui, NeurIPS 2023."""

    name = "imder_teacher"
    corruption = "complete"
    requires = ("text",)
    paper = "Wang, Li, Cui: Incomplete Multimodality-Diffused Emotion Recognition. NeurIPS 2023"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 1_055_905, "mosei": 1_516_321}
    compared = "equal to the part of the released class that needs no missing modality"
    small: ClassVar[dict] = {"width": 8, "heads": 2, "layers": 1}

    class Hyperparameters(AlignedMulT.Hyperparameters):
        """Those of the released code of IMDer for MOSI."""

        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        accumulate: int = Field(1, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            20, ge=1, description="epochs without a better validation score after which training stops"
        )
        plateau_patience: int = Field(
            24,
            ge=0,
            description="epochs without a better validation error after which the learning rates halve. On MOSI, the "
            "training stops before",
        )
        gradient_clip: float = Field(1.0, gt=0, description="largest absolute value of one entry of the gradient")
        text_kernel: int = Field(3, ge=1, description="kernel size of the convolution over text")
        audio_kernel: int = Field(3, ge=1, description="kernel size of the convolution over audio")
        vision_kernel: int = Field(
            3, ge=1, validate_default=True, description="kernel size of the convolution over vision"
        )
        attention_dropout: float = Field(
            0.0, ge=0, lt=1, description="dropout on attention to text and on self-attention"
        )
        text_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the text features")
        output_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the last residual block")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 128,
            "plateau_patience": 5,
            "gradient_clip": 0.6,
            "layers": 6,
            "attention_dropout_audio": 0.0,
            "embedding_dropout": 0.0,
        },
        "sims": {"alignment": "pooled"},
        "demo": {"epochs": 10, "batch_size": 16, "width": 16, "heads": 4, "layers": 2},
    }

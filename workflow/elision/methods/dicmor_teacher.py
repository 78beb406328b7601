"""The teacher of DiCMoR: the same network without recovery, trained on complete data.

DiCMoR starts from the text encoder, the projections and the fusion of this network. The released code loads such a
checkpoint, and no script makes the checkpoint. How the teacher learns is therefore ours: the text encoder is trained,
the loss is the absolute error of the score, and all other values are those of DiCMoR. The network is MulT for aligned
sequences with sinusoidal positions (see ``mult``, which lists what else differs from the papers).

Every modality has a convolution, also one whose features have the width of the projections already. MulT leaves this
convolution out, and the sequences then have different lengths.
"""

from typing import ClassVar

from pydantic import Field

from elision.methods.layers.recovery import AlignedMulT


class DiCMoRTeacher(AlignedMulT):
    """Wang, Cui and Li, ICCV 2023."""

    name = "dicmor_teacher"
    corruption = "complete"
    requires = ("text",)
    paper = "Wang, Cui, Li: Distribution-Consistent Modal Recovering for Incomplete Multimodal Learning. ICCV 2023"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 1_106_657, "mosei": 5_946_561}
    compared = "equal to the part of the released class that needs no missing modality"
    small: ClassVar[dict] = {"accumulate": 1, "width": 8, "heads": 2, "layers": 1}

    class Hyperparameters(AlignedMulT.Hyperparameters):
        """Those of the released code of DiCMoR for MOSI."""

        batch_size: int = Field(4, ge=1, description="utterances per forward pass")
        patience: int | None = Field(
            10, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(
            1e-4, gt=0, description="learning rate of all weights except those of the text encoder"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 16,
            "width": 64,
            "layers": 6,
            "attention_dropout": 0.2,
            "attention_dropout_audio": 0.0,
            "embedding_dropout": 0.0,
            "text_dropout": 0.2,
            "output_dropout": 0.2,
        },
        "sims": {"alignment": "pooled"},
        "demo": {
            "epochs": 10,
            "batch_size": 16,
            "accumulate": 1,
            "learning_rate": 1e-3,
            "width": 16,
            "heads": 4,
            "layers": 2,
        },
    }

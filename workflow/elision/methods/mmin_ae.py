"""MMIN with a plain autoencoder in place of each cascade (``mmin_AE`` in the official code).

The baseline shows what the cascade of residual autoencoders is good for. Everything else is MMIN, with the same
differences from the official code. The autoencoder ends in a ReLU, as in the official code. The vectors of audio and
vision are maxima of hidden states of LSTMs, and may be negative. The autoencoder cannot imagine negative values. The
released weights start so near to 0 that the first outputs do not depend on the input (``initialisation``; `ae` has
numbers).
"""

from typing import ClassVar, Literal

from pydantic import Field

from elision.methods.layers.imagination import PlainAutoencoder
from elision.methods.layers.mmin_family import INITIALISATION, WIDTH
from elision.methods.mmin import MMIN, CycleHyperparameters


class MMINAE(MMIN):
    """Zhao, Li and Jin, ACL 2021."""

    name = "mmin_ae"
    corruption = "absent"
    needs = ("mmin_teacher",)
    needs_complete = True
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 4_846_348}
    small: ClassVar[dict] = {"initialisation": "kaiming", "dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(CycleHyperparameters):
        """Those of the released configuration for IEMOCAP."""

        constant_epochs: int = Field(20, ge=1, description="epochs at the full learning rate")
        decay_epochs: int = Field(30, ge=0, description="epochs during which the learning rate falls linearly")
        batch_size: int = Field(256, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam before the rate falls")
        initialisation: Literal["kaiming", "lecun", "normal"] = Field(
            "lecun", description=INITIALISATION, json_schema_extra={"released": "normal"}
        )
        layers: tuple[int, ...] = Field(
            (512, 450, 384, 256), min_length=1, description="widths of the encoder of an autoencoder"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"constant_epochs": 5, "decay_epochs": 5, "batch_size": 16},
    }

    def autoencoders(self) -> tuple[PlainAutoencoder, PlainAutoencoder]:
        """Make the autoencoder that imagines, and the one that goes back."""
        return tuple(PlainAutoencoder(3 * WIDTH, self.hyperparameters.layers) for _ in range(2))

"""CRA: a cascaded residual autoencoder that completes the input and classifies what it has made.

Each block of the cascade reads the fused vector as the blocks before have corrected it, and adds a correction. All the
rest is that of the baseline `ae`: the modalities' vectors before it; the prediction from its output alone, and decoders
for the modalities that were missing, behind it.

This is the baseline that the official code of GCNet (Lian et al., TPAMI 2023, arXiv 2203.02177) calls CRA. The original
formulation (Tran et al., CVPR 2017) is left out: it works on the features themselves, every block is told what it has
still to correct and is trained before the next, and another model classifies what comes out. Where the baseline differs
from its official code, see `ae`. Weight and number of blocks are of the script, not of the read-me (0.8 and 2).
"""

from typing import ClassVar

from pydantic import Field
from torch import nn

from elision.methods.ae import AE
from elision.methods.layers.imagination import ResidualAutoencoder


class CRA(AE):
    """Tran et al., CVPR 2017, as a baseline of Lian et al., TPAMI 2023."""

    name = "cra"
    corruption = "absent"
    paper = (
        "Tran, Liu, Zhou, Jin: Missing Modalities Imputation via Cascaded Residual Autoencoder. CVPR 2017; in the form "
        "of the baseline of Lian et al.: GCNet. TPAMI 2023, arXiv 2203.02177"
    )
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 2_359_132}
    compared = "equal; at GCNet's sizes 2,632,580, and with `blocks: 2` 1,843,076, equal, too"
    small: ClassVar[dict] = {"dropout": 0.0, "beta1": 0.9}

    class Hyperparameters(AE.Hyperparameters):
        """Those of the official script; on each dataset, it tries 2 to 6 blocks and weights of 0.01 to 0.03."""

        blocks: int = Field(5, ge=1, description="residual autoencoders of the cascade")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {**AE.corpus_defaults["demo"], "learning_rate": 2e-4, "dropout": 0.1}
    }

    def make_autoencoder(self, width: int) -> nn.Module:
        """Return the cascade."""
        return ResidualAutoencoder(width, self.hyperparameters.layers, self.hyperparameters.blocks)

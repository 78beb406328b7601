"""CRA: a cascaded residual autoencoder that completes the input and classifies what it has made.

Each block of the cascade reads the fused vector as the earlier blocks have corrected it, and adds a correction.
Everything else is as in the baseline `ae`: the vectors of the modalities, the prediction from the output alone, and
the decoders of missing modalities.

The official code of GCNet (Lian et al., TPAMI 2023, arXiv 2203.02177) calls this baseline CRA. The original
formulation (Tran et al., CVPR 2017) is left out. In the original, a cascade works on the features themselves. Every
block knows what is left to correct, and is trained before the next block. Another model classifies the result.

`ae` lists the departures from the official code. Weight and number of blocks are those of the script, and not those
of the read-me (0.8 and 2).
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
    needs_complete = True
    paper = (
        "Tran, Liu, Zhou, Jin: Missing Modalities Imputation via Cascaded Residual Autoencoder. CVPR 2017; in the form "
        "of the baseline of Lian et al.: GCNet. TPAMI 2023, arXiv 2203.02177"
    )
    reads_text = "vectors"
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

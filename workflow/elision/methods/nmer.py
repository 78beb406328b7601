"""NMER: noise-robust multimodal emotion recognition.

MMIN fills a missing modality with zeros; here a noisy copy of the modality is in its place (``corruption: noise``). A
conditional variational autoencoder reads what is specific to the modalities. What is invariant between the modalities
is the condition. The autoencoder generates the specific vectors of the clean data, which are classified. A frozen
teacher has seen complete data and gives the targets.

The released code does not run, because its decoder is missing. The file has the decoder of an earlier revision, and
otherwise follows the released code. Quirks of the code:

- The transformer of the autoencoder gets a matrix [B, 768], which PyTorch reads as one sequence of B positions.
  Utterances of a batch attend to each other, and a prediction depends on the rest of the batch. Here each utterance
  is a sequence of length 1 (``batch_attention`` brings the batch back).
- The code draws the latent vector in evaluation, too. Here evaluation takes the mean (``sample_at_eval`` draws).
- The code sums the Kullback-Leibler divergence over batch and dimensions, while squared errors are means. With 32
  utterances, the divergence starts above 400 and the cross-entropy near 1, and one norm clips both. The latent vectors
  then say nothing of the utterance, and small datasets end in a constant. Here the divergence has the scale of the
  squared error of the generated vectors, as in the lower bound of the likelihood (``kl_reduction``).
- The decoder ends in a sigmoid. The vectors that it generates lie in (-1, 1) for audio and vision, and have no upper
  limit for text. The sigmoid is kept.
- The authors plot numbers of an earlier revision as those of NMER. That revision adds the encoded specific vectors to
  what is decoded. The released code does not, and neither does this file (``residual`` does).
- The released scripts train and test at an intensity of 100. Here training is at 100 (``intensity``), and tests are
  at all intensities. The authors' plots have one training per intensity.
- The configured weight decay never reaches the optimizer.

What differs here:

- A linear layer from 448 to 384, which nothing reads, is left out.
- Padding takes no part in the maxima over time, and has no noise. ``mask_padding: false`` lets padding take part, as
  zeros; the teacher has a switch of its own.
- The noise of an epoch is drawn per utterance. The noise of validation and test is drawn once. The official code
  draws anew at every reading of a batch, one step for all its utterances (``corruption.noise.t_per_batch``).
- The official loader drops the last incomplete batch, even in tests.
- The official code keeps the epoch with the best UA on validation. Here ``train.selection`` chooses, as for every
  method.
- Scores are ours: the squared error in place of the cross-entropy.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.precision import float32
from elision.methods.layers.utterance import Classifier
from elision.methods.nmer_teacher import FUSED, NoiseHyperparameters, TwoSpaces
from elision.task import DataSpec

_LATENT, _HIDDEN = 64, 128


class ConditionalAutoencoder(nn.Module):
    """Conditional variational autoencoder: a transformer encodes, two linear layers decode.

    Parameters
    ----------
    width : int
        Of the input, of the condition and of the output.
    latent, hidden : int
        Width of the latent vector; of the decoder and of the transformer's feed-forward layers.
    layers, heads : int
        Of the transformer.
    dropout : float
        In the transformer.
    batch_attention : bool
        Whether the samples of a batch are one sequence; else each is one of its own.
    """

    def __init__(
        self, width: int, latent: int, hidden: int, *, layers: int, heads: int, dropout: float, batch_attention: bool
    ) -> None:
        super().__init__()
        self.batch_attention = batch_attention
        layer = nn.TransformerEncoderLayer(2 * width, heads, hidden, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.mean, self.log_variance = nn.Linear(2 * width, latent), nn.Linear(2 * width, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent + width, hidden), nn.LeakyReLU(), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def encode(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance [B, latent] of the latent vectors of ``x`` [B, width]."""
        joint = torch.cat([x, condition], 1)
        hidden = self.transformer(joint[None] if self.batch_attention else joint[:, None]).reshape_as(joint)
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Generate [B, width] from latent vectors [B, latent]."""
        return self.decoder(torch.cat([latent, condition], 1))


class NMER(TwoSpaces):
    """Fan, Zuo, Liu, Lian and Gao, MRAC at ACM MM 2024."""

    name = "nmer"
    error_of_scores = "squared"
    corruption = "noise"
    paper = (
        "Fan, Zuo, Liu, Lian, Gao: Learning Noise-Robust Joint Representation for Multimodal Emotion Recognition under "
        "Incomplete Data Scenarios. MRAC at ACM MM 2024, arXiv 2311.16114"
    )
    needs = ("nmer_teacher",)
    needs_complete = True
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 17_114_628}
    compared = "equal without a layer that nothing reads (172,416)"
    # With dropout on text, the running statistics of batch normalisation are not those of an evaluation.
    small: ClassVar[dict] = {"transformer_layers": 1, "transformer_dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(NoiseHyperparameters):
        """Those of the official code for IEMOCAP."""

        transformer_layers: int = Field(5, ge=1, description="layers of the transformer of the autoencoder")
        transformer_dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the transformer of the autoencoder")
        invariant_weight: float = Field(
            1.0, ge=0, description="weight of the distance from the invariant vectors of the teacher"
        )
        autoencoder_weight: float = Field(1.0, ge=0, description="weight of reconstruction and divergence")
        batch_attention: bool = Field(
            False,
            description="true lets the utterances of a batch attend to each other; predictions then depend on "
            "the batch",
            json_schema_extra={"released": True},
        )
        sample_at_eval: bool = Field(
            False,
            description="true draws the latent vector in evaluation, too; the draw is always the same for an utterance",
            json_schema_extra={"released": True},
        )
        kl_reduction: Literal["sum", "batchmean", "mean"] = Field(
            "mean",
            description="reduction of the divergence. sum: sum over the batch. batchmean: mean over utterances. mean: "
            "mean over utterances and over the entries of a generated vector, as the squared error is",
            json_schema_extra={"released": "sum"},
        )
        residual: bool = Field(
            False,
            description="true adds the encoded specific vectors to what is decoded, as the revision whose "
            "numbers the authors plot",
            json_schema_extra={"released": False},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"constant_epochs": 6, "decay_epochs": 4, "batch_size": 16, "learning_rate": 1e-3}
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.autoencoder = ConditionalAutoencoder(
            FUSED,
            _LATENT,
            _HIDDEN,
            layers=h.transformer_layers,
            heads=8,
            dropout=h.transformer_dropout,
            batch_attention=h.batch_attention,
        )
        self.classifier = Classifier(FUSED, outputs=spec.outputs, dropout=h.dropout, batch_norm=True)
        self.initialise()

    @property
    def one_by_one(self) -> bool:
        """With attention over the batch, a prediction follows from all its utterances."""
        return not self.hyperparameters.batch_attention

    def draw(self, mean: Tensor, log_variance: Tensor, row: Tensor) -> Tensor:
        """Draw latent vectors [B, latent] in training, and where ``sample_at_eval`` says so; else return the mean.

        At evaluation the draw follows from ``row`` [B] alone, and so not from the rest of the batch.
        """
        if self.training:
            noise = torch.randn(mean.shape)  # on the CPU: the same on every device
        elif self.hyperparameters.sample_at_eval:
            width = mean.shape[1]
            noise = torch.stack([torch.randn(width, generator=torch.Generator().manual_seed(n)) for n in row.tolist()])
        else:
            return mean
        return mean + noise.to(mean.device, non_blocking=True) * (log_variance / 2).exp()

    def generate(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Generate the clean specific vectors.

        Returns
        -------
        generated, invariant : Tensor [B, 384]
            Of audio, text and vision, side by side.
        mean, log_variance : Tensor [B, 64]
            Of the latent vectors.
        """
        specific, invariant = self.encode(batch)
        mean, log_variance = self.autoencoder.encode(specific, invariant)
        generated = self.autoencoder.decode(self.draw(mean, log_variance, batch.row), invariant)
        if self.hyperparameters.residual:
            generated = generated + specific
        return generated, invariant, mean, log_variance

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the generated vectors."""
        generated, *_ = self.generate(batch)
        return Prediction(self.readout(self.classifier(generated)), generated)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error, the distances to the teacher's vectors of the clean batch, and the divergence."""
        h = self.hyperparameters
        generated, invariant, mean, log_variance = self.generate(batch)
        with torch.no_grad():
            specific_target, invariant_target = self.teacher.encode(batch.clean)
        divergence = kl_divergence(mean, log_variance)
        divergence = divergence.sum() if h.kl_reduction == "sum" else divergence.mean()
        if h.kl_reduction == "mean":
            divergence = divergence / generated.shape[1]
        output = self.readout(self.classifier(generated))
        return {
            "emotion": self.error(output, batch.label),
            "invariant": h.invariant_weight * F.mse_loss(invariant, invariant_target),
            "reconstruction": h.autoencoder_weight * F.mse_loss(generated, specific_target),
            "divergence": h.autoencoder_weight * divergence,
        }


@float32
def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of Gaussians from the standard one, summed over dimensions.

    Parameters
    ----------
    mean, log_variance : Tensor [B, D]

    Returns
    -------
    Tensor [B]
        In nats.
    """
    return -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)

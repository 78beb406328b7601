"""P-RMF: a proxy of all modalities, weighted by their certainty, that asks the modalities.

A variational autoencoder turns each modality, as far as it is observed, into a normal distribution of every number of
every token, and rebuilds the complete modality from it. The proxy is the mean of the three means, where a modality with
a small standard deviation counts more. The proxy then asks text, audio and vision in four layers of attention, and the
answers have the same weights. In training, a reconstructor also predicts the embeddings of the complete input.

The authors' repository could not be read. The file follows a copy of its code in the repository of PRD-Net. These are
the differences:

- The weights of the modalities are a softmax of 1 / sigma. The code divides exp(1 / sigma) by their sum, which is NaN
  where sigma is below 0.0113 (``weighting: exponentials``). Elsewhere the two are equal.
- Logarithms of variances are kept between -10 and 10 (``log_variance_limit``), so that losses stay finite. The copy
  does so, and with the means, too. The original has no limit.
- The code reverses all gradients at the proxy, although nothing works against the proxy. The losses then push the means
  away from what is useful (``grl``). Here gradients are not reversed.
- The code never trains the reconstructors, because they are in no group of the optimizer. Their loss trains the
  embeddings alone. Here the reconstructors are trained (``train_reconstructors``).
- The four layers have the same weights in the code (``share_layers``). The paper draws a stack of layers.
- The code draws from the distributions in evaluation, too, where only a loss that nobody uses sees it. Here nothing is
  drawn there.
- The means of all divergences are over samples, tokens and channels, as in the code. No sum over channels is taken.
- The embeddings of the complete input, which are targets, receive gradients, as in the code.
- The copy limits the norm of gradients to 1. The authors' own loop does not, and neither does the default here
  (``gradient_clip``).
- Copies of the code differ in learning rates, weight decay and batch size of MOSI and CH-SIMS. The defaults are those
  of the copy that has the same values for all corpora.

Classification is ours: the same network with cross-entropy in place of the squared error.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.precision import float32
from elision.methods.layers.proxy import ProxyMethod, code
from elision.methods.layers.stack import stack
from elision.task import DataSpec


class PRMF(ProxyMethod):
    """Zhu, Hu, Wang, Yang, Tang and An, ACL 2025."""

    name = "p_rmf"
    needs_complete = True
    paper = (
        "Zhu, Hu, Wang, Yang, Tang, An: Proxy-Driven Robust Multimodal Sentiment Analysis with Incomplete "
        "Data. ACL 2025"
    )
    official_counts: ClassVar[dict[str, int]] = {"mosi": 7_828_097, "mosei": 7_854_849, "sims": 7_888_513}

    class Hyperparameters(ProxyMethod.Hyperparameters):
        """Those of the released configuration for MOSI."""

        share_layers: bool = Field(
            True,
            description="true uses one layer as often as the cross-modal encoder has layers. false gives every layer "
            "weights of its own",
            json_schema_extra={"released": True},
        )
        weighting: Literal["softmax", "exponentials"] = Field(
            "softmax",
            description="weights of the modalities from 1 / sigma. softmax: without overflow. exponentials: the "
            "formula as it is written, which is NaN for small sigma",
            json_schema_extra={"released": "exponentials"},
        )
        log_variance_limit: float | None = Field(
            10.0,
            gt=0,
            description="largest absolute logarithm of a variance (null: no limit)",
            json_schema_extra={"released": "no limit, or 10"},
        )
        grl: bool = Field(
            False,
            description="true reverses the gradients of all losses that reach the autoencoders through the proxy",
            json_schema_extra={"released": True},
        )
        train_reconstructors: bool = Field(
            True,
            description="false leaves the reconstructors as they are drawn at first",
            json_schema_extra={"released": False},
        )
        variational_weight: float = Field(
            0.5, ge=0, description="weight kappa of autoencoders and divergences; 0 drops these losses"
        )

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        h = hyperparameters
        super().__init__(h, spec, encoder, outputs=2, layers=1 if h.share_layers else h.cross_modal_layers)
        self.reconstructor.requires_grad_(h.train_reconstructors)

    def encode(self, embedded: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances of each modality, [3, B, tokens, width] both."""
        mean, log_variance = code(list(self.coder.values()), embedded).chunk(2, -1)
        limit = self.hyperparameters.log_variance_limit
        return mean, log_variance if limit is None else log_variance.clamp(-limit, limit)

    def propose(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the proxy [B, tokens, width], and the weights of the modalities [3, B, tokens, width]."""
        weights = certainty(log_variance, stable=self.hyperparameters.weighting == "softmax")
        proxy = (weights * mean).sum(0)
        # The same to the bit, with a gradient of the opposite sign.
        return 2 * proxy.detach() - proxy if self.hyperparameters.grl else proxy, weights

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the corrupted input alone."""
        (embedded,) = self.embed(self.read(batch))
        proxy, weights = self.propose(*self.encode(embedded))
        return self.predicted(self.fuse(proxy, embedded, weights))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sentiment loss, and those of reconstructors and autoencoders, as far as they have a weight."""
        with self.gathering():
            return self.terms(batch)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        h, inputs = self.hyperparameters, [self.read(batch)]
        if h.reconstruction_weight > 0 or h.variational_weight > 0:
            inputs.append(self.read(batch if batch.clean is None else batch.clean))
        embedded, *complete = self.embed(*inputs)
        mean, log_variance = self.encode(embedded)
        terms = {}
        if h.reconstruction_weight > 0:
            # All modalities have as many values: the mean over all is that of the three errors.
            error = F.mse_loss(self.reconstruct(embedded), stack(list(complete[0])))
            terms["reconstruction"] = h.reconstruction_weight * error
        if h.variational_weight > 0:
            noise = torch.randn_like(mean) if self.training else 0
            rebuilt = self.rebuild(mean + (0.5 * log_variance).exp() * noise)
            # The mean over three modalities, and over three pairs of them.
            terms["autoencoder"] = h.variational_weight * F.mse_loss(rebuilt, stack(list(complete[0])))
            terms["divergence"] = h.variational_weight * (
                divergence(mean, log_variance) + divergence_of_pairs(mean, log_variance)
            )
        proxy, weights = self.propose(mean, log_variance)
        return {"sentiment": self.answer(self.fuse(proxy, embedded, weights), batch), **terms}


@float32
def certainty(log_variance: Tensor, *, stable: bool) -> Tensor:
    """Return weights that grow with 1 / sigma and add up to 1 over the modalities.

    Parameters
    ----------
    log_variance : Tensor [3, ...]
        Logarithms of sigma^2.
    stable : bool
        False overflows where sigma is below 1 / 88.7.
    """
    inverse = (-0.5 * log_variance).exp()
    return inverse.softmax(0) if stable else inverse.exp() / inverse.exp().sum(0)


@float32
def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the mean KL(N(mean, sigma) || N(0, 1)) of tensors of any shape."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).mean()


@float32
def divergence_of_pairs(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the mean of KL(vision || text), KL(audio || text) and KL(audio || vision); ``mean`` is [3, ...]."""
    (mean_p, mean_q), (log_p, log_q) = (
        (torch.stack([vision, audio, audio]), torch.stack([text, text, vision]))
        for text, audio, vision in (mean.unbind(), log_variance.unbind())
    )
    distance = (mean_p - mean_q).square() * (-log_q).exp()
    return 0.5 * ((log_p - log_q).exp() + distance - 1 - log_p + log_q).mean()

"""Teacher of RAMER: an emotion encoder of each modality, trained on complete data.

A transformer reads two tokens: a learned summary and the feature vector of the utterance. The projected summary is
the hidden vector of the modality, from which a classifier of its own predicts. Modalities do not interact. The hidden
vectors of a corpus make the database that ``ramer`` searches.

The released code cannot run. The file is what the code intends, with these differences:

- The summary token and the positions are registered and trained. The code moves them to the device when they are
  made, so that no optimizer holds them (``train_cls_tokens: false``).
- One transformer layer replaces two. The method, which starts from these weights, has one layer, and so has the
  paper.
- All three classifiers read a hidden vector. One classifier of the code reads three vectors side by side and has no
  class.
- Learning rate, batch size and number of epochs are not published. They are those of MMIN.
- The feature of a sequence is the mean of its observed frames. The paper has one vector per utterance and modality. A
  modality without a frame is the vector 0.
- Attention has eight heads, or the largest divisor of the width below eight.

The prediction chooses the checkpoint. The prediction is the mean of the outputs of the available modalities, or of
all modalities where none is available. Scores have the squared error in place of the cross-entropy.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.methods.layers.utterance import Classifier
from elision.task import MODALITIES, DataSpec

_MAX_HEADS = 8
_CLASSIFIER = (256, 128)


class RamerHyperparameters(TrainingHyperparameters):
    """What the encoders and RAMER have."""

    epochs: int = Field(
        40,
        ge=0,
        description="passes over the training split. The paper gives no number; the default is that of the "
        "methods after MMIN",
    )
    constant_epochs: int = Field(20, ge=0, description="epochs at the full learning rate")
    batch_size: int = Field(128, ge=1, description="utterances per forward pass")
    learning_rate: float = Field(2e-4, gt=0, description="learning rate of Adam before the rate falls")
    beta1: float = Field(0.5, ge=0, lt=1, description="first beta of Adam; the second is 0.999")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient of each sub-network")
    hidden: int = Field(
        256, ge=1, description="width of the hidden vectors; ramer_encoders and ramer need the same width"
    )
    layers: int = Field(
        1,
        ge=1,
        description="layers of each transformer. ramer_encoders and ramer need the same number. The "
        "released code has 2 in the first and 1 in the second",
        json_schema_extra={"released": "2 and 1"},
    )
    feed_forward: int = Field(
        2048,
        ge=1,
        description="width of the feed-forward layers. ramer_encoders and ramer need the same width. The "
        "released code has 2048 in the first and 256 in the second",
        json_schema_extra={"released": "2048 and 256"},
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the transformers")
    classifier_dropout: float = Field(0.5, ge=0, lt=1, description="dropout in the classifiers")
    train_cls_tokens: bool = Field(
        True, description="false leaves summary tokens and positions at zero", json_schema_extra={"released": False}
    )


class FeatureEncoder(nn.Module):
    """Turn the feature vector of an utterance into a hidden vector, by a transformer with a summary token.

    Parameters
    ----------
    width : int
        Of the feature vector and of the transformer.
    hyperparameters : RamerHyperparameters
    """

    def __init__(self, width: int, hyperparameters: RamerHyperparameters) -> None:
        super().__init__()
        h = hyperparameters
        self.cls = nn.Parameter(torch.zeros(1, 1, width), requires_grad=h.train_cls_tokens)
        self.position = nn.Parameter(torch.zeros(1, 2, width), requires_grad=h.train_cls_tokens)
        layer = nn.TransformerEncoderLayer(width, heads(width), h.feed_forward, h.dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, h.layers, enable_nested_tensor=False)
        self.linear = nn.Linear(width, h.hidden)

    def forward(self, sequence: Sequence) -> Tensor:
        """Encode the mean of the observed frames of [B, T, width] into [B, hidden]."""
        observed = sequence.observed.unsqueeze(2)
        feature = (sequence.values * observed).sum(1, keepdim=True) / observed.sum(1, keepdim=True).clamp(min=1)
        tokens = torch.cat([self.cls.expand(len(feature), -1, -1), feature], 1)
        return self.linear(self.transformer(tokens + self.position)[:, 0])

    def sub_networks(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each part whose gradients are clipped together."""
        return [[self.cls, self.position], list(self.transformer.parameters()), list(self.linear.parameters())]


def heads(width: int) -> int:
    """Return the number of attention heads: 8, or the largest divisor of ``width`` below."""
    return max(count for count in range(1, _MAX_HEADS + 1) if width % count == 0)


def feature_encoders(hyperparameters: RamerHyperparameters, spec: DataSpec) -> nn.ModuleDict:
    """Return an untrained encoder of each modality."""
    return nn.ModuleDict({name: FeatureEncoder(getattr(spec, name), hyperparameters) for name in MODALITIES})


class RamerMethod(Method):
    """What the encoders and RAMER share: the encoders of the modalities, and how they are trained."""

    reads_text = "vectors"
    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"epochs": 10, "constant_epochs": 6, "batch_size": 16, "hidden": 64, "feed_forward": 256}
    }

    class Hyperparameters(RamerHyperparameters):
        """Hyperparameters of the method."""

    def __init__(self, hyperparameters: RamerHyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.encoders = feature_encoders(hyperparameters, spec)

    def hidden(self, batch: Batch) -> dict[str, Tensor]:
        """Return the hidden vectors [B, hidden] of text, audio and vision, whether they are available or not."""
        return {name: encoder(getattr(batch, name)) for name, encoder in self.encoders.items()}

    def given(self, batch: Batch) -> Tensor:
        """Return which of text, audio and vision [B, 3] bool are available: not absent, and with something observed."""
        observed = torch.stack([getattr(batch, name).observed.any(1) for name in MODALITIES], 1)
        return self.available(batch) & observed

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, without weight decay."""
        h = self.hyperparameters
        return [torch.optim.Adam(self.trainable(), lr=h.learning_rate, betas=(h.beta1, 0.999))]

    def learning_rate_factor(self, epoch: int) -> float:
        """Constant, then falling linearly towards 0, which the epoch after the last would have."""
        h = self.hyperparameters
        constant = min(h.constant_epochs, h.epochs)
        return 1 - max(0, epoch - constant) / (h.epochs - constant + 1)

    def clip(self, *classifiers: nn.Module) -> None:
        """Clip the norm of the gradient of each classifier, and of each part of the encoders."""
        networks = [list(classifier.parameters()) for classifier in classifiers]
        for encoder in self.encoders.values():
            networks += encoder.sub_networks()
        for parameters in networks:
            nn.utils.clip_grad_norm_(parameters, self.hyperparameters.clip)


class RamerEncoders(RamerMethod):
    """Fan, Yuan, Zuo, Liu and Gao 2024, the teacher."""

    name = "ramer_encoders"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Fan, Yuan, Zuo, Liu, Gao: Leveraging Retrieval Augment Approach for Multimodal Emotion Recognition Under "
        "Missing Modalities. 2024, arXiv 2410.02804"
    )
    combines = False
    reads_text = "vectors"
    told_absent = True
    official_counts: ClassVar[dict[str, int]] = {"mer2024": 141_882_770}
    compared = "equal part by part with `layers: 2`"
    small: ClassVar[dict] = {"hidden": 12, "feed_forward": 16, "dropout": 0.0}

    class Hyperparameters(RamerHyperparameters):
        """Those of the official code where it tells them, with one layer."""

        dropout: float = Field(0.5, ge=0, lt=1, description="dropout in the transformers")

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.classifiers = nn.ModuleDict(
            {
                name: Classifier(h.hidden, _CLASSIFIER, spec.outputs, h.classifier_dropout, batch_norm=True)
                for name in MODALITIES
            }
        )

    def predict(self, batch: Batch) -> Prediction:
        """Average what the available modalities predict; all of them, where none is available."""
        hidden = self.hidden(batch)
        outputs = torch.stack([self.classifiers[name](hidden[name]) for name in MODALITIES], 1)
        given = self.given(batch)
        weights = (given | ~given.any(1, keepdim=True)).float().unsqueeze(2)
        output = (outputs * weights).sum(1) / weights.sum(1)
        return Prediction(self.readout(output), torch.cat(list(hidden.values()), 1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of each modality."""
        return {
            name: self.error(self.readout(self.classifiers[name](h)), batch.label)
            for name, h in self.hidden(batch).items()
        }

    def after_backward(self) -> None:
        """Clip the gradients."""
        self.clip(*self.classifiers.values())

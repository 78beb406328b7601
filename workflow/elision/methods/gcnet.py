"""GCNet: graphs over the utterances of a dialogue complete what is missing and classify.

The vectors of the modalities of an utterance lie side by side; a missing one is zeros. A BiLSTM reads the dialogue.
Two graph networks pass messages between utterances in a window: the relations of one are before, now and after, those
of the other the pairs of speakers. Another BiLSTM and attention over the dialogue follow in each. Of their sum, one
head predicts the label of each utterance, and another rebuilds the vectors. Of these, the missing ones are compared.

The relational convolution is a mean over the neighbours of each relation. Here it is a product with a matrix of the
dialogue, without a graph library; the result is the same. Departures from the official code:

- The official code reads padding: the BiLSTMs begin at the end of the longest dialogue of the batch. Predictions then
  depend on the other dialogues of the batch. ``read_padding: true`` does the same.
- The official code numbers relations by an order that changes with each process, so that saved weights cannot be read
  again. Here the order is fixed.
- An edge goes from utterance j to utterance i if i lies in the window of j. An utterance therefore hears
  ``window_future`` utterances of before and ``window_past`` of after, as in the official code. The defaults are equal.
- Epochs are chosen on a validation split. The official code chooses them on the test split of IEMOCAP.
- Masks of evaluation are drawn once. The official code draws them anew at each evaluation.
- The official code masks the reconstruction error in the order of dialogues, and the error lies in the order of turns.
  With padding, it leaves out some utterances and counts padding. Here all utterances count, and no padding.
- Frames and token vectors are averaged over time. The official code reads one vector per utterance.
- A modality that an utterance never had is not rebuilt.
- The GRU that the official code makes and never calls is left out.

The official script tries hidden sizes of 50, 100 and 200, with and without attention. The default is 200 with
attention, and patience is ours.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch, Dialogues
from elision.methods.base import Prediction
from elision.methods.layers.dialogue import DialogueMethod
from elision.methods.layers.packing import read
from elision.methods.layers.utterance import mean_over_time
from elision.task import DataSpec

ORDER = ("audio", "text", "vision")  # of the vectors, side by side


def neighbours(valid: Tensor, *, past: int, future: int) -> Tensor:
    """Return whether an utterance (row) hears another one (column) [D, U, U] bool.

    Parameters
    ----------
    valid : Tensor [D, U] bool
    past, future : int
        An utterance is heard by so many utterances before it and after it, and by itself; -1: by all.
    """
    turn = torch.arange(valid.shape[1], device=valid.device)
    ahead = turn[:, None] - turn  # by how many turns who hears comes later
    heard = torch.ones_like(ahead, dtype=torch.bool)
    if past >= 0:
        heard &= ahead >= -past
    if future >= 0:
        heard &= ahead <= future
    return heard & valid[:, :, None] & valid[:, None, :]


def temporal_relations(heard: Tensor) -> Tensor:
    """Split who hears whom [D, U, U] into an earlier, the same and a later utterance [D, 3, U, U]."""
    earlier = torch.ones(heard.shape[1:], dtype=torch.bool, device=heard.device).tril(-1)
    same = torch.eye(heard.shape[1], dtype=torch.bool, device=heard.device)
    return torch.stack([heard & earlier, heard & same, heard & earlier.T], 1)


def speaker_relations(heard: Tensor, speaker: Tensor, count: int) -> Tensor:
    """Split who hears whom [D, U, U] by the pair of who speaks and who hears [D, count * count, U, U]."""
    pair = speaker[:, None, :] * count + speaker[:, :, None]  # sender, then receiver
    return heard[:, None] & (pair[:, None] == torch.arange(count * count, device=heard.device)[:, None, None])


class RelationalConvolution(nn.Module):
    """Mean over the neighbours of each relation, with weights of its own, and the node itself.

    Source: Schlichtkrull et al., arXiv 1703.06103, equation 2, with the number of neighbours as the norm.

    Parameters
    ----------
    width_in, width : int
    relations : int
    """

    def __init__(self, width_in: int, width: int, relations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(relations, width_in, width))
        self.root = nn.Parameter(torch.empty(width_in, width))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.root)
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, relations: Tensor) -> Tensor:
        """Convolve nodes [D, U, width_in] with relations [D, R, U, U] bool into [D, U, width]."""
        share = relations / relations.sum(3, keepdim=True).clamp(min=1)
        heard = (share @ x[:, None]).transpose(1, 2).flatten(2)  # [D, U, R * width_in]
        return heard @ self.weight.flatten(0, 1) + x @ self.root + self.bias


class GraphConvolution(nn.Module):
    """Sum over all neighbours, and the node itself, each with its weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.neighbours, self.itself = nn.Linear(width, width), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        """Convolve nodes [D, U, width]; heard [D, U, U] bool."""
        return self.neighbours(heard.to(x.dtype) @ x) + self.itself(x)


class GraphNetwork(nn.Module):
    """Messages along one kind of relation, then a BiLSTM and attention over the dialogue.

    Parameters
    ----------
    width_in, width : int
        Of the nodes, and of the convolutions.
    relations : int
    attention : bool
    dropout : float
        Between the layers of the BiLSTM.
    read_padding : bool
    """

    def __init__(
        self, width_in: int, width: int, relations: int, *, attention: bool, dropout: float, read_padding: bool
    ) -> None:
        super().__init__()
        self.relational = RelationalConvolution(width_in, width, relations)
        self.graph = GraphConvolution(width)
        self.out_width = width_in + width
        self.lstm = _lstm(self.out_width, self.out_width, dropout)
        self.query = nn.Linear(2 * self.out_width, 2 * self.out_width) if attention else None
        self.linear = nn.Linear(2 * self.out_width, self.out_width)
        self.read_padding = read_padding

    def forward(self, x: Tensor, heard: Tensor, relations: Tensor, dialogues: Dialogues) -> Tensor:
        """Turn nodes [D, U, width_in] into [D, U, width_in + width]."""
        nodes = torch.cat([x, self.graph(self.relational(x, relations), heard)], 2) * dialogues.valid[..., None]
        y = _read(self.lstm, nodes, dialogues, padding=self.read_padding)
        if self.query is not None:
            scores = torch.tanh(self.query(y) @ y.transpose(1, 2))
            scores = scores.masked_fill(~dialogues.valid[:, None], -torch.inf)
            y = scores.softmax(2) @ y.masked_fill(~dialogues.valid[..., None], 0.0)
        return self.linear(y).relu()


class GCNet(DialogueMethod):
    """Lian et al., TPAMI 2023."""

    name = "gcnet"
    error_of_scores = "squared"
    corruption = "modality_rate"
    needs_complete = True
    paper = (
        "Lian, Chen, Sun, Liu, Tao: GCNet: Graph Completion Network for Incomplete Multimodal Learning in "
        "Conversation. TPAMI 2023, arXiv 2203.02177"
    )
    reads = "dialogues"
    reads_text = "vectors"
    optimizer = torch.optim.Adam
    compared = "equal, without the GRU that is never called; at GCNet's sizes and hidden 50: 2,900,014 with attention"
    small: ClassVar[dict] = {"hidden": 8, "dropout": 0.0}

    class Hyperparameters(DialogueMethod.Hyperparameters):
        """Those of the official script."""

        epochs: int = Field(100, ge=0, description="passes over the training split")
        patience: int | None = Field(
            20, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam")
        weight_decay: float = Field(1e-5, ge=0, description="weight decay of Adam, which is added to the gradient")
        hidden: int = Field(200, ge=2, multiple_of=2, description="width of each direction of the first BiLSTM")
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout between the layers of the BiLSTMs")
        window_past: int = Field(2, ge=-1, description="utterances before an utterance that hear it; -1: all")
        window_future: int = Field(2, ge=-1, description="utterances after an utterance that hear it; -1: all")
        attention: bool = Field(True, description="true attends to the whole dialogue after each graph network")
        reconstruction_weight: float = Field(1.0, ge=0, description="weight of the error of missing vectors")
        read_padding: bool = Field(
            False,
            description="true lets the BiLSTMs read the padding of a batch of dialogues",
            json_schema_extra={"released": True},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"hidden": 32, "epochs": 20, "batch_size": 2, "dropout": 0.2, "patience": None}
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.widths = [getattr(spec, name) for name in ORDER]
        self.lstm = _lstm(sum(self.widths), h.hidden, h.dropout)

        def network(relations: int) -> GraphNetwork:
            return GraphNetwork(
                2 * h.hidden,
                h.hidden // 2,
                relations,
                attention=h.attention,
                dropout=h.dropout,
                read_padding=h.read_padding,
            )

        self.temporal, self.speaker = network(3), network(spec.speakers**2)
        self.classifier = nn.Linear(self.temporal.out_width, spec.outputs)
        self.rebuild = nn.Linear(self.temporal.out_width, sum(self.widths))

    def hidden(self, batch: Batch) -> Tensor:
        """Return what each utterance has become [B, 2.5 hidden]."""
        h, dialogues = self.hyperparameters, self.dialogues(batch)
        vectors = dialogues.padded(_vectors(batch))
        x = _read(self.lstm, vectors, dialogues, padding=h.read_padding)
        heard = neighbours(dialogues.valid, past=h.window_past, future=h.window_future)
        of_speakers = speaker_relations(heard, dialogues.speaker, self.spec.speakers)
        temporal = self.temporal(x, heard, temporal_relations(heard), dialogues)
        return dialogues.flat(temporal + self.speaker(x, heard, of_speakers, dialogues))

    def predict(self, batch: Batch) -> Prediction:
        """Predict each utterance from its dialogue."""
        hidden = self.hidden(batch)
        return Prediction(self.readout(self.classifier(hidden)), hidden)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the labels, and of the vectors that are missing."""
        hidden = self.hidden(batch)
        terms = {"label": self.error(self.readout(self.classifier(hidden)), batch.label)}
        errors = (self.rebuild(hidden) - _vectors(batch.clean)).square().split(self.widths, 1)
        rebuilt = []
        for name, error in zip(ORDER, errors, strict=True):
            seen, had = (getattr(b, name).observed.any(1) for b in (batch, batch.clean))
            rebuilt.append((error.mean(1) * (had & ~seen)).mean())
        terms["reconstruction"] = self.hyperparameters.reconstruction_weight * torch.stack(rebuilt).sum()
        return terms


def _vectors(batch: Batch) -> Tensor:
    """Return the vectors of the utterances, side by side [B, sum of widths]."""
    return torch.cat([mean_over_time(getattr(batch, name)) for name in ORDER], 1)


def _lstm(width_in: int, width: int, dropout: float) -> nn.LSTM:
    return nn.LSTM(width_in, width, num_layers=2, bidirectional=True, dropout=dropout, batch_first=True)


def _read(lstm: nn.LSTM, values: Tensor, dialogues: Dialogues, *, padding: bool) -> Tensor:
    """Read dialogues [D, U, d]; without meaning beyond their ends."""
    return lstm(values)[0] if padding else read(lstm, values, dialogues.known_lengths)[0]

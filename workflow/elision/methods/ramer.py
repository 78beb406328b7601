"""RAMER: hidden vectors of missing modalities are retrieved from the most similar samples of a database.

Each available modality is encoded in a hidden vector. ``ramer_encoders`` makes the database. The samples with the
most similar vectors of an available modality are looked up. A missing modality becomes the sum of their vectors of
that modality, brought to length 1. A classifier reads the three vectors. The classifier starts Kaiming-normal with
zero biases, as in the released code.

The released code cannot run. The file is what the code intends, with these differences (see ``ramer_encoders``, too):

- The encoders start from those of the teacher and have their sizes. In the code, the encoders start from scratch, so
  that queries and database lie in different spaces at first. There, the feed-forward layers are as wide as the hidden
  vectors (``feed_forward: 256``).
- Frozen encoders of the teacher make the queries, and are stored with the method. In the code, the trained encoders
  make the queries and drift away from the database (``query_encoder: trained``).
- A sample is no neighbour of itself: its own row is left out where it is found. The code drops the first of six hits,
  whatever it is, even in tests, where the sample is not in the database.
- With two available modalities, the one whose last neighbour is more similar counts. Of equal ones, text comes before
  audio and audio before vision. Queries are normalised, so that cosines are compared. The code compares inner
  products, which depend on the length of a query.
- Retrieved vectors replace others by a choice. The code overwrites rows that need gradients.

The paper is silent on the following. A sample without any available modality has no query, and keeps the vectors that
the encoders make of zeros. A modality without an observed frame counts as missing, and so does one that the dataset
lacks. With trained query encoders, a query has their dropout in training, as in the code.

A ``labelled`` database holds training samples alone. An ``unlabelled`` one holds the samples of the split of that
name, and ``all`` holds both. No database holds validation or test samples.

``retrieval: false`` has zeros where vectors would be retrieved, and is otherwise the same method. The paper has no such
row, which tells what retrieval adds to the trained encoders and classifier.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError, plural
from elision.methods.base import Method, Prediction
from elision.methods.layers.mmin_family import initialise
from elision.methods.layers.utterance import Classifier
from elision.methods.ramer_encoders import RamerHyperparameters, RamerMethod, feature_encoders
from elision.task import MODALITIES, DataSpec

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

_ORDER = ("audio", "vision", "text")  # of the vectors that the classifier reads
_CLASSIFIER = (256, 128)


class Ramer(RamerMethod):
    """Fan, Yuan, Zuo, Liu and Gao 2024."""

    name = "ramer"
    error_of_scores = "squared"
    corruption = "absent"
    paper = (
        "Fan, Yuan, Zuo, Liu, Gao: Leveraging Retrieval Augment Approach for Multimodal Emotion Recognition Under "
        "Missing Modalities. 2024, arXiv 2410.02804"
    )
    needs: ClassVar[tuple[str, ...]] = ("ramer_encoders",)
    retrieves = "ramer_encoders"
    reads_text = "vectors"
    told_absent = True
    official_counts: ClassVar[dict[str, int]] = {"mer2024": 283_394_694}
    compared = (
        "equal part by part with `feed_forward: 256` and `query_encoder: trained` (117,034,630, of which "
        "117,013,894 are trained); the default holds frozen query encoders, too"
    )
    small: ClassVar[dict] = {"hidden": 12, "feed_forward": 16, "dropout": 0.0}

    class Hyperparameters(RamerHyperparameters):
        """Those of the official code where it tells them, with the sizes of the teacher."""

        retrieval: bool = Field(
            True,
            description="false replaces missing hidden vectors by zeros. Nothing is searched, and the training is the "
            "same. The difference between both is what retrieval adds",
        )
        top_k: int = Field(5, ge=1, description="neighbours whose vectors are summed")
        database: Literal["labelled", "unlabelled", "all"] = Field(
            "labelled",
            description="samples that are searched. labelled: the training split. unlabelled: the unlabelled "
            "samples. all: both",
        )
        database_size: int | None = Field(
            None, ge=2, description="most samples that are searched, drawn at random (null: all)"
        )
        database_seed: int = Field(
            0, ge=0, description="seed of the draw of database_size; a larger database holds every smaller one"
        )
        query_encoder: Literal["frozen", "trained"] = Field(
            "frozen",
            description="encoders that make the queries. frozen: those of the teacher. trained: those of the "
            "method, which drift away from the database",
            json_schema_extra={"released": "trained"},
        )

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.classifier = Classifier(3 * h.hidden, _CLASSIFIER, spec.outputs, h.classifier_dropout)
        initialise(self.classifier)
        self.query_encoders = nn.ModuleDict()
        if h.retrieval and h.query_encoder == "frozen":
            self.query_encoders = feature_encoders(h, spec).requires_grad_(False)
        self._database: Database | None = None

    def train(self, mode: bool = True) -> "Ramer":
        """Switch between training and evaluation; frozen query encoders stay without dropout."""
        super().train(mode)
        self.query_encoders.eval()
        return self

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the encoders of the teacher, and the part of the database that is searched.

        Raises
        ------
        ElisionError
            If the teacher has other sizes, or the database is too small.
        """
        h = self.hyperparameters
        for teacher in teachers.values():
            try:
                self.encoders.load_state_dict(teacher.encoders.state_dict())
                if self.query_encoders:
                    self.query_encoders.load_state_dict(teacher.encoders.state_dict())
            except RuntimeError as error:
                raise ElisionError(
                    f"{self.name}: cannot start from {teacher.name}, because its encoders have other sizes; set the "
                    "same hidden, layers, feed_forward and modalities in both"
                ) from error
        if database is not None and h.retrieval:
            self._database = database.subset(h.database, h.database_size, h.database_seed)
            if len(self._database) <= h.top_k:
                raise ElisionError(
                    f"{self.name}: top_k asks for {plural(h.top_k, 'neighbour')}, but the database has "
                    f"{len(self._database)} {h.database} samples, and one may be the query itself; set top_k lower, or "
                    "database: all"
                )

    def neighbours(self, queries: dict[str, Tensor], given: Tensor, row: Tensor) -> Tensor:
        """Find the most similar other samples, by the modality in which the last of them is most similar.

        Parameters
        ----------
        queries : dict of str to Tensor [B, hidden]
        given : Tensor [B, 3] bool
            Which of text, audio and vision may be searched.
        row : Tensor [B] int64
            Rows of the samples, none of which is its own neighbour.

        Returns
        -------
        Tensor [B, top_k] int64
            Positions in the database; without meaning where nothing may be searched.
        """
        k, database, best, found = self.hyperparameters.top_k, self._database.to(row.device), [], []
        for name in MODALITIES:
            scores, positions = database.search(name, queries[name], k + 1)
            # The sample itself moves to the end, and falls out; else the last one does.
            order = (database.rows[positions] == row[:, None]).int().argsort(dim=1, stable=True)[:, :k]
            best.append(scores.gather(1, order)[:, -1])
            found.append(positions.gather(1, order))
        searched = torch.stack(best, 1).where(given, -torch.inf).argmax(1)
        return torch.stack(found, 1).gather(1, searched[:, None, None].expand(-1, 1, k)).squeeze(1)

    @torch.no_grad()
    def retrieve(self, batch: Batch, hidden: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return sums of the neighbours' vectors [B, hidden], of length 1."""
        queries = {name: vector.detach() for name, vector in hidden.items()}
        if self.query_encoders:
            queries = {name: encoder(getattr(batch, name)) for name, encoder in self.query_encoders.items()}
        positions = self.neighbours(queries, self.given(batch), batch.row)
        sums = {name: vectors[positions].sum(1) for name, vectors in self._database.vectors.items()}
        return {name: F.normalize(vector, dim=1).to(hidden[name]) for name, vector in sums.items()}

    def fill(self, batch: Batch) -> dict[str, Tensor]:
        """Return the hidden vectors [B, hidden], those of missing modalities retrieved, or zeros."""
        hidden, given = self.hidden(batch), self.given(batch)
        incomplete = given.any(1) & ~given.all(1)
        if self.hyperparameters.retrieval:
            retrieved = self.retrieve(batch, hidden)
        else:
            retrieved = {name: torch.zeros_like(vector) for name, vector in hidden.items()}
        missing = (incomplete[:, None] & ~given).unbind(1)
        return {
            name: torch.where(lost[:, None], retrieved[name], hidden[name])
            for name, lost in zip(MODALITIES, missing, strict=True)
        }

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the three vectors side by side."""
        vectors = self.fill(batch)
        representation = torch.cat([vectors[name] for name in _ORDER], 1)
        return Prediction(self.readout(self.classifier(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction."""
        return {"emotion": self.error(self.predict(batch).output, batch.label)}

    def after_backward(self) -> None:
        """Clip the gradients."""
        self.clip(self.classifier)

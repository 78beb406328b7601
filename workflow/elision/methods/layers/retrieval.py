"""A database of hidden vectors that is searched for the samples most similar to a query (RAMER)."""

from collections.abc import Sequence as Several
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elision.corruption.missing import generator
from elision.errors import ElisionError, plural
from elision.store import read_tensors, write_tensors
from elision.task import MODALITIES


class Database:
    """Hidden vectors of samples, searched by their cosine: some thousand samples need no index.

    Parameters
    ----------
    vectors : dict of str to Tensor [N, d]
        Hidden vectors of text, audio and vision, not normalised. Kept without gradient, at first on the CPU.
    rows : Tensor [N] int64
        Row of each sample in the table of the dataset.
    labelled : Tensor [N] bool
        Whether the sample belongs to the labelled training data.
    """

    def __init__(self, vectors: dict[str, Tensor], *, rows: Tensor, labelled: Tensor) -> None:
        self.vectors = {name: vectors[name].detach().cpu().float().contiguous() for name in MODALITIES}
        self.rows, self.labelled = rows.cpu(), labelled.cpu()
        self._units = {name: F.normalize(values.double(), dim=1) for name, values in self.vectors.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def subset(
        self, kind: Literal["labelled", "unlabelled", "all"], size: int | None = None, seed: int = 0
    ) -> "Database":
        """Return the database of some of the samples, in the same order.

        Parameters
        ----------
        kind : str
        size : int, optional
            At most so many of them, drawn at random; all, if it is not given. What is drawn for one size is among what
            is drawn for every larger one.
        seed : int
            Key of the draw.
        """
        chosen = {"labelled": self.labelled, "unlabelled": ~self.labelled, "all": torch.ones_like(self.labelled)}[kind]
        positions = chosen.nonzero().squeeze(1)
        if size is not None and size < len(positions):
            order = torch.from_numpy(generator(seed, "database").permutation(len(positions)))
            positions = positions[order[:size]].sort().values
        vectors = {name: values[positions] for name, values in self.vectors.items()}
        return Database(vectors, rows=self.rows[positions], labelled=self.labelled[positions])

    def to(self, device: torch.device) -> "Database":
        """Move what is searched to a device; what is there already stays."""
        if self.rows.device != device:
            self.rows, self.labelled = self.rows.to(device), self.labelled.to(device)
            self.vectors = {name: values.to(device) for name, values in self.vectors.items()}
            self._units = {name: values.to(device) for name, values in self._units.items()}
        return self

    def search(self, modality: str, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Find the samples whose vectors of a modality have the largest cosine with each query.

        All cosines are computed, in float64, and rounded to float32: of equal cosines, the lower position comes first.
        The cosine with a vector of zeros is 0. Nothing waits for the device.

        Parameters
        ----------
        modality : str
        query : Tensor [B, d]
            Not necessarily normalised; on the device of the database.
        k : int
            Number of neighbours, at most that of the samples.

        Returns
        -------
        scores : Tensor [B, k] float32
            Cosines, the largest first.
        positions : Tensor [B, k] int64
            Positions in the database.
        """
        if not 0 < k <= len(self):
            raise ValueError(f"{k} neighbours asked of {plural(len(self), 'sample')}")
        # What has diverged is read as 0, and its loss, which is nan, is reported.
        unit = F.normalize(query.detach().double().nan_to_num(0.0, 0.0, 0.0), dim=1)
        scores, positions = (unit @ self._units[modality].T).float().sort(dim=1, descending=True, stable=True)
        return scores[:, :k], positions[:, :k]

    def write(self, folder: Path | str, ids: Several[str], provenance: dict) -> None:
        """Write ``vectors.safetensors``, atomically and with the same bytes every time.

        Parameters
        ----------
        folder : Path
        ids : sequence of N str
            Ids of the samples of the database, in its order.
        provenance : dict
            See ``recipe``.
        """
        if len(ids) != len(self):
            raise ValueError(f"{len(ids)} ids for {plural(len(self), 'sample')}")
        tensors = {name: values.numpy() for name, values in self.vectors.items()}
        metadata = {"ids": [str(name) for name in ids], "provenance": provenance}
        write_tensors(Path(folder) / "vectors.safetensors", {**tensors, "labelled": self.labelled.numpy()}, metadata)

    @classmethod
    def read(cls, folder: Path | str, ids: Several[str]) -> tuple["Database", dict]:
        """Read what ``write`` wrote.

        Parameters
        ----------
        folder : Path
        ids : sequence of str
            Ids of the samples in the table of the dataset: they tell the rows.

        Returns
        -------
        database : Database
        provenance : dict

        Raises
        ------
        ElisionError
            If the file is missing or damaged, or a sample is not in the table.
        """
        folder = Path(folder)
        path = folder / "vectors.safetensors"
        tensors, metadata = read_tensors(path)
        row_of = {name: row for row, name in enumerate(ids)}
        try:
            saved, provenance = metadata["ids"], metadata["provenance"]
            vectors = {name: torch.from_numpy(np.array(tensors[name])) for name in MODALITIES}
            labelled = torch.from_numpy(np.array(tensors["labelled"]))
            if not all(values.ndim == 2 and len(values) == len(saved) for values in vectors.values()):
                raise ValueError("not a vector of each modality per sample")
            if labelled.shape != (len(saved),) or labelled.dtype != torch.bool:
                raise ValueError("not a flag per sample")
        except (KeyError, TypeError, ValueError) as error:
            raise ElisionError(
                f"{path}: not a retrieval database ({error!r}); delete {folder} and run again"
            ) from error
        for name in saved:
            if name not in row_of:
                raise ElisionError(
                    f'{path}: sample "{name}" is not in the table of the dataset, because the database belongs to '
                    f"another table; delete {folder} and run again"
                )
        rows = torch.tensor([row_of[name] for name in saved], dtype=torch.int64)
        return cls(vectors, rows=rows, labelled=labelled), provenance

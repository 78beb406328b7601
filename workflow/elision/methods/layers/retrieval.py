"""A database of hidden vectors that is searched for the samples most similar to a query (RAMER)."""

from collections.abc import Sequence as Several
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elision.corruption.missing import generator
from elision.errors import ElisionError, plural
from elision.files import replacing
from elision.store import read_tensors, write_tensors
from elision.task import MODALITIES

# Far above the rounding of a cosine in float32: what FAISS puts closer together than that may be in any order.
_ROUNDING = 1e-5


class Database:
    """Hidden vectors of samples, in three exact FAISS indexes of cosine similarity.

    Parameters
    ----------
    vectors : dict of str to Tensor [N, d]
        Hidden vectors of text, audio and vision, not normalised. Kept on the CPU, without gradient.
    rows : Tensor [N] int64
        Row of each sample in the table of the dataset.
    labelled : Tensor [N] bool
        Whether the sample belongs to the labelled training data.

    Raises
    ------
    ElisionError
        If FAISS is not installed.
    """

    def __init__(self, vectors: dict[str, Tensor], *, rows: Tensor, labelled: Tensor) -> None:
        self.vectors = {name: vectors[name].detach().cpu().float().contiguous() for name in MODALITIES}
        self.rows, self.labelled = rows.cpu(), labelled.cpu()
        self._indexes = {name: _index(values) for name, values in self.vectors.items()}

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

    def search(self, modality: str, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Find the samples whose vectors of a modality have the largest cosine with each query.

        FAISS finds the candidates. Their cosines are computed anew in float64 and rounded to float32, so that neither
        the number of threads nor the other queries change a bit; of equal cosines, the lower position comes first.
        The cosine with a vector of zeros is 0.

        Parameters
        ----------
        modality : str
        query : Tensor [B, d]
            Not necessarily normalised; on any device.
        k : int
            Number of neighbours, at most that of the samples.

        Returns
        -------
        scores : Tensor [B, k] float32
            Cosines, the largest first; on the CPU.
        positions : Tensor [B, k] int64
            Positions in the database.
        """
        if not 0 < k <= len(self):
            raise ValueError(f"{k} neighbours asked of {plural(len(self), 'sample')}")
        index, faiss = self._indexes[modality], _faiss()
        # FAISS finds nothing for nan: what has diverged is read as 0, and its loss, which is nan, is reported.
        unit = F.normalize(query.detach().cpu().double().nan_to_num(0.0, 0.0, 0.0), dim=1)
        rounded = unit.float().numpy()
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            near, candidates = index.search(rounded, min(k + 1, len(self)))
            scores, positions = self._rank(modality, unit, torch.from_numpy(candidates), k)
            # Where the next one is as close as the last, there may be more of them, and lower ones.
            for i in np.flatnonzero(near[:, k - 1] - near[:, -1] < _ROUNDING):
                _, _, tied = index.range_search(rounded[i : i + 1], float(near[i, k - 1]) - _ROUNDING)
                scores[i], positions[i] = self._rank(modality, unit[i : i + 1], torch.from_numpy(tied)[None], k)
        finally:
            faiss.omp_set_num_threads(threads)
        return scores, positions

    def _rank(self, modality: str, unit: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return cosines and positions [B, k] of the best among candidates [B, n] for normalised queries [B, d]."""
        positions = candidates.sort(1).values
        stored = F.normalize(self.vectors[modality][positions].double(), dim=2)
        scores = (stored * unit[:, None]).sum(2).float()
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        return scores.gather(1, order), positions.gather(1, order)

    def write(self, folder: Path | str, ids: Several[str], provenance: dict) -> None:
        """Write ``{text,audio,vision}.faiss`` and ``vectors.safetensors``: each atomically, the same bytes every time.

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
        folder = Path(folder)
        for name, index in self._indexes.items():
            with replacing(folder / f"{name}.faiss") as temporary:
                _faiss().write_index(index, str(temporary))
        tensors = {name: values.numpy() for name, values in self.vectors.items()}
        metadata = {"ids": [str(name) for name in ids], "provenance": provenance}
        write_tensors(folder / "vectors.safetensors", {**tensors, "labelled": self.labelled.numpy()}, metadata)

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
            If a file is missing or damaged, if the files do not belong together, if a sample is not in the table, or if
            FAISS is not installed.
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
        database = cls(vectors, rows=rows, labelled=labelled)
        for name, index in database._indexes.items():
            database._indexes[name] = _read_index(folder / f"{name}.faiss", index)
        return database, provenance


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise ElisionError(
            "a retrieval database needs FAISS, which is not installed: pip install faiss-cpu -c constraints.txt"
        ) from error
    return faiss


def _index(vectors: Tensor) -> Any:
    """Return the flat inner-product index of normalised copies of vectors [N, d]."""
    index = _faiss().IndexFlatIP(vectors.shape[1])
    index.add(F.normalize(vectors, dim=1).numpy())
    return index


def _read_index(path: Path, expected: Any) -> Any:
    """Read an index and compare it with the one that the vectors ask for."""
    faiss = _faiss()
    if not path.exists():
        raise ElisionError(f"{path}: no such file; delete {path.parent} and run again")
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise ElisionError(f"{path}: not a readable FAISS index; delete {path.parent} and run again") from error
    same = (
        isinstance(index, faiss.IndexFlatIP)
        and (index.ntotal, index.d) == (expected.ntotal, expected.d)
        and np.allclose(index.reconstruct_n(), expected.reconstruct_n(), rtol=0, atol=_ROUNDING)
    )
    if not same:
        raise ElisionError(
            f"{path}: does not hold the vectors of vectors.safetensors; delete {path.parent} and run again"
        )
    return index

import pickle
from pathlib import Path

import numpy as np

from elision.task import SPLITS


def make(folder: Path) -> dict:
    """CMU-MOSEI, not aligned; padding at the start, and -inf in audio."""
    random, content = np.random.default_rng(11), {}
    for split, count in zip(SPLITS, (3, 2, 2), strict=True):
        part = {
            "text": random.normal(size=(count, 5, 6)).astype(np.float32),
            "audio": random.normal(3, 2, (count, 7, 3)).astype(np.float32),
            "vision": random.normal(3, 2, (count, 4, 2)).astype(np.float32),
            "labels": np.linspace(-1, 1, count).reshape(-1, 1, 1).astype(np.float32),
            "id": np.array([[f"{split}{row}", "1.5", "4.25"] for row in range(count)], object),
        }
        for key in ("text", "audio", "vision"):
            part[key][:, :2] = 0
        part["audio"][0, 3, 0] = -np.inf
        content[split] = part
    (folder / "mosei_senti_data_noalign.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return {"source": "mult", "file": str(folder / "mosei_senti_data_noalign.pkl"), "corpus": "mosei"}


def unlabel(folder: Path) -> None:
    file = folder / "mosei_senti_data_noalign.pkl"
    content = pickle.loads(file.read_bytes())
    content["train"]["labels"][0] = np.nan
    file.write_bytes(pickle.dumps(content, protocol=2))

import pickle
from pathlib import Path

import numpy as np

from elision.task import SPLITS


def make(folder: Path, protocol: int = 4) -> dict:
    random, content = np.random.default_rng(11), {}
    for split, count in zip(SPLITS, (3, 2, 2), strict=True):
        bert = np.zeros((count, 3, 5))
        bert[:, 0] = [101, 2000, 2001, 102, 0]
        bert[:, 1] = [1, 1, 1, 1, 0]
        content[split] = {
            "id": [f"{split}{k}$_$1" for k in range(count)],
            "raw_text": [f"words {k}" for k in range(count)],
            "text_bert": bert,
            "text": random.normal(size=(count, 5, 6)).astype(np.float32),
            "audio": random.normal(3, 2, (count, 4, 3)).astype(np.float32),
            "audio_lengths": [4, 3, 2][:count],
            "vision": random.normal(3, 2, (count, 2, 2)).astype(np.float32),
            "vision_lengths": [2] * count,
            "regression_labels": np.linspace(-1, 1, count).astype(np.float32),
        }
    (folder / "features.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    return {"source": "mmsa", "file": str(folder / "features.pkl")}


def unlabel(folder: Path) -> None:
    content = pickle.loads((folder / "features.pkl").read_bytes())
    content["train"]["regression_labels"][0] = np.nan
    (folder / "features.pkl").write_bytes(pickle.dumps(content))

import pickle
from itertools import chain
from pathlib import Path

import numpy as np


def make(folder: Path) -> dict:
    """CMU-MOSI with one feature set."""
    dialogues = [f"video{k}" for k in range(5)]
    ids = {name: [f"{name}_{k}" for k in (1, 2)] for name in dialogues}
    labels = {name: np.array([-3.0, 2.6], np.float32) for name in dialogues}
    said = {name: ["", "words"] for name in dialogues}
    sets = [set(dialogues[:2]), {dialogues[2]}, set(dialogues[3:])]
    (folder / "labels.pkl").write_bytes(pickle.dumps((ids, labels, said, said, *sets), protocol=2))
    (folder / "features" / "voices-UTT").mkdir(parents=True)
    for k, name in enumerate(chain.from_iterable(ids.values())):
        vector = np.random.default_rng(k).normal(3, 2, 5).astype(np.float32)
        np.save(folder / "features" / "voices-UTT" / f"{name}.npy", vector)
    entry = {"source": "gcnet", "labels": str(folder / "labels.pkl"), "features": str(folder / "features")}
    return entry | {"corpus": "mosi", "text": None, "vision": None, "audio": "voices-UTT"}


def unlabel(folder: Path) -> None:
    content = pickle.loads((folder / "labels.pkl").read_bytes())
    content[1]["video0"][1] = np.nan
    (folder / "labels.pkl").write_bytes(pickle.dumps(content, protocol=2))

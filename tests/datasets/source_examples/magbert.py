import pickle
from pathlib import Path

import numpy as np


def make(folder: Path) -> dict:
    """CMU-MOSI as MISA writes it: three lists of examples with words, in a folder."""
    random, words = np.random.default_rng(11), ["so", "good", "a", "movie"]
    for name, count in (("train", 3), ("dev", 2), ("test", 2)):
        examples = []
        for row in range(count):
            said = words[: 2 + row]
            vision, audio = (random.normal(size=(len(said), width)) for width in (4, 3))
            label = np.array([[1.5 - row]], np.float32)
            examples.append(((np.arange(len(said)), vision, audio, said), label, f"{name}video[{row}]"))
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(examples))
    return {"source": "magbert", "file": str(folder), "encoder": "minilm"}


def unlabel(folder: Path) -> None:
    examples = pickle.loads((folder / "train.pkl").read_bytes())
    examples[0][1][:] = np.nan
    (folder / "train.pkl").write_bytes(pickle.dumps(examples))

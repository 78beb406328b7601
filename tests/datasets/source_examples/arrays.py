from pathlib import Path

import numpy as np
import pandas as pd

from elision.task import SPLITS


def make(folder: Path) -> dict:
    """Transcripts; audio with ids in another order, of which a sample has none; vision with a frame that was lost."""
    random, ids = np.random.default_rng(11), [f"clip {k}" for k in range(6)]
    table = {"id": ids, "label": [1.0, -2.5, 0.0, 3.0, 0.5, 1.5], "split": [*SPLITS, *SPLITS]}
    table |= {"text": "some words", "speaker": [*"aabbcc"], "duration": 1.5, "label_audio": 0.5}
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    np.savez(
        folder / "audio.npz", values=random.normal(3, 2, (5, 3, 4)), ids=np.array(ids[:0:-1]), lengths=[3, 1, 2, 3, 2]
    )
    vision = random.normal(3, 2, (6, 2, 3))
    vision[2, 1] = np.nan
    np.save(folder / "vision.npy", vision)
    return {
        "source": "arrays",
        "table": str(folder / "table.csv"),
        "audio": {"file": str(folder / "audio.npz"), "values": "values", "ids": "ids", "lengths": "lengths"},
        "vision": {"file": str(folder / "vision.npy"), "missing_values": ["nan"]},
    }


def unlabel(folder: Path) -> None:
    table = (folder / "table.csv").read_text()
    (folder / "table.csv").write_text(table.replace("clip 0,1.0,", "clip 0,nan,"))

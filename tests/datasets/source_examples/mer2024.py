from pathlib import Path

import numpy as np

EMOTIONS = ("neutral", "angry", "happy", "sad", "worried", "surprise")


def make(folder: Path) -> dict:
    """Labelled clips, and a pool without labels; one feature set."""
    labelled = {f"sample_{k:03}": {"emo": EMOTIONS[k % 6]} for k in range(30)}
    pool = {f"other_{k:03}": {"emo": "neutral"} for k in range(4)}
    np.savez_compressed(folder / "label-6way.npz", train_corpus=labelled, test1_corpus=pool)
    (folder / "features" / "voices-UTT").mkdir(parents=True)
    for k, name in enumerate([*labelled, *pool]):
        vector = np.random.default_rng(k).normal(3, 2, 4).astype(np.float32)
        np.save(folder / "features" / "voices-UTT" / f"{name}.npy", vector)
    entry = {"source": "mer2024", "labels": str(folder / "label-6way.npz"), "features": str(folder / "features")}
    return entry | {"text": None, "vision": None, "audio": "voices-UTT"}


def unlabel(folder: Path) -> None:
    arrays = {name: array.item() for name, array in np.load(folder / "label-6way.npz", allow_pickle=True).items()}
    arrays["train_corpus"]["sample_000"]["emo"] = None
    np.savez_compressed(folder / "label-6way.npz", **arrays)

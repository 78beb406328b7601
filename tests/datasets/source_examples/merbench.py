from pathlib import Path

import numpy as np


def make(folder: Path) -> dict:
    """IEMOCAP with four numbers of classes, of which the file does not say the names; one feature set."""
    names = [f"Ses0{k % 5 + 1}F_impro0{k // 10}_{'FM'[k % 2]}{k:03}" for k in range(40)]
    corpus = {name: {"emo": (k + k // 4) % 4, "val": -10} for k, name in enumerate(names)}
    np.savez_compressed(folder / "label_4way.npz", whole_corpus=corpus)
    (folder / "features" / "voices-UTT").mkdir(parents=True)
    for k, name in enumerate(names):
        vector = np.random.default_rng(k).normal(3, 2, 5).astype(np.float32)
        np.save(folder / "features" / "voices-UTT" / f"{name}.npy", vector)
    entry = {"source": "merbench", "labels": str(folder / "label_4way.npz"), "features": str(folder / "features")}
    return entry | {"corpus": "iemocap", "audio": "voices-UTT", "classes": ["happy", "sad", "neutral", "angry"]}


def unlabel(folder: Path) -> None:
    corpus = np.load(folder / "label_4way.npz", allow_pickle=True)["whole_corpus"].item()
    next(iter(corpus.values()))["emo"] = float("nan")
    np.savez_compressed(folder / "label_4way.npz", whole_corpus=corpus)

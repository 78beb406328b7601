import wave
from pathlib import Path

import numpy as np

from elision.task import SPLITS


def make(folder: Path) -> dict:
    """A clip of each split with sound, words and a transcript in a file, and one that is only text."""
    rows = ["id,path,transcript,words,label,split,speaker"]
    for k, split in enumerate(SPLITS):
        with wave.open(str(folder / f"sound_{k}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(np.random.default_rng(k).integers(-900, 900, 8000, np.int16).tobytes())
        (folder / f"said_{k}.txt").write_text("some words")
        (folder / f"times_{k}.csv").write_text("word,start,end\nsome,0.1,0.2\nwords,0.2,0.4\n")
        rows.append(f"clip {k},sound_{k}.wav,said_{k}.txt,times_{k}.csv,{k - 1.5},{split},speaker {k}")
    (folder / "only_said.txt").write_text("only words")
    rows.append("clip 3,,only_said.txt,,0.5,train,")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return {"source": "clips", "folder": str(folder)}


def unlabel(folder: Path) -> None:
    table = (folder / "clips.csv").read_text()
    (folder / "clips.csv").write_text(table.replace(",0.5,train,", ",N/A,train,"))

from pathlib import Path

import av
import numpy as np

from elision.task import SPLITS


def make(folder: Path) -> dict:
    """Four clips of two videos, in the layout of MMSA."""
    rows = ["video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"]
    for k, split in enumerate([*SPLITS, "train"]):
        video, clip = f"video_000{k // 2}", f"000{k}"
        (folder / "Raw" / video).mkdir(parents=True, exist_ok=True)
        with av.open(str(folder / "Raw" / video / f"{clip}.mp4"), "w") as container:
            stream = container.add_stream("libx264", 10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for n in range(4):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * n + k, np.uint8), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        rows.append(f"{video},{clip},some words,{k / 2 - 1},0.5,0,-0.5,Neutral,{split}")
    (folder / "label.csv").write_text("\n".join(rows) + "\n")
    return {"source": "mmsa_raw", "folder": str(folder), "corpus": "sims"}


def unlabel(folder: Path) -> None:
    table = (folder / "label.csv").read_text()
    (folder / "label.csv").write_text(table.replace("words,0.5,0.5,", "words,,0.5,"))

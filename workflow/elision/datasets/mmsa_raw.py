"""The raw videos of MMSA and MMSA-FET: a table ``label.csv``, and a folder ``Raw`` with a folder for each video.

======================== ===========================================================================================
``label.csv``            ``video_id``, ``clip_id``, ``text``, ``label``, ``mode`` (train, valid, test), and optionally
                         ``label_T``, ``label_A``, ``label_V``; other columns, such as ``annotation``, as in ``clips``
``Raw/VIDEO/CLIP.mp4``   the clip of a row; ``1`` is also the clip ``0001.mp4``, since Excel removes such zeros
======================== ===========================================================================================

CMU-MOSI, CMU-MOSEI and CH-SIMS are passed on in this layout (https://github.com/thuiar/MMSA). Ids become
``video_id$_$clip_id``, as in the feature files of MMSA.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from elision.datasets import clips
from elision.datasets._found import Folder
from elision.datasets._tables import Row, Table
from elision.errors import plural
from elision.files import is_file

if TYPE_CHECKING:
    import pandas as pd

MAKES = "clips"
DIALOGUES = True

_NAMES = {"split": "mode", "label_text": "label_T", "label_audio": "label_A", "label_vision": "label_V"}
_DIGITS = 4  # of the names of clips in CH-SIMS


class Settings(clips.Settings):
    """Raw videos in the layout of MMSA."""

    source: Literal["mmsa_raw"] = Field(description="raw videos of MMSA: label.csv and the folder Raw")
    folder: Path = Field(description="the folder that holds label.csv and Raw")
    table: str = Field("label.csv", description="name of the table in the folder")


def inputs(settings: Settings) -> list[Path]:
    """Return the table and the clips that exist."""
    return clips.inputs(settings, _read)


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise ``label.csv`` and the folder ``Raw``."""
    return {"folder": "."} if {"label.csv", "Raw"} <= set(folder.names) else None


def training_size(settings: Settings) -> int | None:
    """Return how many rows of the table are of the split train; None, where it cannot be read."""
    return clips.training_size(settings, _read)


def columns(settings: Settings) -> list[str] | None:
    """Return the columns of the table that are none of ours; None, where it cannot be read."""
    return clips.columns(settings, _read)


def prepare(settings: Settings, folder: Path) -> "pd.DataFrame":
    """Read and check the table and every clip; see `clips.prepare`.

    Raises
    ------
    ElisionError
        Lists every problem of the table and of the files.
    """
    return clips.prepare(settings, folder, _read)


def _read(path: Path, settings: Settings) -> tuple[Table, list[str]]:
    """Return the table with the id and the path of each clip."""
    table, problems = clips.read_table(path, settings, _NAMES)
    if lost := [name for name in ("video_id", "clip_id") if name not in table.columns]:
        told = "source mmsa_raw reads label.csv of MMSA; for another table, write source: clips"
        return table, [*problems, f"there is no column {' and no column '.join(lost)}; {told}"]
    rows, padded = [], 0
    for row in table.rows:
        video, clip = row.cells["video_id"], row.cells["clip_id"]
        whole = clip.zfill(_DIGITS)
        if not is_file(_clip(settings.folder, video, clip)) and is_file(_clip(settings.folder, video, whole)):
            clip, padded = whole, padded + (clip != whole)
        cells = {"id": f"{video}$_${clip}", "path": str(_clip(Path(), video, clip))}
        rows.append(Row(row.line, row.cells | cells, row.noun))
    notes = [*table.notes, *([f"{plural(padded, 'clip')} found with leading zeros, as 0001 for 1"] if padded else [])]
    kept = [name for name in table.columns if name not in ("id", "path")]
    return Table(["id", "path", *kept], rows, notes), problems


def _clip(folder: Path, video: str, clip: str) -> Path:
    return folder / "Raw" / video / f"{clip}.mp4"

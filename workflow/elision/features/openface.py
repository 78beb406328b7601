"""Vision features that OpenFace 2 measured: a CSV file per clip, in place of the features of the video.

OpenFace's ``FeatureExtraction`` writes a row per frame of the video. A frame without ``success`` was not observed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from elision.errors import ElisionError
from elision.features.fill import fill
from elision.features.media import kept_until
from elision.readers import Frames, opened
from elision.settings.params import Features
from elision.store import Extracted, Header

EXTRACTOR = "OpenFace 2 (CSV files)"


def read(path: Path) -> Frames:
    """Read the file of a clip.

    Parameters
    ----------
    path : Path

    Returns
    -------
    frames : Frames
        ``values`` [T, d] float32, NaN where OpenFace had no success; with ``times`` and ``features``.

    Raises
    ------
    ElisionError
        If the file is no file of OpenFace, or has numbers that are not finite where there was success.
    """
    try:
        with opened(path) as file:
            found = file.find("")
    except FileNotFoundError:
        raise ElisionError(f"{path} does not exist; run OpenFace on the clip again") from None
    except KeyError as error:
        raise ElisionError(f"{path}: there is no column {error}") from None
    except ElisionError as error:
        raise ElisionError(f"{path} {error}") from None
    if not isinstance(found, Frames) or found.lost is None or found.times is None:
        raise ElisionError(
            f"{path} is no file of OpenFace 2: there are no columns timestamp, confidence and success; make the file "
            "with FeatureExtraction"
        )
    with np.errstate(over="ignore"):
        values = np.where(found.lost[:, np.newaxis], np.nan, found.values).astype(np.float32)
    if not np.isfinite(values[~found.lost]).all():
        raise ElisionError(f"{path} holds nan or inf in a frame with success; run OpenFace on the clip again")
    return Frames(values, features=found.features, times=found.times, lost=found.lost)


def reader(table: pd.DataFrame, features: Features) -> tuple[Callable[[Any], Extracted], Header]:
    """Return a function from a clip (None: no data) to what its file holds, and the header of such sequences.

    Frames keep the times of the file. They end where audio ends, if ``max_length`` cuts the media of the clip.

    Parameters
    ----------
    table : pd.DataFrame
        Of the clips; ``openface`` is the path of the file of a clip, or None.
    features : Features
        ``vision.fill``: what frames without success are filled with. ``vision.centre == "clip"``: the mean of the
        observed frames of a clip is subtracted.

    Raises
    ------
    ElisionError
        If the first file cannot be read.
    """
    first = read(Path(table["openface"].dropna().iloc[0]))
    centre = features.vision.centre == "clip"

    def values(clip: Any) -> Extracted:
        if clip is None or not isinstance(clip.openface, str):
            return Extracted(np.zeros((0, len(first.features)), np.float32), np.zeros(0))
        found = read(Path(clip.openface))
        if found.features != first.features:
            raise ElisionError(
                f"{clip.openface} has other columns than the file of clip {table['id'].iloc[0]!r}; run OpenFace on all "
                "clips with the same options"
            )
        end = kept_until(clip.path, audio=features.audio, vision=features.vision) if clip.path else None
        frames, times, facts = found.values, found.times[:, 0], {}
        if end is not None and (times >= end).any():
            frames, times, facts = frames[times < end], times[times < end], {"cut": float(end)}
        frames, filled = fill(frames, features.vision.fill, times)
        if filled:
            facts["filled_frames"] = filled
        seen = frames[~np.isnan(frames).any(axis=1)]
        return Extracted(frames - seen.mean(0) if centre and len(seen) else frames, times, facts)

    steps = np.diff(first.times[:, 0])
    header = Header(
        modality="vision",
        length=sys.maxsize,
        rate=round(1 / float(np.median(steps)), 3) if len(steps) and np.median(steps) > 0 else None,
        features=first.features,
        extractor=EXTRACTOR,
        settings={"centre": "clip" if centre else "none", "fill": features.vision.fill},
    )
    return values, header

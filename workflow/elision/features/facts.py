"""What is said of how clips were read: in the log of ``merge``, and in the report."""

from collections.abc import Mapping

import numpy as np

from elision.errors import plural
from elision.store import Sequences

_NAMED = 5  # clips that a sentence names


def sentences(sequences: Sequences, ids: list[str]) -> list[str]:
    """Say what was cut, filled, chosen and not found in the clips of one modality; nothing where all is as expected.

    Parameters
    ----------
    sequences : Sequences
        Of a modality that was extracted from clips.
    ids : list of N str
        The clips.
    """
    modality, facts = sequences.header.modality, sequences.header.facts
    said = _of_model(sequences)
    if modality == "text":
        if cut := _with(facts, "tokens"):
            lost = sum(cut.values()) - len(cut) * sequences.header.length
            said.append(
                f"features.text.max_length cuts {plural(len(cut), 'transcript')}: {plural(lost, 'token')} "
                f"left out: {_named(cut)}."
            )
        return said
    if cut := _with(facts, "cut"):
        first, last = min(cut.values()), max(cut.values())
        after = f"{first:.2f} s" if last - first < 0.01 else f"{first:.2f} to {last:.2f} s"
        said.append(f"max_length cuts the {modality} of {plural(len(cut), 'clip')} after {after}: {_named(cut)}.")
    if filled := _with(facts, "filled"):
        said.append(
            f"Silence fills {sum(filled.values()):.2f} s of {plural(len(filled), 'clip')}, "
            f"where the audio track starts late or pauses: {_named(filled)}."
        )
    if tracks := _with(facts, "track"):
        kind = "video" if modality == "vision" else modality
        chosen = _named([f"{clip} (track {track})" for clip, track in tracks.items()])
        said.append(f"{plural(len(tracks), 'clip')} with several {kind} tracks; FFmpeg's choice is read: {chosen}.")
    if silent := _with(facts, "silent"):
        said.append(f"{plural(len(silent), 'audio track')} with nothing but silence: {_named(silent)}.")
    if others := _with(facts, "others"):
        said.append(
            f"The face jumps to another person in {plural(len(others), 'clip')}: "
            f"{plural(sum(others.values()), 'frame')} count as not observed: {_named(others)}."
        )
    if modality == "vision" and len(sequences.values):
        faces = share_of_faces(sequences)
        faceless = [clip for clip, share in zip(ids, faces, strict=True) if share == 0]
        filled = _with(facts, "filled_frames")
        seen = float(np.mean(~np.isnan(sequences.values).any(axis=1))) - sum(filled.values()) / len(sequences.values)
        rows = "clips" if sequences.header.settings.get("pool") == "mean" else "frames"
        said.append(f"A face is observed in {100 * seen:.4g} % of the {rows}.")
        if filled:
            frames = plural(sum(filled.values()), "frame")
            said.append(
                f"features.vision.fill gives values to {frames} without a face, in {plural(len(filled), 'clip')}: "
                f"{_named(filled)}."
            )
        if faceless:
            said.append(f"No face is observed in {len(faceless)} of {_filmed(faces)}: {_named(faceless)}.")
    return said


def _of_model(sequences: Sequences) -> list[str]:
    """Say which model of the hub made the features, its licence, and their width and rate."""
    header = sequences.header
    settings = header.settings
    if header.extractor != "hf":
        return []
    modality = header.modality.removesuffix("_features")
    each = "clip" if settings.get("pool") == "mean" else "token" if modality == "text" else "frame"
    rate = f", {header.rate:g} frames per second" if header.rate else ""
    return [
        f"The {modality} features are hidden states of {settings['model']} ({header.version}; licence: "
        f"{settings['licence']}): {plural(sequences.width, 'number')} per {each}{rate}."
    ]


def warning(sequences: Sequences) -> str | None:
    """Say that most clips with a video have no face; None otherwise."""
    if sequences.header.modality != "vision" or not sequences.lengths.any():
        return None
    faces = share_of_faces(sequences)
    faceless = int((faces == 0).sum())
    if 2 * faceless <= int((faces >= 0).sum()):
        return None
    return (
        f"No face is observed in {faceless} of {_filmed(faces)}: methods see no vision there. Check that the videos "
        "show faces, or train without vision."
    )


def share_of_faces(sequences: Sequences) -> np.ndarray:
    """Return the share of observed frames of each sequence [shape=(N,), dtype=float64]; NaN without frames."""
    return np.array([np.mean(~np.isnan(frames).any(axis=1)) if len(frames) else np.nan for frames in sequences])


def _filmed(faces: np.ndarray) -> str:
    return f"{plural(int((faces >= 0).sum()), 'clip')} with a video"


def _with(facts: Mapping[str, dict], name: str) -> dict:
    return {clip: found[name] for clip, found in facts.items() if name in found}


def _named(clips: Mapping | list) -> str:
    more = f" and {len(clips) - _NAMED} more" if len(clips) > _NAMED else ""
    return ", ".join(list(clips)[:_NAMED]) + more

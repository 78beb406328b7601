"""Where the sequences of a modality lie in files of arrays, and how they are read from there, sample by sample."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

from elision.arrayfiles import check_size
from elision.datasets._paths import ALLOW, below
from elision.datasets._problems import some
from elision.errors import ElisionError, plural
from elision.files import is_file
from elision.progress import Reporter
from elision.readers import Entries, File, Frames, npy, opened, texts_of
from elision.store import Header, Sequences

_OF_ALL = ("ids", "lengths", "offsets")
_NUMBERS = "biuf"  # kinds of dtype
_MOST = 20  # names in a message
_SAME_RATE = 0.01  # by which the rates of samples may differ, as a share

log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """What the table says of a sample that has to do with files.

    Attributes
    ----------
    id, split, video : str
        As the table has them; empty where it has none.
    start, end : float
        Seconds in the video; NaN: the whole video.
    """

    id: str
    split: str = ""
    video: str = ""
    start: float = np.nan
    end: float = np.nan


def _by_name(number: Any) -> Any:
    """JSON has no nan and no inf, so settings hold them by name."""
    return str(number) if isinstance(number, float) and not np.isfinite(number) else number


Number = Annotated[FiniteFloat | Literal["nan", "inf", "-inf"], BeforeValidator(_by_name)]


class Array(BaseModel):
    """Where the sequences of one modality are, and how they lie there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path = Field(
        description="the file, of any form that is read; {id}, {split} and {video} stand for those of the sample"
    )
    values: str | None = Field(
        None,
        description="name of the array: a path in HDF5 or a pickle, a Parquet column, or patterns of CSV columns. "
        "It may hold {id}, {split} and {video}. null: .npy, .csd, or all features of a CSV file",
    )
    ids: str | None = Field(
        None, description="array of the ids, in the same file or a .npy file; null: in the order of the table"
    )
    lengths: str | None = Field(None, description="array of the frames of each sequence, as for ids")
    offsets: str | None = Field(None, description="array of N + 1 starts in values (sum of lengths, d), as for ids")
    transposed: bool = Field(False, description="values are (N, d, T), or (d, T) for a sample, instead of (N, T, d)")
    width: int | None = Field(
        None, ge=1, description="dimensions of a frame, where the file holds each sequence as one row of numbers"
    )
    padding: Literal["none", "start", "end", "both"] | None = Field(
        None,
        description="where frames of only pad_value are cut off; null: at the end of (N, T, d) without lengths, "
        "otherwise none",
    )
    pad_value: Number = Field(0.0, description="see padding; a number or nan")
    missing_values: tuple[Number, ...] = Field(
        (), description="numbers, or nan, inf, -inf, that stand for something missing: the frame was not observed"
    )
    missing_if: Literal["any", "all"] = Field(
        "any", description="a frame was not observed if any, or all, of its values are missing_values"
    )
    confidence: float | None = Field(
        None, ge=0, le=1, description="OpenFace: frames with less confidence than this were not observed"
    )
    rate: float | None = Field(None, gt=0, description="frames per second; null: as the times in the file say, if any")
    max_length: int | None = Field(None, ge=1, description="frames; longer sequences are cut at their end; null: none")
    extractor: str = Field("unknown (feature file)", description="what made the values, for the record")

    @model_validator(mode="after")
    def _agree(self) -> "Array":
        given = [name for name in ("lengths", "offsets", "padding") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"there are both {' and '.join(given)}; keep one of them")
        of_all = [name for name in _OF_ALL if getattr(self, name) is not None]
        if of_all and self.each:
            by = "{id}" if "{id}" in f"{self.file} {self.values}" else "{video}"
            raise ValueError(f"with {by} every sample has an array of its own; leave out {' and '.join(of_all)}")
        return self

    @property
    def each(self) -> bool:
        """Whether every sample, or every video, has an array of its own."""
        return "{id}" in f"{self.file} {self.values}" or self.by_video

    @property
    def by_video(self) -> bool:
        """Whether arrays are those of videos, which hold several samples."""
        return "{video}" in f"{self.file} {self.values}"

    @property
    def names(self) -> dict[str, str]:
        """What stands in the settings that name arrays."""
        return {name: value for name in ("values", *_OF_ALL) if (value := getattr(self, name)) is not None}


# --- the files


def existing_files(array: Array, samples: list[Sample], *, outside: bool) -> list[Path]:
    """Return the files of a modality that exist."""
    files = {path for part in _parts(array, samples, outside)[0] for path in _files(part)}
    return sorted(path for path in files if is_file(path))


def _is_file(name: str | None) -> bool:
    return name is not None and name.endswith(".npy")


def _files(part: Array) -> set[Path]:
    """Return the files that hold the arrays of a group of samples."""
    return {part.file, *(Path(name) for name in part.names.values() if _is_file(name))}


def _parts(array: Array, samples: list[Sample], outside: bool) -> tuple[dict[Array, list[int]], list[str]]:
    """Group samples by the file and the arrays in it that hold them.

    Each group has its ``Array``, with ``{split}`` filled in, and in the names of files also ``{id}`` and ``{video}``.
    What would lead to files that may not be read is returned as problems.
    """
    parts: dict[Array, list[int]] = {}
    wrong: dict[str, list[str]] = {}
    for row, sample in enumerate(samples):
        try:
            file = Path(_filled(str(array.file), sample, outside))
            names = {
                name: _filled(value, sample, outside) if _is_file(value) else value.replace("{split}", sample.split)
                for name, value in array.names.items()
            }
            for name, value in names.items():
                if _is_file(value) and not _is_file(getattr(array, name)):
                    raise ElisionError(
                        f"split {sample.split!r} makes {name} the path of a file; give the split another name"
                    )
        except ElisionError as error:
            wrong.setdefault(str(error), []).append(sample.id)
            continue
        parts.setdefault(array.model_copy(update={"file": file, **names}), []).append(row)
    return parts, [f"{array.file}: {plural(len(of), 'sample')} ({some(of)}): {what}" for what, of in wrong.items()]


def _filled(path: str, sample: Sample, outside: bool) -> str:
    """Fill the places of id, split and video in the path of a file, which may not lead out of the path's folder."""
    filled = path
    for place in ("split", "id", "video"):
        filled = filled.replace(f"{{{place}}}", getattr(sample, place))
    if outside or filled == path:
        return filled
    first = min(at for place in ("{split}", "{id}", "{video}") if (at := path.find(place)) >= 0)
    folder = Path(os.path.dirname(path[:first]))  # noqa: PTH120 - keeps a final slash
    try:
        return str(below(folder, os.path.abspath(filled)))  # noqa: PTH100
    except ElisionError:
        what = "id, split or video" if "{video}" in path else "id or split"
        raise ElisionError(f"{what} leads out of {folder}; rename it, and the file, or {ALLOW}") from None


# --- the sequences


def read_sequences(
    modality: str, array: Array, samples: list[Sample], *, outside: bool
) -> tuple[Sequences | None, list[str]]:
    """Read one modality of the samples, and find what is wrong with it.

    Parameters
    ----------
    modality : str
    array : Array
    samples : list of Sample
    outside : bool
        Whether ids, splits and videos may lead to files outside of the folder that ``array.file`` names.

    Returns
    -------
    sequences : Sequences or None
        Length 0 where a file holds nothing of a sample; None if anything is wrong.
    problems : list of str
    """
    ids = [sample.id for sample in samples]
    found: list[Frames | None] = [None] * len(ids)
    parts, problems = _parts(array, samples, outside)
    wrong, size, stored, cut = {}, 0, 0, []
    with Reporter(f"read {modality}", len(ids)) as progress:
        for part, rows in parts.items():
            try:
                stored += sum(path.stat().st_size for path in _files(part) if is_file(path))
                with opened(part.file) as file:
                    frames_of, padding = _layout(file, part, [samples[row] for row in rows], array, set(ids))
                    for k, row in enumerate(rows):
                        try:
                            found[row], is_cut = _clean(frames_of(k), part, padding)
                        except ElisionError as error:
                            wrong.setdefault(str(error), []).append(ids[row])
                        else:
                            cut += [ids[row]] if is_cut else []
                            size += 0 if found[row] is None else found[row].values.nbytes
                            check_size(size, stored, "together the samples have")
                        progress.advance()
            except FileNotFoundError:
                if not array.each or not {"{id}", "{video}"} & set(_places_in(str(array.file))):
                    problems.append(f"{part.file}: no such file; check the path in params.yaml")
            except ElisionError as error:
                problems += [f"{part.file}: {line}" for line in str(error).split("\n")]
            except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
                problems.append(f"{part.file}: cannot be read ({str(error) or type(error).__name__}); is it whole?")
    problems += [f"{array.file}: {plural(len(rows), 'sample')} ({some(rows)}): {what}" for what, rows in wrong.items()]

    there = {sample: frames for sample, frames in zip(ids, found, strict=True) if frames is not None}
    widths = {frames.values.shape[1]: sample for sample, frames in there.items()}
    if len(widths) > 1:
        shown = ", ".join(f"{width} ({sample!r})" for width, sample in sorted(widths.items()))
        flat = all(len(frames.values) == 1 for frames in there.values()) and array.width is None
        hint = "; if these are sequences in one row each, set width: to the dimensions of a frame" if flat else ""
        problems.append(f"{array.file}: the samples differ in dimensions: {shown}{hint}")
    if not widths and not problems:
        problems.append(
            f"{array.file}: there is nothing of any sample, such as {some(ids)}; are the ids spelled as in the table?"
        )
    if problems:
        return None, problems

    (width,) = widths
    features = {tuple(frames.features) for frames in there.values()}
    header = Header(
        modality=modality,
        length=max(len(frames.values) for frames in there.values()),
        rate=array.rate or _rate(modality, list(there.values())),
        features=list(features.pop()) if len(features) == 1 else [],
        extractor=array.extractor,
        settings=array.model_dump(mode="json", exclude={"rate", "extractor"}),
    )
    nothing = np.zeros((0, width), np.float32)
    values = [nothing if frames is None else frames.values for frames in found]
    made = Sequences.of(values, header, _times(modality, array, found))
    if absent := [sample for sample in ids if sample not in there]:
        log.info("%s: absent from %s: %s", modality, plural(len(absent), "sample"), some(absent))
    if cut:
        log.info("%s: %s longer than max_length, cut: %s", modality, plural(len(cut), "sample"), some(cut))
    if lost := int(np.isnan(made.values).any(1).sum()):
        log.info("%s: %s of %d not observed", modality, plural(lost, "frame"), len(made.values))
    return made, []


def _places_in(path: str) -> Iterator[str]:
    return (place for place in ("{id}", "{video}", "{split}") if place in path)


def _times(modality: str, array: Array, found: list[Frames | None]) -> list[np.ndarray] | None:
    """Return the seconds at which the frames of each sample begin; None: ``rate`` is set, or files do not say."""
    there = [frames for frames in found if frames is not None]
    timed = [frames for frames in there if frames.times is not None]
    if not timed or array.rate is not None:
        return None
    wrong = sum(bool((np.diff(frames.times[:, 0]) < 0).any()) for frames in timed)
    if wrong or len(timed) < len(there):
        log.info(
            "%s: times of frames are not kept: %s without times, %s with times that fall",
            modality,
            plural(len(there) - len(timed), "sample"),
            plural(wrong, "sample"),
        )
        return None
    return [np.zeros(0) if frames is None else frames.times[:, 0] for frames in found]


def _rate(modality: str, found: list[Frames]) -> float | None:
    """Return the frames per second that the times of the files say; None: they say none, or not the same."""
    steps = [np.diff(frames.times[:, 0]) for frames in found if frames.times is not None and len(frames.times) > 1]
    steps = [float(np.median(step)) for step in steps if np.median(step) > 0]
    if not steps:
        return None
    if max(steps) - min(steps) > _SAME_RATE * max(steps):
        log.info(
            "%s: from %.4g to %.4g frames per second, so no rate is kept", modality, 1 / max(steps), 1 / min(steps)
        )
        return None
    return round(1 / float(np.median(steps)), 3)


def _find(file: File, name: str, *, called: str | None) -> Any:
    """Return an array, ``called`` so in messages; of HDF5 a dataset, which is read where it is indexed.

    The settings, which give what it is ``called``, say whether it is a file of its own; an id of the table does not.
    """
    import h5py  # params import this module, and so every job does

    try:
        found = npy.one(Path(name)) if _is_file(called) else file.find(name)
    except FileNotFoundError:
        raise ElisionError(f"{called}: no such file; check the path in params.yaml") from None
    if isinstance(found, h5py.Group):
        raise ElisionError(f"{called} is a group; name an array in it: {', '.join(list(found)[:_MOST])}")
    return found


def _named(file: File, name: str | None) -> Any:
    """Return an array that must be there."""
    try:
        if name is None and file.default is None:
            raise KeyError(name)
        return _find(file, file.default if name is None else name, called=name)
    except KeyError:
        missing = f"there is no array {name}" if name else "values does not say which array"
        raise ElisionError(f"{missing}; there is: {', '.join(file.names[:_MOST]) or 'none'}") from None


def _layout(
    file: File, part: Array, samples: list[Sample], array: Array, everyone: set[str]
) -> tuple[Callable[[int], Frames | None], str]:
    """Return a function from the number of a sample to its frames, if it has any, and where these have padding."""
    padding = part.padding or "none"
    if file.entries is not None and part.values is None:
        return lambda k: _entry(file.entries, samples[k]), padding
    if array.each:
        return _own(file, part, samples, array), padding

    values, name = _named(file, part.values), part.values or "the array"
    if isinstance(values, Frames):
        return _rows(file, part, values, samples, everyone), padding

    def of_entries(entry: Callable[[int], Any], count: int) -> Callable[[int], Frames | None]:
        places = _places(file, part, samples, count, everyone)
        return lambda k: None if places[k] is None else _frames(entry(places[k]))

    if isinstance(values, Entries):
        if part.lengths or part.offsets:
            raise ElisionError(f"{name} holds an array per sample; leave out lengths and offsets")
        return of_entries(values.entry, len(values)), padding
    shape = values.shape
    if len(shape) > 1 and values.dtype.kind not in _NUMBERS and not isinstance(values, np.ndarray):
        raise ElisionError(f"{name} does not hold numbers")
    if len(shape) == 2 and not part.width:
        edges = _edges(file, part, shape[0])
        return of_entries(lambda i: values[edges[i] : edges[i + 1]], len(edges) - 1), padding
    if len(shape) == 2 and not part.offsets and not part.lengths:
        return of_entries(lambda i: values[i], len(values)), part.padding or "end"
    if len(shape) == 3 and part.lengths:
        frames, last = (shape[2], shape[1]) if part.transposed else (shape[1], shape[2])
        lengths = _whole_numbers(file, part.lengths, frames)
        if lengths is None or len(lengths) != shape[0]:
            other = _whole_numbers(file, part.lengths, last)
            hint = "" if other is None or lengths is not None else "; if values are (N, d, T), set transposed: true"
            raise ElisionError(
                f"{part.lengths} are not {shape[0]} numbers up to {frames}, as {name} has shape {shape}{hint}"
            )
        if part.transposed:
            return of_entries(lambda i: values[i, :, : lengths[i]], len(values)), padding
        return of_entries(lambda i: values[i, : lengths[i]], len(values)), padding
    if len(shape) == 3 and not part.offsets:
        return of_entries(lambda i: values[i], len(values)), part.padding or "end"
    raise ElisionError(f"{name} has shape {shape}, not (N, d), (N, T, d) or, with offsets, (sum of lengths, d)")


def _frames(found: Any) -> Frames | None:
    """Return what a reader gives of a sample as frames; an array of HDF5 is read here."""
    if found is None or isinstance(found, Frames):
        return found
    if isinstance(found, Entries):
        rows = [np.asarray(row) for row in found]
        if len({row.shape for row in rows}) > 1 or any(row.ndim != 1 for row in rows):
            raise ElisionError("a list of arrays instead of an array of numbers")
        found = np.stack(rows) if rows else np.zeros(0)
    if getattr(getattr(found, "dtype", None), "kind", "") not in _NUMBERS:
        raise ElisionError("not numbers")
    return Frames(np.array(found))


def _own(file: File, part: Array, samples: list[Sample], array: Array) -> Callable[[int], Frames | None]:
    """Return the frames of samples that have an array of their own, or of their video, as far as they are there."""
    if not {"{id}", "{video}"} & set(_places_in(part.values or "")):
        found = _frames(_named(file, part.values))
        return lambda k: _cut(found, samples[k]) if array.by_video else found

    def own(k: int) -> Frames | None:
        name = part.values.replace("{id}", samples[k].id).replace("{video}", samples[k].video)
        try:
            found = _frames(_find(file, name, called=part.values))
        except KeyError:
            return None
        return _cut(found, samples[k]) if array.by_video else found

    return own


def _entry(entries: Any, sample: Sample) -> Frames | None:
    """Return the frames of a sample out of a file of sequences, which names samples, or videos that hold them."""
    if sample.id in entries:  # whose times are those of the video
        frames = entries[sample.id]
        first = float(frames.times[0, 0]) if len(frames.times) else 0.0
        return _from(frames, first if np.isnan(sample.start) else sample.start)
    return _cut(entries[sample.video], sample) if sample.video and sample.video in entries else None


def _cut(frames: Frames | None, sample: Sample) -> Frames | None:
    """Return the frames of a video whose middle lies in a sample, from its start to before its end."""
    if frames is None or np.isnan(sample.start):
        return frames
    if frames.times is None:
        raise ElisionError(
            "the file does not say when its frames are, so that those from start to end cannot be found; save an array "
            "per sample instead"
        )
    last = float(frames.times.max(initial=0))
    if sample.start > last:
        raise ElisionError(
            f"start is after the end of its video ({last:.1f} s); write start and end in seconds from the start of the "
            "video"
        )
    middle = frames.times.mean(1)
    inside = np.flatnonzero((middle >= sample.start) & (middle < sample.end))
    if not len(inside):
        return None
    first, stop = inside[0], inside[-1] + 1
    kept = inside - first
    found = replace(
        frames,
        values=frames.values[first:stop][kept],
        times=frames.times[inside],
        lost=None if frames.lost is None else frames.lost[inside],
        confidence=None if frames.confidence is None else frames.confidence[inside],
    )
    return _from(found, sample.start)


def _from(frames: Frames, second: float) -> Frames:
    """Return frames whose times count from a second of theirs; what begins before begins at 0."""
    return replace(frames, times=(frames.times - second).clip(0))


def _rows(
    file: File, part: Array, frames: Frames, samples: list[Sample], everyone: set[str]
) -> Callable[[int], Frames | None]:
    """Return the rows of a text file that are of each sample: several with the same id are a sequence."""
    if part.lengths or part.offsets or part.transposed:
        raise ElisionError("is a file with a row per frame; leave out lengths, offsets and transposed")
    if part.ids is None:
        places = _places(file, part, samples, len(frames.values), everyone)
        rows_of = {sample.id: [place] for sample, place in zip(samples, places, strict=True)}
    else:
        rows_of, names = {}, _ids(file, part, len(frames.values))
        for row, name in enumerate(_matched(names, everyone)):
            rows_of.setdefault(name, []).append(row)
        _check_known(part, list(rows_of), samples, everyone)

    def of_sample(k: int) -> Frames | None:
        rows = rows_of.get(samples[k].id)
        if rows is None:
            return None
        return replace(
            frames,
            values=frames.values[rows],
            times=None if frames.times is None else frames.times[rows],
            lost=None if frames.lost is None else frames.lost[rows],
            confidence=None if frames.confidence is None else frames.confidence[rows],
        )

    return of_sample


def _matched(names: list[str], everyone: set[str]) -> list[str]:
    """Return ids as the table spells them: openSMILE writes the path of a file, of which the id may be the name."""
    if set(names) & everyone:
        return names
    for shorter in (lambda name: Path(name).stem, lambda name: Path(name).name):
        if set(short := list(map(shorter, names))) & everyone:
            log.info("ids are the names of files, such as %r", names[0])
            return short
    return names


def _edges(file: File, part: Array, rows: int) -> np.ndarray:
    """Return where each sequence starts in an array [rows, d], and after the last one where it ends."""
    if part.offsets:
        edges = _whole_numbers(file, part.offsets, rows)
        if edges is None or not (
            len(edges) > 1 and edges[0] == 0 and edges[-1] == rows and (np.diff(edges) >= 0).all()
        ):
            raise ElisionError(
                f"{part.offsets} are not N + 1 numbers that rise from 0 to {rows}, the end of the values"
            )
        return edges
    lengths = _whole_numbers(file, part.lengths, rows) if part.lengths else np.ones(rows, np.int64)
    if lengths is None:
        raise ElisionError(f"{part.lengths} has a length above {rows}, but there are {rows} rows of values")
    if lengths.sum() != rows:
        raise ElisionError(f"{part.lengths} sum to {lengths.sum()}, but there are {rows} rows of values")
    return np.concatenate([[0], np.cumsum(lengths)])


def _whole_numbers(file: File, name: str, most: int) -> np.ndarray | None:
    """Return an array of whole numbers; None: one is larger than ``most``, and maybe than any integer of a machine."""
    found = _named(file, name)
    if isinstance(found, Frames):
        found = found.values
    numbers = np.array([-1.0])
    if isinstance(found, Entries) or found.dtype.kind in "SUO":  # whoever writes text keeps numbers as text
        with suppress(ElisionError, ValueError):
            numbers = np.array(texts_of(found, name), dtype=object).astype(np.float64)
    elif found.dtype.kind in _NUMBERS:
        numbers = np.asarray(found).ravel()
    if not (np.isfinite(numbers) & (numbers >= 0) & (np.floor(numbers) == numbers)).all():
        raise ElisionError(f"{name} are not whole numbers from 0")
    return numbers.astype(np.int64) if (numbers <= most).all() else None


def _ids(file: File, part: Array, count: int) -> list[str]:
    found = _named(file, part.ids)
    found = texts_of(found.values if isinstance(found, Frames) else found, part.ids)
    if len(found) != count:
        raise ElisionError(f"{part.ids} has {plural(len(found), 'id')} for {plural(count, 'sequence')}")
    return found


def _check_known(part: Array, found: list[str], samples: list[Sample], everyone: set[str]) -> None:
    """Count the ids of a file that the table does not have, and refuse a file of a split with ids of another one."""
    known = {sample.id for sample in samples}
    table = [sample.id for sample in samples]
    if elsewhere := [name for name in found if name not in known and name in everyone]:
        raise ElisionError(
            f"{part.ids} has {plural(len(elsewhere), 'id')} that the table has in another split ({some(elsewhere)}); "
            "move them to the file of that split"
        )
    unknown = [name for name in found if name not in known]
    if unknown and len(unknown) == len(found):
        raise ElisionError(
            f"{part.ids} has no id of the table; spell ids alike (the table: {some(table)}; the file: {some(unknown)})"
        )
    if unknown:
        log.info(
            "%s: %s that the table does not have left out: %s", part.file, plural(len(unknown), "id"), some(unknown)
        )


def _places(file: File, part: Array, samples: list[Sample], count: int, everyone: set[str]) -> list[int | None]:
    """Return which of the ``count`` sequences of a file each sample has; None: none of them."""
    if part.ids is None:
        if count != len(samples):
            raise ElisionError(
                f"{plural(count, 'sequence')} for {plural(len(samples), 'sample')} of the table, and no ids to match "
                "them by; say with ids: which array has them"
            )
        log.info("%s: matched with the table by order, because ids are not given", part.file)
        return list(range(count))
    found = _ids(file, part, count)
    if repeated := [name for name, times in Counter(found).items() if times > 1]:
        raise ElisionError(
            f"{part.ids} has {plural(len(repeated), 'id')} more than once ({some(repeated)}); keep one each"
        )
    _check_known(part, found, samples, everyone)
    place = {name: i for i, name in enumerate(found)}
    return [place.get(sample.id) for sample in samples]


def _clean(frames: Frames | None, part: Array, padding: str) -> tuple[Frames | None, bool]:
    """Cut off what is padding or too long, and mark frames that were not observed, of one sample.

    Returns
    -------
    frames : Frames or None
        ``values`` [T, d] are float32, and NaN where not observed; None if nothing is left, or was there.
    cut : bool
        Whether it was longer than ``max_length``.

    Raises
    ------
    ElisionError
        Says what is wrong, to be completed by the names of the samples.
    """
    if frames is None or not frames.values.size:
        return None, False
    values = np.asarray(frames.values)
    if values.dtype.kind not in _NUMBERS:
        raise ElisionError("not numbers")
    if part.width:
        if values.size % part.width or max(values.shape) < values.size:
            raise ElisionError(f"shape {values.shape}, not one row of numbers, {part.width} for each frame")
        values = values.reshape(-1, part.width)
    if values.ndim == 1:
        values = values[np.newaxis]
    elif part.transposed and values.ndim == 2:
        values = values.T
    if values.ndim != 2:
        raise ElisionError(f"shape {values.shape}, not (T, d) or (d,)")
    first, last = 0, len(values)
    if padding != "none":
        real = np.flatnonzero(~_equal(values, part.pad_value).all(1))
        first = int(real.min(initial=len(values))) if padding in ("start", "both") else 0
        last = int(real.max(initial=-1)) + 1 if padding in ("end", "both") else len(values)
    cut = part.max_length is not None and last - first > part.max_length
    kept = slice(first, first + part.max_length if cut else last)
    values = _float32(values[kept])
    if not len(values):
        return None, False
    missing = np.any([np.zeros(values.shape, bool), *(_equal(values, n) for n in part.missing_values)], axis=0)
    lost = missing.all(1) if part.missing_if == "all" else missing.any(1)
    if frames.lost is not None:
        lost |= frames.lost[kept]
    if part.confidence is not None:
        if frames.confidence is None:
            raise ElisionError("no columns success and confidence, as OpenFace writes them; leave out confidence")
        lost |= ~(frames.confidence[kept] >= part.confidence)
    if not np.isfinite(values[~lost]).all():
        raise ElisionError(
            "nan or inf; set missing_values: [nan] if this means that a frame was not observed, or write a number there"
        )
    values = np.where(lost[:, np.newaxis], np.float32(np.nan), values) if lost.any() else values
    return replace(frames, values=values, times=None if frames.times is None else frames.times[kept]), cut


def _equal(frames: np.ndarray, number: float | str) -> np.ndarray:
    frames, number = _float32(frames), np.float32(number)
    return np.isnan(frames) if np.isnan(number) else frames == number


def _float32(frames: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return frames.astype(np.float32, copy=False)

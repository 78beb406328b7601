"""Noises of one's own: recordings in a folder, such as MUSAN's."""

from pathlib import Path

import numpy as np
from pydantic import Field

from elision.corruption.media._additive import Additive
from elision.corruption.media._speech import at_level_one, looped
from elision.corruption.medium import Clip, SoundKind
from elision.errors import ElisionError

_ENDINGS = ("aac", "aif", "aiff", "au", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav", "wma")


class Noises(Additive):
    """A recording is drawn for each clip, cut or repeated from a place that is drawn as well.

    Which recording a clip has depends on the names of the others: a folder with more files gives other noise. MUSAN is
    D. Snyder, G. Chen and D. Povey, "MUSAN: a music, speech, and noise corpus", arXiv:1510.08484.
    """

    name = "noises"
    caption = "Own noises"
    about = "Recordings of noise from a folder of yours are added to the sound."

    class Options(SoundKind.Options):
        """Where the recordings are."""

        folder: str = Field(
            "",
            description="folder with recordings of noise, also in folders within; "
            f"files that end otherwise are ignored: {', '.join(_ENDINGS)}",
        )

    options: Options

    def files(self) -> list[Path]:
        """List the recordings of the folder and of the folders in it, by their names.

        Raises
        ------
        ElisionError
            If no folder is given, or it holds no recording.
        """
        folder = Path(self.options.folder)
        if not self.options.folder:
            raise ElisionError("corruption noises: no folder; give corruption.media.noises.folder, such as musan/noise")
        if not folder.is_dir():
            raise ElisionError(f"corruption noises: {folder} is no folder; correct corruption.media.noises.folder")
        found = [path for path in folder.rglob("*.*") if path.suffix[1:].lower() in _ENDINGS and path.is_file()]
        if not found:
            raise ElisionError(
                f"corruption noises: {folder} holds no recording; put files in it that end in {', '.join(_ENDINGS)}"
            )
        return sorted(found, key=lambda path: path.relative_to(folder).as_posix())

    def noise(
        self, size: int, rate: int, clip: Clip, random: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, float]]:
        from elision.features.media import read_audio  # needs PyAV, which only steps that extract features have

        files = self.files()
        path = files[int(random.random() * len(files))]
        recording = read_audio(path, sample_rate=rate)
        noise = None if recording is None else at_level_one(recording, rate)
        if noise is None:
            raise ElisionError(f"{path}: is silent and makes no noise; take it out of the folder")
        return looped(noise, size, random), {}

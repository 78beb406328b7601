"""Progress of long work: a bar in a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 10.0


class Reporter:
    """Shows how far a piece of work has come; a context manager.

    Parameters
    ----------
    description : str
        What is being done, as in "extract audio of demo".
    total : int
        Number of steps.
    """

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self._start = self._last = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            from rich import progress  # most processes write a log, and need not import it

            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
            times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
            self._bar = progress.Progress(*columns, *times, progress.TextColumn("{task.fields[note]}"))
            self._task = self._bar.add_task(description, total=total, note="")

    def __enter__(self) -> "Reporter":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Count finished steps; ``note`` says how it stands (a loss, a file name)."""
        self.done += steps
        if self._bar:
            self._bar.update(self._task, advance=steps, note=note)
            return
        now = time.monotonic()
        if self.done >= self.total or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            left = (now - self._start) / max(self.done, 1) * (self.total - self.done)
            print(
                f"{self.description}: {self.done}/{self.total}, {left:.0f} s left {note}", file=sys.stderr, flush=True
            )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield items and show how many are done."""
    items = items if total is not None else list(items)
    with Reporter(description, len(items) if total is None else total) as reporter:
        for item in items:
            yield item
            reporter.advance()

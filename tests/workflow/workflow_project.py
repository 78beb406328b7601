"""Running the real workflow at small scale, each run in a folder of its own."""

import atexit
import copy
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import warm
import yaml

REPOSITORY = Path(__file__).parent.parent.parent

SMALL = {
    "datasets": {"demo": {"source": "demo", "clips": 12}},
    "methods": ["majority", {"self_mm-short": {"method": "self_mm", "epochs": 4, "batch_size": 4, "accumulate": 1}}],
    "seeds": [1],
    "teachers": {},
    "features": {"shards": 1, "vision": {"fps": 10}},
    "corruption": {"random": [0.0, 0.5, 0.9]},
    "train": {"device": "cpu"},
    "statistics": {"resamples": 100},
}

CLASSES = {"task": "classification", "classes": ["negative", "neutral", "positive"], "cuts": [-1.0, 1.0]}
FOLDS = {"by": "speaker", "count": 2, "validation": 0.2}


def changed(original=SMALL, **sections):
    params = copy.deepcopy(original)
    for section, values in sections.items():
        params[section] = {**params[section], **values} if isinstance(values, dict) else values
    return params


METRICS = ("metrics.parquet", "metrics.json", "intervals.parquet", "tables/random_missing.csv")


class Project:
    """A folder with a params.yaml, in which the workflow runs."""

    def __init__(self, folder: Path, params: dict) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.write(params)

    def write(self, params: dict) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def python(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, *arguments]

    def command(self, *arguments: str) -> list[str]:
        where = ("-s", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder))
        return self.python("snakemake", *where, *arguments)

    def environment(self) -> dict[str, str]:
        bin_folder = str(Path(sys.executable).parent)
        return {**os.environ, "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])}

    def snakemake(self, *arguments: str, check: bool | None = True, **variables: str) -> str:
        """Run Snakemake and return its output; ``check``: whether it must succeed or fail (None: either)."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environment(), **variables},
            check=False,
        )
        output = done.stdout + done.stderr
        assert check is None or check == (done.returncode == 0), output[-6000:]
        return output

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start in a process group of its own, so that all of it can be killed."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment(),
            start_new_session=True,
        )

    def elision(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.python("elision", *arguments),
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            check=False,
        )

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Names and numbers of the jobs that would run."""
        lines = self.snakemake("-n", "--quiet", "rules", "--cores", "2", *arguments).splitlines()
        if not any(line.startswith("Job stats") for line in lines):
            return {}
        start = next(i for i, line in enumerate(lines) if line.startswith("Job stats"))
        counts = {}
        for line in lines[start + 3 :]:
            words = line.split()
            if len(words) != 2 or not words[1].isdigit():
                break
            counts[words[0]] = int(words[1])
        counts.pop("total", None)
        counts.pop("all", None)
        return counts


@cache
def server() -> Path:
    """Start the process whose forks run the programs of `Warm` projects; it ends with the tests. See ``warm.py``."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    command = [sys.executable, warm.__file__, str(folder)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def end() -> None:
        started.communicate()  # it ends when its stdin does
        shutil.rmtree(folder)

    atexit.register(end)
    (folder / "shell").write_text(warm.shell(str(folder)))
    while not (folder / "socket").exists():
        assert started.poll() is None, "the server of warm programs did not start"
        time.sleep(0.05)
    return folder


class Warm(Project):
    """A project whose Snakemake and jobs import no library anew, on Linux: a third of the time, and the same bytes."""

    def python(self, module: str, *arguments: str) -> list[str]:
        if sys.platform != "linux":
            return super().python(module, *arguments)
        return [*warm.client(str(server())), module, *arguments]

    def environment(self) -> dict[str, str]:
        if sys.platform != "linux":
            return super().environment()
        return {**super().environment(), "BASH_ENV": str(server() / "shell")}


def browse(page: Path) -> None:
    """Open a report in headless Chromium, on a phone: nothing goes wrong, curves answer, tables sort."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium on the PATH")
    said: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": 360, "height": 740})
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: said.append(request.url) if request.url != page.as_uri() else None)
        shown.goto(page.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= 360
        chart = shown.locator("#charts .chart").first
        chart.locator(".series").first.wait_for(state="attached")
        before = chart.inner_html()
        metric = shown.get_by_label("Metric", exact=True)
        metric.select_option(index=metric.locator("option").count() - 1)
        chart.locator(".series").first.wait_for(state="attached")
        assert shown.locator("#charts .chart").first.inner_html() != before
        table = shown.locator("table", has=shown.locator("thead button")).first
        table.locator("thead button").nth(1).press("Enter")
        assert table.locator("th").nth(1).get_attribute("aria-sort") in ("ascending", "descending")
        browser.close()
    assert said == []


# The whole chain but extraction, in seconds: arrays of vectors, and a method without a text encoder.
TINY = {
    "results": "results",
    "datasets": {
        "first": {
            "source": "arrays",
            "table": "data/first/samples.csv",
            "audio": {"file": "data/first/arrays.npz", "values": "audio"},
            "vision": {"file": "data/first/arrays.npz", "values": "vision"},
            "task": "classification",
            "classes": ["negative", "positive"],
            "cuts": [0.0],
        }
    },
    "methods": ["majority", {"ae": {"batch_size": 8, "learning_rate": 0.01}}],
    "seeds": [1],
    "teachers": {},
    "features": {},
    "corruption": {"random": [0.0, 0.5], "absent": False},
    "train": {"device": "cpu", "epochs": 10},
    "statistics": {"resamples": 100},
}


def write_arrays(folder: Path, *, seed: int = 7) -> None:
    """Write the user's files of a dataset of `TINY`: random vectors with a label in them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    labels = np.round(random.uniform(-3, 3, 120), 1)
    arrays = {name: random.normal(labels[:, None], 4, (120, 4)).astype(np.float32) for name in ("audio", "vision")}
    np.savez(folder / "arrays.npz", **arrays)
    splits = ["train"] * 50 + ["valid"] * 20 + ["test"] * 50
    rows = [f"sample_{i},{labels[i]},{split},someone_{i % 10}\n" for i, split in enumerate(splits)]
    (folder / "samples.csv").write_text("id,label,split,speaker\n" + "".join(rows))


class Repository(Project):
    """A clone of the project with small params, in which DVC and its own Snakefile run."""

    def command(self, *arguments: str) -> list[str]:
        return self.python("snakemake", *arguments)

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        environment |= {"PYTHONPATH": str(self.folder / "workflow"), "DVC_NO_ANALYTICS": "true"}
        return {key: value for key, value in environment.items() if key != "ELISION_PARAMS"}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, env=self.environment(), check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)

    @classmethod
    def of_project(cls, folder: Path) -> "Repository":
        """Commit the project as it stands, with the params `TINY` and data under DVC."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "docs/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, folder / name)
        made = cls(folder, TINY)
        write_arrays(folder / "data" / "first")
        made.git("init", "-q")
        made.dvc("add", "-q", "data/first")
        made.git("add", "-A")
        made.git("commit", "-qm", "start")
        return made

    def clone(self, folder: Path) -> "Repository":
        """Clone it and pull all artifacts."""
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        other = Repository(folder, yaml.safe_load((folder / "params.yaml").read_text()))
        other.git("checkout", "-q", "--", "params.yaml")
        other.dvc("pull", "-q")
        return other

    def metrics(self) -> dict[str, bytes]:
        return {name: (self.folder / "results" / name).read_bytes() for name in METRICS}

    def tree(self) -> dict[str, tuple[int, int]]:
        """Size and time of all files that are not caches."""
        files = [p for p in self.folder.rglob("*") if p.is_file()]
        kept = [p for p in files if not {"__pycache__", ".snakemake", ".git"} & set(p.parts)]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in kept}


class WarmRepository(Warm, Repository):
    """A clone whose Snakemake and jobs import no library anew; what DVC runs starts as ever."""

"""Running the real workflow at small scale, each run in a folder of its own."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent.parent

SMALL = {
    "datasets": {"demo": {"source": "demo", "clips": 12}},
    "methods": ["majority", {"self_mm-short": {"method": "self_mm", "epochs": 4, "batch_size": 4, "accumulate": 1}}],
    "seeds": [1],
    "stages": {},
    "features": {"shards": 2, "vision": {"fps": 10}},
    "corruption": {"random": [0.0, 0.5, 0.9]},
    "train": {"device": "cpu"},
    "statistics": {"resamples": 100},
}

CLASSES = {"task": "classification", "classes": ["negative", "neutral", "positive"], "cuts": [-1.0, 1.0]}
FOLDS = {"by": "speaker", "count": 2, "validation": 0.2}


def changed(**sections):
    params = copy.deepcopy(SMALL)
    for section, values in sections.items():
        params[section] = {**params[section], **values} if isinstance(values, dict) else values
    return params


class Project:
    """A folder with a params.yaml, in which the workflow runs."""

    def __init__(self, folder: Path, params: dict) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.write(params)

    def write(self, params: dict) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        profile = str(REPOSITORY / "workflow" / "profiles" / "default")
        snakefile = str(REPOSITORY / "Snakefile")
        python = [sys.executable, "-m", "snakemake", "-s", snakefile, "--workflow-profile", profile]
        return [*python, "--directory", str(self.folder), *arguments]

    def environment(self) -> dict[str, str]:
        bin_folder = str(Path(sys.executable).parent)
        return {**os.environ, "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])}

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            check=False,
        )
        output = done.stdout + done.stderr
        if check:
            assert done.returncode == 0, output[-6000:]
        else:
            assert done.returncode != 0, output[-6000:]
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
            [sys.executable, "-m", "elision", *arguments],
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

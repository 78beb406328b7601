"""Where every file of a run lies. Arguments may be Snakemake wildcards, such as ``"{dataset}"``."""

from dataclasses import dataclass
from pathlib import Path

from elision.settings.params import Params, encoded, extracted, retrieves


@dataclass(frozen=True)
class Layout:
    """Paths under the results folder."""

    root: Path = Path("results")

    @property
    def unused(self) -> Path:
        """Finished work that the params do not ask for."""
        return self.root / "unused"

    @property
    def accepted(self) -> Path:
        """Code that the user accepted though it had changed."""
        return self.root / "accepted.json"

    def log(self, *name: str) -> Path:
        """Log of a job: ``logs/RULE/DATASET.METHOD.RUN.log``."""
        return self.root / "logs" / self._job(name, "log")

    def benchmark(self, *name: str) -> Path:
        """Cost of a job: ``benchmarks/RULE/DATASET.METHOD.RUN.tsv``."""
        return self.root / "benchmarks" / self._job(name, "tsv")

    @staticmethod
    def _job(name: tuple[str, ...], ending: str) -> Path:
        rule, *of = name
        return Path(rule, f"{'.'.join(of)}.{ending}") if of else Path(f"{rule}.{ending}")

    def manifest(self, stage: str) -> Path:
        """Checksums of what the params ask for of a stage."""
        return self.root / stage / "MANIFEST"

    def clips(self, dataset: str) -> Path:
        """Table of the clips of a dataset that comes as media."""
        return self.root / "datasets" / dataset / "clips.parquet"

    def media(self, dataset: str) -> Path:
        """Folder of the media that a source makes itself."""
        return self.root / "datasets" / dataset / "clips"

    def shard(self, dataset: str, modality: str, shard: int | str) -> Path:
        """Features of one shard of the clips."""
        return self.root / "datasets" / dataset / "shards" / f"{modality}.{shard}.safetensors"

    def store(self, dataset: str) -> Path:
        """Folder of a dataset's store."""
        return self.root / "datasets" / dataset

    def samples(self, dataset: str) -> Path:
        """Table of the utterances; stands for the whole store, being written last."""
        return self.store(dataset) / "samples.parquet"

    def sequences(self, dataset: str, modality: str) -> Path:
        """Sequences of one modality."""
        return self.store(dataset) / f"{modality}.safetensors"

    def alignment(self, dataset: str) -> Path:
        """Frames of every text token."""
        return self.store(dataset) / "alignment.safetensors"

    def text_vectors(self, dataset: str) -> Path:
        """Hidden states of every text token."""
        return self.store(dataset) / "text_vectors.safetensors"

    def corruptions(self, dataset: str) -> tuple[Path, Path]:
        """Draws and description of every test condition."""
        folder = self.root / "corruptions"
        return folder / f"{dataset}.safetensors", folder / f"{dataset}.json"

    def corrupted_shard(self, dataset: str, kind: str, shard: int | str) -> Path:
        """Features of one shard of the test clips under one kind of corrupted media."""
        return self.root / "corruptions" / dataset / "shards" / f"{kind}.{shard}.safetensors"

    def corrupted(self, dataset: str, kind: str) -> tuple[Path, Path]:
        """Features of the test clips under one kind of corrupted media, and what was measured of them."""
        folder = self.root / "corruptions" / dataset
        return folder / f"{kind}.safetensors", folder / f"{kind}.parquet"

    def run(self, dataset: str, method: str, run: str) -> Path:
        """Folder of a trained run."""
        return self.root / "models" / dataset / method / run

    def model(self, dataset: str, method: str, run: str) -> tuple[Path, Path, Path]:
        """Weights, training history, and the record of a run."""
        folder = self.run(dataset, method, run)
        return folder / "model.safetensors", folder / "history.csv", folder / "run.json"

    def database(self, dataset: str, teacher: str, run: str) -> Path:
        """Folder of the retrieval database of a teacher."""
        return self.run(dataset, teacher, run) / "database"

    def database_files(self, dataset: str, teacher: str, run: str) -> list[Path]:
        """Files of the retrieval database of a teacher."""
        return [self.database(dataset, teacher, run) / "vectors.safetensors"]

    def study(self, dataset: str, method: str, run: str) -> Path:
        """Folder of the search of a method's hyperparameters, by the run that tunes (see ``Params.tuning_run``)."""
        return self.root / "tuning" / dataset / method / run

    def trial(self, dataset: str, method: str, run: str, number: int | str) -> Path:
        """One trial of a search."""
        return self.study(dataset, method, run) / f"trial-{number}.parquet"

    def trials(self, dataset: str, method: str, run: str) -> Path:
        """All trials of a finished search; the best one gives the hyperparameters of the runs."""
        return self.study(dataset, method, run) / "trials.parquet"

    def predictions(self, test: str, method: str, run: str) -> Path:
        """Predictions of a run under every condition of a test (see ``Params.tests``)."""
        return self.root / "predictions" / test / method / f"{run}.parquet"

    def representations(self, test: str, method: str, run: str) -> Path:
        """Fused representations of test samples of a run."""
        return self.root / "representations" / test / method / f"{run}.safetensors"

    def stage(self, name: str, params: Params) -> list[Path]:
        """Every file that a stage owns under the current params."""
        runs = [(t, m, r) for t, (d, _) in params.tests.items() for m in params.variants for r in params.runs(d)]
        if name == "datasets":
            files = []
            for dataset in params.datasets:
                files += [self.samples(dataset), self.alignment(dataset)]
                files += [self.text_vectors(dataset)] if encoded(params, dataset) else []
                if modalities := extracted(params, dataset):
                    files += [self.clips(dataset), *(self.sequences(dataset, m) for m in modalities)]
            return files
        if name == "corruptions":
            corrupted = [(dataset, kind) for dataset in params.datasets for kind in params.media_for(dataset)]
            files = [path for dataset in params.datasets for path in self.corruptions(dataset)]
            return files + [path for pair in corrupted for path in self.corrupted(*pair)]
        if name == "tuning":
            return [self.trials(*study) for study in params.studies]
        if name == "models":
            trained = [(d, m, r) for d in params.datasets for m in params.trained for r in params.runs(d)]
            searched = {retrieves(variant.method) for variant in params.trained.values()} - {""}
            files = [path for run in trained for path in self.model(*run)]
            return files + [path for d, m, r in trained if m in searched for path in self.database_files(d, m, r)]
        if name == "predictions":
            return [self.predictions(*run) for run in runs]
        if name == "representations":
            tests = params.tests.items()
            return [self.representations(t, m, params.runs(d)[0]) for t, (d, _) in tests for m in params.variants]
        raise KeyError(name)


STAGES = ("datasets", "corruptions", "tuning", "models", "predictions", "representations")

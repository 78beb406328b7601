"""Whatever is typed wrongly after `elision` ends with exit code 2 and one line that says what to type."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml

from elision import cli
from elision.errors import ElisionError
from elision.methods import load
from elision.settings import catalogue, params
from elision.settings.params import method_names

PARAMS = {
    "datasets": {"mine": {"source": "demo", "clips": 12}, "file": {"source": "mmsa", "file": "mine.pkl"}},
    "methods": ["majority", "ramer", {"short": {"method": "lnln", "epochs": 1}}],
    "seeds": [1],
    "corruption": {"media": {"white_noise": [1]}},
    "tune": {"trials": 2, "methods": ["short"]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder with a params.yaml."""
    monkeypatch.chdir(tmp_path)
    for variable in ("ELISION_PARAMS", "ELISION_RESULTS"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "a_folder").mkdir()
    return tmp_path


@pytest.fixture
def refused(folder, monkeypatch, capsys):
    """A function that types a line and returns the one line of the refusal."""

    def type_line(line: str) -> str:
        monkeypatch.setattr(sys, "argv", ["elision", *line.split()])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == 2, told
        assert told.startswith("elision: ") and told.count("\n") == 1, told
        return told

    return type_line


def commands(command=None, path=()):
    """Every verb and group by its words."""
    command = command or typer.main.get_command(cli.app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


VERBS = {" ".join(path): command for path, command in commands() if not hasattr(command, "commands")}
GROUPS = [" ".join(path) for path, command in commands() if hasattr(command, "commands")]
RUN = "--dataset mine --method majority --run seed-1"
# A line that is right as far as names go, for every verb that reads a params file.
RIGHT = {
    "prepare": "--dataset mine",
    "extract": "text --dataset mine --shard 0",
    "merge": "text --dataset mine",
    "assemble": "--dataset mine",
    "align": "--dataset mine",
    "encode": "--dataset mine",
    "corrupt": "--dataset mine",
    "corrupt-clips": "--dataset mine --kind white_noise --shard 0",
    "merge-clips": "--dataset mine --kind white_noise",
    "train": RUN,
    "tune": "--dataset mine --method short --run seed-1",
    "index": "--dataset mine --teacher ramer_encoders --run seed-1",
    "evaluate": RUN,
    "collect": "models",
    "aggregate": "",
    "significance": "",
    "examine": "",
    "report": "",
    "headline": "",
    "adopt": "",
    "clean": "",
    "plan": "",
    "params check": "",
    "params show": "majority --dataset mine",
    "export mmsa": "out.pkl --dataset mine",
    "doctor": "",
}
WITHOUT_PARAMS = {
    "corrupt-media",
    "predict",
    "check",
    "methods",
    "protocols",
    "import-data",
    "params schema",
    "profile",
    "fetch",
    "published check",
}
OF_RESULTS = [verb for verb in RIGHT if "results" in {parameter.name for parameter in VERBS[verb].params}]


def test_every_verb_is_tried():
    assert set(VERBS) == {*RIGHT, *WITHOUT_PARAMS}


@pytest.mark.parametrize("verb", RIGHT)
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nowhere.yaml", "nowhere.yaml: the file does not exist"),
        ("a_folder", "a_folder: the file cannot be read"),
        ("binary.yaml", "binary.yaml: the file is not UTF-8"),
        ("a_file/params.yaml", "a_file/params.yaml: the file cannot be read"),
    ],
)
def test_a_wrong_params_file_is_named(refused, verb, file, message):
    assert message in refused(f"{verb} {RIGHT[verb]} --params {file}")


@pytest.mark.parametrize("verb", sorted({*OF_RESULTS} - {"params show"}))  # which may read none
def test_results_are_a_folder(refused, verb):
    assert "a_file is a file; give a folder" in refused(f"{verb} {RIGHT[verb]} --results a_file")
    assert "a_file" in refused(f"{verb} {RIGHT[verb]} --results a_file/below")


@pytest.mark.parametrize(
    "verb", sorted({*OF_RESULTS} - {"prepare", "adopt", "plan", "params show"})
)  # may be the first
def test_results_that_are_missing_are_named(refused, folder, verb):
    assert "nowhere" in refused(f"{verb} {RIGHT[verb]} --results nowhere")
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("verb", [verb for verb, right in RIGHT.items() if "--dataset mine" in right])
def test_an_unknown_dataset_is_answered_with_the_known_ones(refused, verb):
    line = f"{verb} {RIGHT[verb]}".replace("--dataset mine", "--dataset mime")
    assert "no dataset 'mime'; did you mean mine? allowed: file, mine" in refused(line)


@pytest.mark.parametrize("verb", [verb for verb, right in RIGHT.items() if "--run" in right])
@pytest.mark.parametrize("run", ["seed-x", "seed-2", "seed-1.fold-1", "1", "../seed-1"])
def test_an_unknown_run_is_answered_with_the_known_ones(refused, verb, run):
    line = f"{verb} {RIGHT[verb]}".replace("--run seed-1", f"--run {run}")
    assert f"no run {run!r}" in (told := refused(line))
    assert "allowed: seed-1" in told


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --dataset mine --method majorty --run seed-1", "no method 'majorty'; did you mean majority?"),
        ("train --dataset mine --method lnln --run seed-1", "no method 'lnln'"),
        ("evaluate --dataset mine --method ramer_encoders --run seed-1", "no method 'ramer_encoders'; "),
        ("evaluate --dataset mine --method Short --run seed-1", "no method 'Short'; did you mean short?"),
        ("index --dataset mine --teacher majority --run seed-1", "no teacher that a method searches, 'majority'"),
        ("extract smell --dataset mine --shard 0", "'smell' is not extracted from dataset 'mine'"),
        ("extract txt --dataset mine --shard 0", "did you mean text?"),
        ("extract text --dataset file --shard 0", "the dataset consists of features already"),
        ("merge visio --dataset mine", "did you mean vision?"),
        ("extract text --dataset mine --shard -1", "shard -1 does not exist; give a number from 0 to 3"),
        ("extract text --dataset mine --shard 4", "shard 4 does not exist; give a number from 0 to 3"),
        (
            "extract text --dataset mine --shard 1000000000",
            "shard 1000000000 does not exist; give a number from 0 to 3",
        ),
        ("extract text --dataset mine --shard x", "'--shard'"),
        ("collect model", "unknown stage 'model'; did you mean models?"),
        ("params show lnl --dataset mine", "no method 'lnl'; did you mean lnln?"),
        ("adopt --accept-code trian", "unknown step 'trian'; did you mean train?"),
        ("adopt --accept-code complete", "--accept-code: complete is now called assemble; write assemble"),
        ("methods lnl", "unknown method 'lnl'; did you mean lnln?"),
        ("methods --json --dataset-dims mosii", "unknown 'mosii'; did you mean mosi?"),
        ("methods --dataset-dims mosi", "--dataset-dims is for --json"),
        ("methods lnln --json", "leave out lnln"),
        ("export mmsa nowhere/out.pkl --dataset mine", "nowhere is not a folder"),
        ("export mmsa a_folder --dataset mine", "a_folder is a folder"),
        ("export mmsa a_file/out.pkl --dataset mine", "a_file is not a folder"),
        ("import-data a_folder", "is no repository of git"),
        ("import-data a_folder --settings x", "--settings: 'x' is not a mapping"),
        ("predict a.mp4 --model nowhere", "nowhere/run.json does not exist; give the folder of a trained run"),
        ("predict a.mp4 --model a_file", "a_file/run.json does not exist"),
        ("predict a.mp4 --model a_folder", "a_folder/run.json does not exist"),
        ("predict a.mp4 --model a_folder --seed -1", "--seed"),
        ("predict a.mp4 --model a_folder --seed 99999999999999999999", "--seed"),
        ("predict a.mp4 --model a_folder --rates 2", "--rates"),
        ("predict a.mp4 --model a_folder --device gpu", "--device"),
        ("predict --model a_folder", "give clips or --text, or give a table with --clips"),
        ("check lnl", "'lnl' is neither a method nor the folder of a trained run; did you mean lnln?"),
        ("check lnln a_file", "'a_file' is neither a method nor the folder of a trained run"),
        ("check lnln a_folder", "a_folder/run.json does not exist; give the folder of a trained run"),
        ("check mine.py", "mine.py is not in the folder workflow/elision/methods; move the file there"),
        ("fetch pyfeat --folder a_file", "a_file"),
    ],
)
def test_a_wrong_value_is_answered_with_right_ones(refused, folder, line, message):
    before = set(folder.rglob("*"))
    assert message in refused(line)
    assert set(folder.rglob("*")) - before <= {folder / ".snakemake"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import-data nowhere", "nowhere does not exist"),
        ("import-data a_file/below", "a_file/below does not exist"),
        ("import-data a_file", "a_file: no known data found"),
        ("import-data a_folder", "a_folder: no known data found"),
        ("import-data a_folder --name a/b", "'a/b' cannot be the name of a dataset"),
    ],
)
def test_data_that_cannot_be_imported_are_named(refused, folder, line, message):
    subprocess.run(["git", "init", "--quiet"], check=True)
    (folder / ".dvc").mkdir()
    assert message in refused(line)
    assert not (folder / "data").exists()


@pytest.mark.parametrize("path", [*VERBS, *GROUPS])
def test_an_unknown_option_is_refused(refused, path):
    told = refused(f"{path} --no-such-option")
    assert "No such option: --no-such-option" in told and "allowed: " in told
    assert f"see {' '.join(['elision', *path.split()])} --help" in told


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", "No such command 'trian'; did you mean train?"),
        ("params chek", "No such command 'chek'; did you mean check? allowed: schema, check, show"),
        ("complete --dataset mine", "No such command 'complete'; complete is now called assemble; write assemble"),
        ("represent --dataset mine", "evaluate now does the work of represent; write evaluate"),
        ("index --dataset mine --stage ramer_encoders", "--stage is now called --teacher; write --teacher"),
        ("params complete", "No such command 'complete'; allowed: schema, check, show"),
        ("params", "Missing command; allowed: schema, check, show"),
        ("train --datset mine", "No such option: --datset; did you mean --dataset?"),
        ("train", "Missing option '--dataset'"),
        ("aggregate all", "Got unexpected extra argument(s) (all)"),
    ],
)
def test_a_typing_error_is_answered_with_the_right_word(refused, line, message):
    assert message in refused(line)


@pytest.mark.parametrize(
    "error", [PermissionError, NotADirectoryError, IsADirectoryError, FileNotFoundError, FileExistsError, OSError]
)
def test_the_path_that_the_system_refuses_is_named(refused, monkeypatch, error):
    number = {
        PermissionError: errno.EACCES,
        NotADirectoryError: errno.ENOTDIR,
        IsADirectoryError: errno.EISDIR,
        FileNotFoundError: errno.ENOENT,
        FileExistsError: errno.EEXIST,
        OSError: errno.ENAMETOOLONG,
    }[error]

    def fail(*_):
        raise error(number, os.strerror(number), "a/path")

    monkeypatch.setattr(params, "load", fail)
    assert f"a/path: {os.strerror(number).lower()}" in refused("headline")


def test_an_error_that_is_not_of_a_path_keeps_its_traceback(folder, monkeypatch):
    def fail(*_):
        raise ConnectionError("a fault of the program")

    monkeypatch.setattr(params, "load", fail)
    monkeypatch.setattr(sys, "argv", ["elision", "headline"])
    with pytest.raises(ConnectionError):
        cli.main()


@pytest.mark.parametrize("path", ["", *VERBS, *filter(None, GROUPS)])
def test_help_fits_80_columns_and_cuts_no_sentence(monkeypatch, capsys, path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["elision", *path.split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert not ended.value.code
    assert lines and max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]


@pytest.mark.parametrize("name", ["", *method_names()])
def test_the_catalogue_fits_80_columns(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["elision", "methods", *filter(None, [name])])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    if name:
        method = load(name)
        words = " ".join(told.split())
        assert " ".join(method.paper.split()) in words
        for key, field in method.Hyperparameters.model_fields.items():
            assert f" {key}: " in words
            assert " ".join(field.description.split()) in words
    else:
        assert [line.split()[0] for line in told.splitlines()[2:-2]] == method_names()
        assert "…" not in told


def test_the_card_tells_the_values_of_every_corpus():
    text = catalogue.card("lnln")
    assert "fusion_depth: 2 (mosei: 4, sims: 4)" in text
    assert "starts from:   hrlf_teacher" in catalogue.card("hrlf")
    with pytest.raises(ElisionError, match="did you mean lnln"):
        catalogue.card("lnl")


@pytest.mark.parametrize(
    ("paper", "short"),
    [
        ("Zhang, Wang, Yu: Robust Analysis. NeurIPS 2024, arXiv 2409.20012", "Zhang et al. 2024"),
        ("Hu, Li: Two of a Kind. ACL 2021", "Hu and Li 2021"),
        ("Poria: Alone. arXiv 2005.03545, 2020", "Poria 2020"),
        ("Autoencoder baseline of Lian, Chen, Sun: GCNet. TPAMI 2023, arXiv 2203.02177", "Lian et al. 2023"),
        (
            "Tran, Liu, Jin: Imputation. CVPR 2017; in the form of the baseline of Lian et al.: GCNet",
            "Tran et al. 2017",
        ),
        ("", ""),
        ("our own", "our own"),
    ],
)
def test_a_citation_is_the_first_author_and_the_year(paper, short):
    assert catalogue.citation(paper) == short

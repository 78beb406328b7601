"""What Snakemake and docs/conda.md type of conda, done by rattler, the engine of pixi.

Solving, linking and activation are real. Commands and options are those that are used here; others are refused.
CONDA_CHANNEL_ALIAS says where channels are, so that `conda-forge` may be a folder: file:///path/to/channels
A test writes this file to BASE/bin/conda. Packages are kept in BASE/pkgs.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import yaml
from rattler import (
    BuildString,
    Channel,
    ChannelConfig,
    Gateway,
    MatchSpec,
    PackageRecord,
    PrefixRecord,
    RepoDataRecord,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)
from rattler.shell import ActivationVariables, Shell, activate

BASE = Path(__file__).resolve().parent.parent
SUBDIR = "linux-64"


async def solved(file: Path) -> list[RepoDataRecord]:
    """Choose the packages of an environment file."""
    asked = yaml.safe_load(file.read_text())
    alias = ChannelConfig(os.environ["CONDA_CHANNEL_ALIAS"].rstrip("/") + "/")
    return await solve(
        [Channel(name, alias) for name in asked["channels"]],
        [MatchSpec(line) for line in asked["dependencies"]],
        gateway=Gateway(),
        platforms=[SUBDIR, "noarch"],
        virtual_packages=VirtualPackage.detect(VirtualPackageOverrides.from_env()),
    )


def pinned(file: Path) -> list[RepoDataRecord]:
    """Read the packages of a pin file: URLs with checksums."""
    header, *lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert header == "@EXPLICIT", f"{file}: the first line that is no comment must be @EXPLICIT"
    records = []
    for line in lines:
        url, _, md5 = line.partition("#")
        folder, _, name = url.rpartition("/")
        package, version, build = name.removesuffix(".conda").rsplit("-", 2)
        record = PackageRecord(package, version, BuildString(build), 0, SUBDIR, md5=bytes.fromhex(md5))
        records.append(RepoDataRecord(record, name, url, folder.rpartition("/")[0]))
    return records


def create(words: argparse.Namespace) -> None:
    """Create an environment, or with --dry-run say what would be in it."""
    records = pinned(words.file) if words.command == "create" else asyncio.run(solved(words.file))
    if words.dry_run:
        print(*(f"{record.name.normalized} {record.version}" for record in records), sep="\n")
        return
    asyncio.run(install(records, words.prefix, cache_dir=BASE / "pkgs", show_progress=False))
    print(f"{len(records)} packages in {words.prefix}")


def explicit(prefix: Path) -> None:
    """List the packages of an environment as a pin file."""
    print(f"# platform: {SUBDIR}", "@EXPLICIT", sep="\n")
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        record = PrefixRecord.from_path(path)
        print(f"{record.url}#{record.md5.hex()}")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="conda", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    of_env = commands.add_parser("env").add_subparsers(required=True).add_parser("create")
    for each in (of_env, commands.add_parser("create")):
        each.add_argument("--file", type=Path, required=True)
        each.add_argument("--prefix", type=Path)
        for option in ("--quiet", "--no-default-packages", "--dry-run", "--yes"):
            each.add_argument(option, action="store_true")
    listing = commands.add_parser("list")
    for option in ("--explicit", "--md5"):
        listing.add_argument(option, action="store_true", required=True)
    listing.add_argument("--prefix", type=Path, required=True)
    commands.add_parser("shell.activate").add_argument("prefix", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run one command."""
    match sys.argv[1:]:
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(BASE), "platform": SUBDIR}))
            return
        case ["--version"]:
            print("conda 26.7.0")
            return
        case ["config", "--get", "channel_priority", "--json"]:  # rattler knows no other, unless told
            print(json.dumps({"get": {"channel_priority": "strict"}}))
            return
        case ["config", "--set", "channel_priority", "strict"] | ["clean", "-y", "--tarballs"]:
            return
    words = parsed()
    if words.command == "list":
        explicit(words.prefix)
    elif words.command == "shell.activate":
        before = ActivationVariables(os.environ.get("CONDA_PREFIX"))
        print(activate(words.prefix, before, Shell.bash, SUBDIR).script)
    else:
        create(words)


code = 0
try:
    main()
except SystemExit as left:
    code = left.code
except Exception as error:
    print(f"conda: {error}", file=sys.stderr)
    code = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # threads of rattler may outlive the interpreter, which then aborts

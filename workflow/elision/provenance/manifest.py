"""The manifest of a stage: what the params ask for, with checksums, and nothing else beside it."""

import json
from pathlib import Path

from elision.errors import ElisionError, plural
from elision.files import replacing, sha256
from elision.provenance import kept
from elision.provenance.layout import Layout


def collect(layout: Layout, stage: str, files: list[Path], *, folders: list[Path]) -> None:
    """Write ``MANIFEST`` of a stage's folder; what the params do not ask for moves to the unused work.

    Parameters
    ----------
    layout : Layout
    stage : str
    files : list of Path
        The files that the params ask for.
    folders : list of Path
        Folders that are kept whole (media that a source made).

    Raises
    ------
    ElisionError
        If a file is missing.
    """
    if missing := [str(path) for path in files if not path.exists()]:
        raise ElisionError(
            f"{missing[0]} does not exist ({plural(len(missing), 'file')} missing in all); make the file: "
            f"snakemake --cores all {missing[0]}"
        )
    manifest = layout.manifest(stage)
    folder = manifest.parent
    wanted = {manifest, *files}
    for whole in folders:
        wanted |= {path for path in whole.rglob("*") if path.is_file()}
    others = {path for path in folder.rglob("*") if path.is_file()} - wanted
    others = {path for path in others if path.name != ".snakemake_timestamp"}
    # Temporary files of writers that were killed (`files.replacing`, safetensors).
    left = {path for path in others if path.name.startswith(".")}
    for path in left:
        path.unlink()
    if aside := kept.put_aside(layout, others - left):
        print(f"{folder}: moved {plural(aside, 'artifact')} that the params do not ask for to {layout.unused}")
    for inner in filter(Path.is_dir, folder.glob("*")):
        kept.forget_empty(inner)
    lines = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(wanted - {manifest})}
    with replacing(manifest) as temporary:
        temporary.write_text(json.dumps(lines, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, str]:
    """Read a manifest: checksums by name. One that cannot be read lists nothing."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}

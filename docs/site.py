"""Hook of MkDocs: pages of the site that lie in the repository's root, and links between them and docs/.

The README is the first page of the site. A file that any page links to is copied as it is.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parent.parent
_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_FILES = ("params.yaml", "CITATION.cff")


def _link(match: re.Match[str]) -> str:
    target = match[1].removeprefix("../")
    return f"]({_PAGES.get(target, target.removeprefix('docs/'))})"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages and files of the root; their links to docs/ become links within the site."""
    for name, page in _PAGES.items():
        text = re.sub(r"\]\(([^)]+)\)", _link, (_ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    for name in _FILES:
        files.append(File.generated(config, name, content=(_ROOT / name).read_text(encoding="utf-8")))
    return files

import re
from pathlib import Path

import pytest
import yaml

from elision.methods import check, resolve
from elision.settings.params import Params

GUIDE = Path(__file__).parents[2] / "docs" / "ablations.md"
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(next(iter(block.values())))[:40])
def test_the_params_of_the_guide_are_valid_and_every_entry_changes_the_method(block):
    params = Params(**{"datasets": {"demo": {"source": "demo"}}, "methods": ["lnln"], **block})
    check(params)
    for variant in params.methods:
        published, _ = resolve("lnln", "mosi")
        changed, _ = resolve(variant.method, "mosi", variant.overrides)
        assert (changed != published) == (variant.name != "lnln")


def test_the_guide_covers_every_row_of_the_tables():
    entries = [len(block["methods"]) for block in BLOCKS if "methods" in block]
    assert entries == [5, 3, 3, 8, 8, 2]

import json
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from elision.settings.schema import schema

REPOSITORY = Path(__file__).parents[2]


def test_the_schema_accepts_the_params_and_refuses_mistakes():
    validator = Draft202012Validator(schema())
    content = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    validator.validate(content)
    for path, wrong in [
        (("train", "epoch"), 3),
        (("datasets", "demo", "clip"), 3),
        (("methods",), ["lnl"]),
        (("methods",), [{"mine": {"method": "lnln", "epoch": 3}}]),
    ]:
        broken = json.loads(json.dumps(content))
        inner = broken
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong
        assert not validator.is_valid(broken), path

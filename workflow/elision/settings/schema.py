"""The JSON schema of ``params.yaml``, for editors."""

from pydantic import BaseModel

from elision import methods
from elision.settings import params


def schema() -> dict:
    """Return the JSON schema of ``params.yaml``, with the settings of every source and every method."""
    document = params.Params.model_json_schema()
    definitions = document["$defs"]

    def define(name: str, model: type[BaseModel], **properties: dict) -> dict:
        own = model.model_json_schema()
        definitions.update(own.pop("$defs", {}))
        own["properties"] = {**properties, **own["properties"]}
        definitions[name] = own
        return {"$ref": f"#/$defs/{name}"}

    sources = [define(f"source-{name}", params.dataset_source(name).Settings) for name in params.source_names()]
    variants = []
    usable, _ = methods.load_all()
    for name, method in usable.items():
        variants.append(define(f"method-{name}", method.Hyperparameters, method={"const": name}))
    document["properties"]["datasets"] |= {
        "patternProperties": {params.NAME: {"anyOf": sources}},
        "additionalProperties": False,
    }
    entry = {
        "anyOf": [
            {"enum": list(usable)},
            {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"anyOf": variants}},
        ]
    }
    listed = {key: document["properties"]["methods"].pop(key) for key in ("type", "minItems")}
    document["properties"]["methods"].pop("items")
    document["properties"]["methods"]["anyOf"] = [{"const": "all"}, {**listed, "items": entry}]
    for unused in ("Variant", "DatasetSettings"):
        definitions.pop(unused, None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "params.yaml of Elision", **document}

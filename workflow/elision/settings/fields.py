"""What settings are made of: numbers within limits, names, and sections that know their keys."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from itertools import product
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from elision.task import MODALITIES

# Far beyond what anybody needs; a slip of the keyboard is refused before it fills a disk or hangs a job.
LARGEST_SEED = 2**32 - 1
LONGEST = 1_000_000  # frames or tokens of a sequence, epochs, hyperparameters
MOST_ENTRIES = 1000  # of a list
_MOST_SHOWN = 200  # characters of a wrong value, in messages

AS_PROTOCOL = "null: as the protocol says"
Scalable = Literal["audio", "vision"]
SCALABLE: tuple[str, ...] = get_args(Scalable)


def unique(values: list) -> list:
    """Return a list; a value that it holds twice is refused.

    Raises
    ------
    ValueError
    """
    seen: set[str] = set()
    for value in map(str, values):
        if value in seen:
            raise ValueError(f"duplicate entry: {value}")
        seen.add(value)
    return values


def _scaled(value: Any) -> Any:
    """Read true, false or names of modalities, in the order of modalities."""
    if isinstance(value, bool):
        return list(SCALABLE) if value else []
    if not isinstance(value, list) or any(name not in SCALABLE for name in value):
        text = "; text is never scaled" if "text" in short(value) else ""
        raise ValueError(f"found {short(value)}; give true, false, or a list such as [audio] or [audio, vision]{text}")
    return [name for name in SCALABLE if name in unique(value)]


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _each(value: dict) -> list[float | dict[str, float]]:
    """Read rates of single modalities; where a modality has a list, every combination of the lists.

    Modalities that are not named lose nothing. A combination in which nothing is lost is the rate 0.
    """
    if not value:
        raise ValueError("the mapping is empty; give a rate for a modality, such as {text: 0.8, audio: 0.2}")
    lists = []
    for name, rates in value.items():
        if name not in MODALITIES:
            raise ValueError(f"unknown modality {short(name)}; {suggestion(name, list(MODALITIES))}")
        lists.append(rates if isinstance(rates, list) else [rates])
        if not lists[-1] or not all(map(_is_rate, unique(lists[-1]))):
            raise ValueError(f"{name} is {short(rates)}; give a rate from 0 to 1, or a list of rates")
    zero = dict.fromkeys(MODALITIES, 0.0)
    made = [zero | dict(zip(value, map(float, rates), strict=True)) for rates in product(*lists)]
    return [rates if any(rates.values()) else 0.0 for rates in made]


def _one_or_each(value: Any, one: Callable[[Any], float]) -> Any:
    return _each(value) if isinstance(value, dict) else one(value)


def _single(value: Any, one: Callable[[Any], float]) -> Any:
    found = _one_or_each(value, one)
    if isinstance(found, list) and len(found) > 1:
        raise ValueError(f"found {short(value)}; give one rate for each modality")
    return found[0] if isinstance(found, list) else found


def _flat(values: list) -> list:
    """Put the combinations of each entry into one list."""
    flat = [rate for value in values for rate in (value if isinstance(value, list) else [value])]
    if len(flat) > MOST_ENTRIES:
        raise ValueError(f"the lists make {len(flat)} combinations; at most {MOST_ENTRIES} are allowed")
    return unique(flat)


class Section(BaseModel):
    """A mapping of settings that refuses keys which it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Rate = Annotated[float, Field(ge=0, le=1)]
_NUMBER = {"type": "number", "minimum": 0, "maximum": 1}


def _schema(of_modality: dict) -> WithJsonSchema:
    properties = dict.fromkeys(MODALITIES, of_modality)
    return WithJsonSchema(
        {"anyOf": [_NUMBER, {"type": "object", "properties": properties, "additionalProperties": False}]}
    )


_AS_IT_IS = PlainSerializer(lambda value: value)
# A rate, or {text: 0.8, audio: 0.2, vision: 0.2}. In a list, a modality may have several: every combination is meant.
AnyRate = Annotated[Rate, WrapValidator(_single), _AS_IT_IS, _schema(_NUMBER)]
_Rates = Annotated[
    Rate, WrapValidator(_one_or_each), _AS_IT_IS, _schema({"anyOf": [_NUMBER, {"type": "array", "items": _NUMBER}]})
]
Rates = Annotated[list[_Rates], AfterValidator(_flat), Field(max_length=MOST_ENTRIES)]
# Rates of all modalities alike.
SharedRates = Annotated[list[Rate], AfterValidator(unique), Field(max_length=MOST_ENTRIES)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Scaled = Annotated[list[Scalable], BeforeValidator(_scaled, json_schema_input_type=bool | list[Scalable])]
Length = Annotated[int, Field(ge=1, le=LONGEST)]


class Rated(Section):
    """A section that tests missing rates. A list stands for its rates alone."""

    rates: Rates = Field([], description="missing rates to test")

    @model_validator(mode="before")
    @classmethod
    def _read_list(cls, value: Any) -> Any:
        return {"rates": value} if isinstance(value, list) else value


def suggestion(word: str, allowed: list[str]) -> str:
    """Return "did you mean ...? allowed: ..." for a word that is not allowed."""
    near = get_close_matches(str(word), allowed, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"allowed: {', '.join(allowed) or 'nothing'}"


def explained(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return a line per mistake: the key, what is wrong, what is allowed."""
    lines = []
    for problem in error.errors():
        *parents, last = problem["loc"] or ("",)
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            fields = _fields_at(model, parents)
            lines.append(f"{key}: unknown key; {suggestion(str(last), fields)}")
        elif problem["type"] == "model_type":
            named = ", ".join(_fields_at(model, [*parents, last]))
            lines.append(f"{key}: found {short(problem['input'])}; give a mapping of some of the keys {named}")
        elif problem["type"] == "value_error":
            lines += [
                line if not key else f"{key}.{line}" if "." in line.split(":")[0] else f"{key}: {line}"
                for line in str(problem["ctx"]["error"]).split("\n")
            ]
        else:
            allowed = re.findall("'([^']*)'", problem.get("ctx", {}).get("expected", ""))
            near = get_close_matches(str(problem["input"]), allowed, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            lines.append(f"{key}: {problem['msg']} (found {short(problem['input'])}){hint}")
    return lines


def short(value: Any) -> str:
    """Return the beginning of what a value looks like."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _fields_at(model: type[BaseModel], parents: list) -> list[str]:
    for part in parents:
        field = model.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)

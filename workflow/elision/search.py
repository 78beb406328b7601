"""What tuning searches: the space of a method, by rule from the fields of its hyperparameters."""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field, ValidationError, WrapValidator, model_validator

from elision.settings.fields import LONGEST, MOST_ENTRIES, Section, explained, short

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

# What decides the samples of a split, or what is missing of them: scores of other values could not be compared.
OF_DATA = frozenset({"corruption", "rates", "with_complete", "noise", "intensity", "modalities", "alignment"})

_FACTOR = 10.0  # learning rates and weights: from a tenth of the default to ten times the default
_DROPOUT = 0.5  # largest dropout, unless the default is larger


class Range(Section):
    """The numbers from ``low`` to ``high``; whole numbers for a hyperparameter that is a whole number."""

    low: float = Field(ge=-LONGEST, le=LONGEST, description="smallest value")
    high: float = Field(ge=-LONGEST, le=LONGEST, description="largest value")
    log: bool = Field(False, description="true: draw the logarithm of the value evenly; needs low > 0")

    @model_validator(mode="after")
    def _check_ends(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be smaller")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}; log: true needs a positive value")
        return self

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


Choices = list[str | bool | int | float | None]
Searched = Range | Choices


def _entry(value: Any, _: Any) -> Searched | None:
    """Read a range, a list of values, or null; pydantic would explain what is wrong with each of the three."""
    if value is None or isinstance(value, Range):
        return value
    if isinstance(value, dict):
        try:
            return Range.model_validate(value)
        except ValidationError as error:
            raise ValueError("; ".join(explained(error, Range))) from None
    if isinstance(value, list) and all(each is None or isinstance(each, str | bool | int | float) for each in value):
        if 2 <= len(set(map(repr, value))) == len(value) <= MOST_ENTRIES:
            return value
        raise ValueError(f"a list needs at least two values, each once: found {short(value)}")
    raise ValueError(f"give {{low: ..., high: ...}}, a list of values, or null (not searched); found {short(value)}")


Entry = Annotated[Searched | None, WrapValidator(_entry)]  # None: the hyperparameter is not searched


def space(
    values: "BaseModel",
    *,
    fixed: Collection[str] = (),
    own: Mapping[str, Entry] | None = None,
    asked: Mapping[str, Entry] | None = None,
) -> dict[str, Searched]:
    """Return what tuning searches for a method on a dataset.

    By rule, three kinds of fields are searched, as far as their default is not 0 (a loss that is off stays off):
    learning rates, and weights (of losses, and weight decay), from a tenth of the default to ten times the default on
    a log scale; and dropouts, from 0 to 0.5. The limits of the field apply. A field is known by the words of its name.

    Parameters
    ----------
    values : BaseModel
        The hyperparameters of the method on the dataset.
    fixed : collection of str
        Hyperparameters that a row of ``methods:`` or a protocol sets; they are not searched, unless ``asked``.
    own : mapping, optional
        ``Method.search_space``: entries of the method in place of the rule.
    asked : mapping, optional
        ``tune.space`` of the row: entries of the user in place of all others.

    Returns
    -------
    space : dict of str to Range or list
        In the order of the fields; empty, where nothing is searched.

    Examples
    --------
    >>> from pydantic import BaseModel
    >>> class Hyperparameters(BaseModel):
    ...     learning_rate: float = 0.001
    ...     dropout: float = 0.3
    ...     weight_decay: float = 0.0
    ...     layers: int = 2
    >>> {name: str(found) for name, found in space(Hyperparameters()).items()}
    {'learning_rate': '0.0001 to 0.01 (log)', 'dropout': '0 to 0.5'}
    """
    entries: dict[str, Entry] = {
        name: _by_rule(name, getattr(values, name), field, values) for name, field in type(values).model_fields.items()
    }
    entries |= {name: entry for name, entry in (own or {}).items() if name in entries}
    entries |= dict.fromkeys(set(fixed) & set(entries))
    entries |= {name: entry for name, entry in (asked or {}).items() if name in entries}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _by_rule(name: str, value: Any, field: "FieldInfo", values: "BaseModel") -> Range | None:
    words = name.split("_")
    if not isinstance(value, float) or (name.endswith("text_encoder") and not values.finetune_text_encoder):
        return None
    if "dropout" in words:
        return _within(field, 0.0, max(_DROPOUT, value), log=False)
    if value > 0 and ("weight" in words or "learning_rate" in name):
        return _within(field, float(f"{value / _FACTOR:.6g}"), float(f"{value * _FACTOR:.6g}"), log=True)
    return None


def _within(field: "FieldInfo", low: float, high: float, *, log: bool) -> Range | None:
    """Make a range inside the limits of a field; None, where a limit leaves nothing."""
    for limit in field.metadata:
        low, high = max(low, getattr(limit, "ge", low)), min(high, getattr(limit, "le", high))
        low = max(low, math.nextafter(getattr(limit, "gt", -math.inf), math.inf))
        high = min(high, math.nextafter(getattr(limit, "lt", math.inf), -math.inf))
    return Range(low=low, high=high, log=log) if low < high else None


def is_whole(field: "FieldInfo") -> bool:
    """Tell whether a field takes whole numbers alone."""
    kinds = {field.annotation, *get_args(field.annotation)}
    return int in kinds and float not in kinds


def ends(found: Searched) -> list[Any]:
    """Return the values of which all others are between, or all choices."""
    return [found.low, found.high] if isinstance(found, Range) else list(found)

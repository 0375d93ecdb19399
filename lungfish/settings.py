"""Typed sections of the configuration.

Each stage declares its settings as a frozen dataclass in its own room, so that a change of one
stage's settings is a change of that stage's code alone. Here stands what turns a mapping read
from YAML or JSON into such a dataclass, or into one sentence that says what is wrong.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lungfish.errors import InputError

Section = TypeVar("Section")


def parse(section: type[Section], values: Mapping[str, Any]) -> Section:
    """Build one typed section from a mapping; keys that are absent take their default.

    Parameters
    ----------
    section : type
        A dataclass whose fields all have defaults.
    values : Mapping
        Keys and values as YAML or JSON gave them.

    Returns
    -------
    Section
        An instance, its values of the declared types.

    Raises
    ------
    InputError
        If a key is unknown or a value has another type than the field.
    """
    hints = typing.get_type_hints(section)
    fields = {field.name for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - fields)
    if unknown:
        known = ", ".join(sorted(fields))
        raise InputError(f"unknown setting {', '.join(unknown)}: expected one of {known}")
    return section(**{key: _convert(key, value, hints[key]) for key, value in values.items()})


def _convert(key: str, value: Any, hint: Any) -> Any:
    """Return the value as the type that the field declares."""
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    for option in options:
        origin = typing.get_origin(option) or option
        if origin is typing.Literal and value in typing.get_args(option):
            return value
        if origin is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(option)[0]
            return tuple(_convert(key, item, inner) for item in value)
        if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if origin in (int, str, bool, type(None)) and type(value) is origin:
            return value
    raise InputError(f"setting {key}: expected {_describe(hint)}, found {value!r}")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _describe(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def load(section: type[Section], source: str | None) -> Section:
    """Build a section from what a script was given by ``--settings``.

    Parameters
    ----------
    section : type
        The stage's dataclass of settings.
    source : str or None
        JSON text, the path of a YAML or JSON file, or None for all defaults.

    Raises
    ------
    InputError
        If it is neither, or does not fit the section.
    """
    if source is None:
        return parse(section, {})
    if not source.lstrip().startswith("{"):
        path = Path(source)
        if not path.is_file():
            raise InputError(f"--settings {source}: expected JSON or the path of a YAML file")
        source = path.read_text(encoding="utf-8")
    try:
        values = yaml.safe_load(source)  # JSON is a subset of YAML
    except yaml.YAMLError as error:
        raise InputError(f"--settings is not JSON or YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"--settings: expected keys with values, found {values!r}")
    return parse(section, values)


def dump(section: Any) -> str:
    """Return a section as JSON text with sorted keys, fit for ``--settings``."""
    return json.dumps(dataclasses.asdict(section), sort_keys=True)

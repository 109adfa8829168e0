"""Frozen dataclasses as configuration; YAML only maps onto them."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used, with what was wrong and what was expected."""


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass `cls` with the values of `mapping`, nested dataclasses included.

    Lists become tuples where the field is one and integers become floats; nothing else is coerced.

    Raises:
        ConfigError: a key is unknown (the closest known one is named) or a value's type is wrong,
            which `mapping` itself may be: files hold what they hold.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where or cls.__name__}: expected a mapping; got {mapping!r}")
    hints = typing.get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    values = {}
    for key, value in mapping.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
            raise ConfigError(f"unknown key {path} for {cls.__name__}; {hint}")
        values[key] = _converted(hints[key], value, path)
    return cls(**values)


def _converted(expected: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        return from_mapping(expected, value, path)
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(arguments, value, path)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{path}: expected one of {list(arguments)}; got {value!r}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        inner = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(inner) != len(value):
            raise ConfigError(f"{path}: expected {len(inner)} values; got {value!r}")
        return tuple(_converted(t, v, f"{path}[{i}]") for i, (t, v) in enumerate(zip(inner, value)))
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected_class = origin or expected
    right = expected_class is Any or (
        isinstance(value, expected_class)
        and not (isinstance(value, bool) and expected_class is not bool)
    )
    if not right:
        name = getattr(expected, "__name__", str(expected))
        raise ConfigError(f"{path}: expected {name}; got {value!r}")
    return value


def _first_that_fits(alternatives: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in alternatives:
        return None
    problems = []
    for alternative in alternatives:
        if alternative is type(None):
            continue
        try:
            return _converted(alternative, value, path)
        except ConfigError as error:
            problems.append(str(error))
    raise ConfigError("; or ".join(problems))

"""Parameters of a check as a dataclass; see `vouchd_check.Context.decode`."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

_DURATION = re.compile("([0-9]+) *(ms|s|m|h|d)")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class CheckError(Exception):
    """The check could not be carried out. Say what was expected, what was found, and what to do."""


def decode(params: list[tuple[str, str]], into: type[T]) -> T:
    """Makes a dataclass of all parameters."""
    known: list[str] = []
    made = _table(params, "", into, known)
    for key, _ in params:
        if not any(key == name or name.endswith(".*") and key.startswith(name[:-1]) for name in known):
            raise CheckError(f"unknown parameter `{key}`, expected one of: {', '.join(known)}")
    return made


def _table(params: list[tuple[str, str]], prefix: str, into: type[T], known: list[str]) -> T:
    if not is_dataclass(into):
        raise TypeError(f"expected a dataclass, found {into}")
    types_of = typing.get_type_hints(into)
    return into(**{
        field.name: _field(params, prefix + field.name, types_of[field.name], field, known) for field in fields(into)
    })


def _field(params: list[tuple[str, str]], key: str, kind: Any, field: Field, known: list[str]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _table(params, key + ".", kind, known)
    if origin is dict:
        known.append(key + ".*")
        begin = key + "."
        return {name.removeprefix(begin): _value(name, value, arguments[1]) for name, value in params if name.startswith(begin)}
    known.append(key)
    values = [value for name, value in params if name == key]
    if origin is list:
        if not values and (field.default, field.default_factory) != (MISSING, MISSING):
            return _default(key, field)
        return [_value(key, value, arguments[0]) for value in values]
    if origin in (typing.Union, types.UnionType):
        kind = next(argument for argument in arguments if argument is not type(None))
        if not values and (field.default, field.default_factory) == (MISSING, MISSING):
            return None
    if len(values) > 1:
        raise CheckError(f"parameter `{key}`: found {len(values)} values, expected one")
    return _value(key, values[0], kind) if values else _default(key, field)


def _default(key: str, field: Field) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    raise CheckError(f"parameter `{key}` is missing")


def _value(key: str, text: str, kind: Any) -> Any:
    try:
        if kind is str:
            return text
        if kind is bool:
            return {"true": True, "false": False}[text]
        if kind in (int, float):
            return kind(text)
        if kind is timedelta:
            number, unit = _DURATION.fullmatch(text).groups()
            return timedelta(milliseconds=int(number) * _UNITS[unit])
    except (AttributeError, KeyError, OverflowError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number", timedelta: 'a duration like "500ms"'}
        raise CheckError(f"parameter `{key}`: expected {expected[kind]}, found {text!r}") from None
    raise TypeError(f"parameter `{key}`: the type {kind} is not supported")

# ruff: noqa: ANN401 - a codec by type hints works on values of any type
"""Specs to and from plain dicts (JSON), by their type hints; one codec for all of them.

History of `schema_version`:
1  first form
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.spec.parameters import Parameters

SCHEMA_VERSION = 1
_VERSION_KEY = "schema_version"

T = TypeVar("T")
_BAD = object()


def to_dict(spec: Any) -> dict[str, Any]:
    """A spec as dicts, lists, texts and numbers, with its schema version."""
    return {_VERSION_KEY: SCHEMA_VERSION, **_plain(spec)}


def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """The spec that `to_dict` wrote; everything that does not fit is named in one `SpecError`."""
    if not isinstance(data, Mapping):
        raise SpecError(
            f"{cls.__name__} is stored as a mapping, not {type(data).__name__}", remedy="pass a mapping"
        )
    version = data.get(_VERSION_KEY)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise SpecError(
            f"{_VERSION_KEY} is {version!r}, this program reads {SCHEMA_VERSION}",
            remedy="read the result with the version of the testbed that wrote it",
        )
    problems = Problems()
    spec = _dataclass(cls, {k: v for k, v in data.items() if k != _VERSION_KEY}, "", problems)
    problems.raise_if_any()
    assert isinstance(spec, cls)
    return spec


def _stored(cls: Any) -> tuple[Field[Any], ...]:
    """The fields that make up a value; what is derived from them is left out."""
    return tuple(field for field in fields(cls) if field.init)


def _plain(value: Any) -> Any:
    """Down to what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in _stored(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _value(hint: Any, data: Any, path: str, problems: Problems) -> Any:
    """`data` as the hinted type, or `_BAD` with the problem noted."""
    origin = get_origin(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint, data, path, problems)
    if origin is tuple:
        return _tuple(get_args(hint)[0], data, path, problems)
    if origin is Literal:
        return _checked(
            data in get_args(hint), data, path, f"one of {', '.join(map(str, get_args(hint)))}", problems
        )
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), data, path, problems)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(get_args(hint)[1], data, path, problems)
    fits = isinstance(data, hint) and (hint is bool or not isinstance(data, bool))
    return _checked(fits, data, path, hint.__name__, problems)


def _checked(fits: bool, data: Any, path: str, wanted: str, problems: Problems) -> Any:
    """`data` if it fits."""
    if not fits:
        problems.add(path, f"{data!r} does not fit", f"store {wanted}")
        return _BAD
    return data


def _union(hints: tuple[Any, ...], data: Any, path: str, problems: Problems) -> Any:
    """The first member of a union that takes the data."""
    if data is None and type(None) in hints:
        return None
    for hint in hints:
        value = _value(hint, data, path, Problems()) if hint is not type(None) else _BAD
        if value is not _BAD:
            return value
    names = " or ".join(
        "None" if hint is type(None) else str(getattr(hint, "__name__", hint)) for hint in hints
    )
    return _checked(False, data, path, names, problems)


def _tuple(item: Any, data: Any, path: str, problems: Problems) -> Any:
    """A list of one type."""
    if not isinstance(data, list | tuple):
        return _checked(False, data, path, "a list", problems)
    values = tuple(_value(item, value, f"{path}[{index}]", problems) for index, value in enumerate(data))
    return _BAD if _BAD in values else values


def _mapping(item: Any, data: Any, path: str, problems: Problems) -> Any:
    """Text to one type."""
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        return _checked(False, data, path, "a mapping from text", problems)
    values = {key: _value(item, value, f"{path}.{key}", problems) for key, value in data.items()}
    return _BAD if _BAD in values.values() else Parameters(values)


_hints = lru_cache(get_type_hints)
"""They cost more than all else, and a dump of tables has a rule a hundred thousand times."""


def _dataclass(cls: type[Any], data: Any, path: str, problems: Problems) -> Any:
    """A dataclass from its fields; unknown and missing ones are noted."""
    if not isinstance(data, Mapping):
        return _checked(False, data, path, "a mapping", problems)
    prefix = f"{path}." if path else ""
    hints = _hints(cls)  # type: ignore[arg-type]  # a type is hashable
    stored = {field.name: field for field in _stored(cls)}
    for key in data:
        if key not in stored:
            error = unknown_name("field", str(key), stored)
            problems.add(f"{prefix}{key}", str(error), error.remedy)
    before = len(problems)
    values = {n: _value(hints[n], data[n], f"{prefix}{n}", problems) for n in stored if n in data}
    for name, field in stored.items():
        if name not in data and field.default is MISSING and field.default_factory is MISSING:
            problems.add(f"{prefix}{name}", "it is missing", "store it")
    if len(problems) > before:
        return _BAD
    return _built(cls, values, path, problems)


def _built(cls: type[Any], values: dict[str, Any], path: str, problems: Problems) -> Any:
    """The value itself, unless its own checks refuse it."""
    try:
        return cls(**values)
    except SpecError as error:
        problems.absorb(error, path=path)
        return _BAD

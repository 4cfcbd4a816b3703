"""Settings as a user writes them, a TOML file and key=value words, into a typed, frozen config."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tasks import storage
from tasks.failures import RequestError

Config = TypeVar("Config")


def read_toml(uri: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        RequestError: it is no TOML.
        StorageError: it cannot be read.
    """
    try:
        return tomllib.loads(storage.read(storage.normalise(uri)).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{storage.redact(uri)} is no TOML file: {error}") from error


def parse_assignments(words: Sequence[str]) -> dict[str, Any]:
    """`loss.pixel=mse` and the like as nested tables; values are JSON, or else plain text.

    Raises:
        RequestError: a word without `=`.
    """
    tables: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise RequestError(f"--set wants key=value, got {word!r}")
        *path, last = key.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        table[last] = _value(value)
    return tables


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables in one; where both have a key, `above` has the say."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        both[key] = merged(old, value) if nested else value  # type: ignore[arg-type]
    return both


def typed(config: type[Config], values: Mapping[str, Any]) -> Config:
    """The config with these values, checked and converted field by field.

    Raises:
        RequestError: an unknown key, a value of another type, one that the config refuses.
    """
    from pydantic import TypeAdapter, ValidationError

    _refuse_unknown(config, values, "")
    try:
        return TypeAdapter(config).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        words = f"{place}: {first['msg']}, got {first['input']!r}" if place else first["msg"]
        raise RequestError(f"settings: {words}") from error


def _refuse_unknown(config: Any, values: Mapping[str, Any], prefix: str) -> None:
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    known = {f.name for f in fields(config)}
    hints = get_type_hints(config)
    for key, value in values.items():
        if key not in known:
            raise RequestError(
                f"settings have no {prefix}{key}; there are {', '.join(sorted(known))}"
            )
        if isinstance(value, Mapping) and is_dataclass(hints[key]):
            _refuse_unknown(hints[key], value, f"{prefix}{key}.")

"""docs/reference.md from the code: python -m tests.reference.

Commands and options are the Typer application's, schemas those of the Parquet tables; a test
compares the file with what this makes.
"""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"

_HEAD = """# Reference

Made from the code by `make reference`; a test fails when it is out of date.

"""


def reference() -> str:
    """The whole page."""
    from flows.cli import app
    from tasks import tables

    root = typer.main.get_command(app)
    parts = [_HEAD, "## Commands\n"]
    parts += [_section(name, command) for name, command in _commands(root, "pixelmill")]
    parts += ["## Tables\n", _schema("manifest", tables.MANIFEST)]
    parts += [_schema("runs", tables.RUNS), _schema("metrics", tables.METRICS)]
    return "\n".join(parts)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, depth first, with its whole name."""
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from _commands(inner, f"{name} {word}")
    else:
        yield name, command


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([name, *(_placeholder(a) for a in arguments)])
    lines = [f"### {name}", "", (command.help or "").strip(), "", f"`{usage} [OPTIONS]`", ""]
    lines += [f"- `{_placeholder(a)}`: {getattr(a, 'help', None) or ''}" for a in arguments]
    if options:
        lines += ["", "| option | default | |", "|---|---|---|"]
        lines += [_row(option) for option in options]
    return "\n".join(lines) + "\n"


def _placeholder(argument: Any) -> str:
    word = (argument.name or "").upper()
    return word if argument.required else f"[{word}]"


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    kind = option.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        names += " " + "\\|".join(str(choice.value) for choice in kind)
    default = option.default
    told = "" if default in (None, False, (), []) else f"`{getattr(default, 'value', default)}`"
    if option.required:
        told = "required"
    return f"| {names} | {told} | {(option.help or '').replace('|', chr(92) + '|')} |"


def _schema(name: str, schema: pa.Schema) -> str:
    rows = [f"| `{field.name}` | {field.type} |" for field in schema]
    return "\n".join([f"### {name}", "", "| column | type |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference())

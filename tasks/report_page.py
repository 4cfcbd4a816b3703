"""One HTML file that needs nothing else: data as JSON, styles and scripts inline, nothing fetched.

Whatever a file is named, it is text: data reach the page as JSON without a `<` in it, and the
scripts put them into the page as text. The policy in the page's head lets no other script run.
"""

import base64
import hashlib
import html
import json
import math
from importlib.resources import files
from typing import Literal

PageKind = Literal["bulk", "training", "ab"]

_SCRIPTS: dict[PageKind, tuple[str, ...]] = {
    "bulk": ("base.js", "charts.js", "compare.js", "table.js", "bulk.js"),
    "training": ("base.js", "charts.js", "training.js"),
    "ab": ("base.js", "ab.js"),
}
_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def page(kind: PageKind, title: str, data: dict[str, object]) -> bytes:
    """A whole page: UTF-8 HTML.

    Args:
        title: as text. data: what JSON holds; numbers that it cannot (NaN) become null.
    """
    style = _asset("report.css")
    script = "(() => {\n'use strict';\n" + "".join(map(_asset, _SCRIPTS[kind])) + "\n})();\n"
    values = {
        "title": html.escape(title),
        "policy": _policy(style, script),
        "style": style,
        "data": embedded(data),
        "script": script,
    }
    text = _asset("page.html")
    for name, value in values.items():
        before, marker, after = text.partition("{{" + name + "}}")
        if not marker:
            raise ValueError(f"page.html has no {name}")
        # the markers stand in this order, so that no value is searched for the next one
        values[name], text = before + value, after
    return ("".join(values.values()) + text).encode("utf-8", "replace")


def embedded(data: object) -> str:
    """JSON that can stand in a script element, whatever texts are in it."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def data_uri(data: bytes, kind: Literal["webp", "jpeg", "png"]) -> str:
    """A picture as an address of its own."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _asset(name: str) -> str:
    return (files("tasks") / "report_assets" / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none';"
        f" style-src {_hashed(style)}; script-src {_hashed(script)}"
    )


def _hashed(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"

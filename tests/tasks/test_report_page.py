"""A page is one file in which whatever a file is named stays text."""

import base64
import hashlib
import json
import re

import pytest

from tasks.report_page import PageKind, embedded, page

NASTY = [
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(1)</script>.png",
    "<!--<script>",
    "]]>&amp;&lt;'\"`",
    "line\u2028and\u2029paragraph",
    "{{script}} {{data}}",
    "café 日本 😀 \udc80",
]
KINDS: tuple[PageKind, ...] = ("bulk", "training", "ab")


@pytest.mark.parametrize("kind", KINDS)
def test_names_stand_in_the_page_as_json_without_a_tag(kind: PageKind) -> None:
    text = page(kind, NASTY[1], {"names": NASTY}).decode()
    [held] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert "<" not in held
    assert ">" not in held
    assert "&" not in held
    assert json.loads(held)["names"][:-1] == NASTY[:-1]
    assert text.count("<script") == text.count("</script>") == 2
    assert "<title>&lt;/script&gt;" in text


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fetched_and_only_our_script_and_style_may_run(kind: PageKind) -> None:
    text = page(kind, "title", {}).decode()
    addresses = set(re.findall(r"https?://[^\"'\s)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_numbers_that_json_lacks_become_null() -> None:
    assert embedded({"a": [float("nan"), float("inf"), 1.5]}) == '{"a":[null,null,1.5]}'

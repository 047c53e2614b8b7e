"""The link to what is seen: the browser's own address, whether phones reach it, and its code."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
import segno

from dashboard.deck.link import address_of_browser, code, reaches_this_machine_only


def test_the_address_has_every_value_of_every_parameter() -> None:
    query = {"stop": ["merge"], "merge": ["a b", "ü&="]}
    link = address_of_browser("http://lab.example:8501/merge", query)
    assert link == "http://lab.example:8501/merge?stop=merge&merge=a+b&merge=%C3%BC%26%3D"
    assert address_of_browser("http://lab.example", {"a": ["b"]}) == "http://lab.example/?a=b"  # as browsers show it
    assert address_of_browser("http://lab.example/", {}) == "http://lab.example/"
    assert address_of_browser(None, query) is None


@pytest.mark.parametrize(
    ("link", "alone"),
    [
        ("http://localhost:8501/", True),
        ("http://LOCALHOST/why?x=lab.example", True),
        ("http://lab.localhost:8501/", True),
        ("http://127.0.0.1:8501/", True),
        ("http://127.1.2.3/", True),
        ("http://[::1]:8501/", True),
        ("http://192.168.1.20:8501/?host=localhost", False),
        ("https://localhost.example/", False),
        ("https://lab.example/localhost", False),
    ],
)
def test_phones_reach_what_is_not_this_machine_alone(link: str, alone: bool) -> None:
    assert reaches_this_machine_only(link) is alone


def picture(link: str) -> str:
    """The SVG of a code."""
    kind, _, text = code(link).partition(",")
    assert kind.startswith("data:image/svg+xml")
    return unquote(text)


def test_the_code_is_that_of_the_link_black_on_white_with_its_quiet_zone() -> None:
    link = "http://lab.example:8501/merge?present=true&stop=merge"
    drawn = picture(link)
    symbol = segno.make(link, error="m", micro=False)
    side = symbol.symbol_size(border=4)[0]
    assert f"viewBox='0 0 {side} {side}'" in drawn and "width=" not in drawn  # as large as its place
    assert "#fff" in drawn and "#000" in drawn
    # The dark modules, read back from the path that draws them row by row, are those of the symbol.
    drawing = re.search(r"class='qrline'[^>]* d='([^']+)'", drawn)
    assert drawing is not None
    steps = re.findall(r"([Mmh])(-?[\d.]+)(?: ?(-?[\d.]+))?", drawing[1])
    x = y = 0.0
    dark = set()
    for act, first, second in steps:
        if act == "h":
            dark |= {(int(y), int(x) + at) for at in range(int(first))}
            x += float(first)
        else:
            x, y = (float(first), float(second)) if act == "M" else (x + float(first), y + float(second or 0))
    assert dark == {(r + 4, c + 4) for r, row in enumerate(symbol.matrix) for c, one in enumerate(row) if one & 1}

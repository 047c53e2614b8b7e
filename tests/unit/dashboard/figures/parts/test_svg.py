"""Scripts of the pictures: the same text for Streamlit's components and for pages without modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.figures.parts.svg import SVG_JS, classic_script, scripts
from dashboard.lesson.components import COMPONENTS


def test_both_hosts_get_the_same_text(tmp_path: Path) -> None:
    picture = tmp_path / "picture.js"
    picture.write_text("function mount({ parentElement }) {}\n")
    body = f"{SVG_JS.read_text(encoding='utf-8')}\n{picture.read_text()}"
    assert scripts(SVG_JS, picture) == f"{body}\nexport default mount;\n"
    classic = classic_script('a"b', SVG_JS, picture)
    assert body in classic and "export" not in classic.replace(body, "")
    assert classic.startswith('(window.mounts ??= {})["a\\"b"] = (() => {')
    assert classic.endswith("return mount;\n})();\n")


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_picture_is_mounted_by_one_function(name: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in COMPONENTS[name].scripts]
    assert [source.count("function mount({") for source in sources] == [*[0] * (len(sources) - 1), 1]
    assert not any("export " in source for source in sources)

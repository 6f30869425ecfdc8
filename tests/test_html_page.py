"""Pages: values are escaped, numbers grouped, the look is there, and nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from tools.drawings.html_page import render_page


def test_values_are_escaped_and_the_style_is_not(tmp_path: Path) -> None:
    template = tmp_path / "a.html.j2"
    template.write_text('<style>{% include "page_style.css" %}</style><b>{{ name }}</b> {{ 12345 | number }}')
    page = render_page(template, name="<script>alert('车')</script>")
    assert "<b>&lt;script&gt;alert(&#39;车&#39;)&lt;/script&gt;</b>" in page
    assert "12\N{NARROW NO-BREAK SPACE}345" in page
    assert '"Segoe UI"' in page.split("</style>")[0]
    assert "http" not in page


def test_a_value_that_is_missing_is_an_error_and_no_empty_place(tmp_path: Path) -> None:
    (tmp_path / "a.html.j2").write_text("{{ name }}")
    with pytest.raises(jinja2.UndefinedError):
        render_page(tmp_path / "a.html.j2")

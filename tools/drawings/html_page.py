"""Pages for a browser, with no address outside of their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.drawings.lettering import Color


def render_page(template: Path, **values: Any) -> str:
    """The page that a Jinja template makes of the values; it may include `page_style.css` of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Everything that files brought along (names, classes, words of bad lines) is escaped: they may come from strangers.
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent], encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return environment.get_template(template.name).render(**values)


def css_color(color: Color) -> str:
    """A BGR colour as style sheets write it."""
    blue, green, red = color
    return f"rgb({red} {green} {blue})"

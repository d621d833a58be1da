"""Pages in one piece: styles and scripts are in them, and they load nothing."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

_HERE = Path(__file__).parent


def report_page(title: str, about: str, record: dict[str, Any]) -> str:
    """The page of one explained video.

    Args:
        title: The file's name.
        about: A sentence on the model and how to read the page.
        record: `record.explanation_record`, with what `film.film_of` adds.
    """
    data = json.dumps(record, allow_nan=False).replace("<", "\\u003c")
    return _filled("report.html", title=escape(title), about=escape(about), data=data, script=_text("explanation.js"))


def _filled(name: str, **parts: str) -> str:
    return Template(_text(name)).substitute(parts, style=_text("page.css"))


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")

"""Pages in one piece: styles and scripts are in them, and they load nothing."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

CAUTION = "It says how an expression looks and sounds, not what a person feels."
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


def serve_page(max_bytes: int, max_seconds: float, keep: Path | None) -> str:
    """The page of `hicmae serve`.

    Args:
        max_bytes: Size of the largest file that is taken.
        max_seconds: Length of the longest film that is taken.
        keep: Folder in which the server keeps files, if it does.
    """
    fate = "is deleted when it has been answered" if keep is None else f"is kept there, in {keep}"
    about = (
        f"At most {max_bytes / 1e6:g} MB and {max_seconds:g} s. The file goes to the machine that serves this page and "
        f"{fate}. {CAUTION}"
    )
    limits = json.dumps({"max_bytes": max_bytes, "max_seconds": max_seconds})
    script = _text("explanation.js") + _text("serve.js")
    return _filled("serve.html", about=escape(about), limits=limits, script=script)


def _filled(name: str, **parts: str) -> str:
    return Template(_text(name)).substitute(parts, style=_text("page.css"))


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")

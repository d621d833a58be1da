"""HTML of one self-contained page: nothing is loaded, nothing runs, and all text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 68rem; margin: 0 auto;
  padding: 1rem 1.5rem 3rem; }
h1, h2, h3 { line-height: 1.25; margin: 1.6em 0 0.4em; }
h1 { margin-top: 0.5em; }
table { border-collapse: collapse; margin: 0.6em 0; font-size: 0.92rem; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.8em 0.25em 0; text-align: left; vertical-align: top;
  overflow-wrap: break-word; max-width: 40rem; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.sheet { display: flex; flex-wrap: wrap; gap: 0.7rem; }
figure { margin: 0; }
.sheet figure { width: 128px; }
.sheet img { width: 128px; height: auto; display: block; border-radius: 4px; }
figcaption { font-size: 0.75rem; color: #444; overflow-wrap: anywhere; }
.wide { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; }
.wide img { max-width: 100%; height: auto; }
.warning { border-left: 5px solid #b3261e; background: #fdecea; padding: 0.6em 1em; }
.good { border-left: 5px solid #1b7f4d; background: #eaf6ef; padding: 0.6em 1em; }
.note { color: #444; margin: 0.2em 0 0.6em; }
summary { cursor: pointer; font-weight: 600; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page from pieces of HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is ``warning``, ``good``, ``note`` or nothing."""
    return f"<p class={kind}>{escape(text)}</p>" if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers are right-aligned, integers with separators of thousands."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    return f"<td>{escape(str(value))}</td>"


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{content}\n</details>"


def image(data: bytes, kind: str, alt: str) -> str:
    """A picture within the page; `kind` is ``jpeg`` or ``png``."""
    return f'<img src="data:image/{kind};base64,{b64encode(data).decode()}" alt="{escape(alt)}">'


def gallery(pictures: Iterable[tuple[str, bytes]]) -> str:
    """JPEGs side by side, each with its caption, which is its description too."""
    figures = (
        f"<figure>{image(data, 'jpeg', caption)}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, data in pictures
    )
    return '<div class="sheet">\n' + "\n".join(figures) + "\n</div>"

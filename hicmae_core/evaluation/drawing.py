"""What all figures share: colours, fonts for the names that users choose, and how a figure becomes a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, fontManager, get_font
from matplotlib.text import Text

from hicmae_core.files import atomic_path

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
"""From Okabe and Ito's palette, which tells apart under colour blindness."""
_DOTS_PER_INCH = 110
_FONT = "DejaVu Sans"
"""Comes with matplotlib."""
_NO_FONT = "Last Resort"
"""Begins the name of a font that has a box for every character."""
_WIDE_FONTS = ("cjk", "noto", "han", "hei", "gothic", "unifont", "unicode", "droid", "wenquanyi")
"""Parts of the names of fonts with many scripts, which are tried first."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; the same figure gives the same bytes on the same machine.

    A character that matplotlib's own font lacks is drawn in an installed font that has it; ``$`` is no formula.
    """
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()  # which writes their texts
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    fonts = [_FONT, *_further_fonts("".join(text.get_text() for text in texts))]
    for text in texts:
        text.set_parse_math(False)
        if len(fonts) > 1:
            text.set_fontfamily(fonts)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None})


def drawable(names: Sequence[str], kind: str) -> list[str]:
    """Names as figures write them: one that no installed font can draw becomes its number, such as ``class 3``.

    Args:
        names: In the order of their numbers, from 1.
        kind: What is numbered.
    """
    return [
        f"{kind} {number}" if _lacking(name, [_FONT, *_further_fonts(name)]) else name
        for number, name in enumerate(names, start=1)
    ]


def note_numbered(figure: Figure, names: Sequence[str], shown: Sequence[str]) -> None:
    """Say below a figure which names became numbers (`drawable`), if any did."""
    numbered = [label for name, label in zip(names, shown, strict=True) if label != name]
    if numbered:
        what = "numbered in the order of params.yaml, as no installed font has the characters of the names"
        figure.supxlabel(f"{', '.join(numbered)}: {what}", fontsize=8)


def _further_fonts(text: str) -> list[str]:
    """Installed fonts that together have the characters of a text that matplotlib's own lacks, as far as any has."""
    chosen: list[str] = []
    lacking = _lacking(text, [_FONT])
    for entry in sorted(fontManager.ttflist, key=_preference) if lacking else ():
        if lacking & _characters(entry.fname) and not entry.name.startswith(_NO_FONT):
            chosen.append(entry.name)
            lacking = _lacking(text, [_FONT, *chosen])
        if not lacking:
            break
    return chosen


def _preference(entry: FontEntry) -> tuple[bool, bool, bool, str]:
    is_wide = any(part in entry.name.lower() for part in _WIDE_FONTS)
    return not is_wide, entry.style != "normal", entry.weight not in (400, "normal", "regular"), entry.name


def _lacking(text: str, fonts: Sequence[str]) -> set[str]:
    """Visible characters of a text that no font of these names has."""
    lacking = {character for character in text if not character.isspace()}
    for name in fonts:
        lacking -= _characters(findfont(name))
    return lacking


@cache
def _characters(font: str) -> frozenset[str]:
    """What a font file can draw; nothing if it holds images, or cannot be read."""
    try:
        face = get_font(font)
        return frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()

"""What all figures share: colours that tell apart under colour blindness, and how a figure becomes a file."""

from pathlib import Path

from matplotlib.figure import Figure

from hicmae_core.files import atomic_path

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
"""From Okabe and Ito's palette."""
_DOTS_PER_INCH = 110


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; the same figure gives the same bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None})

"""The pipeline as a picture in README.md, from what DVC says of it: one node per stage of all datasets and folds."""

from __future__ import annotations

from collections.abc import Mapping, Set

from hicmae_core.files import atomic_path
from pipelines.dvc_graph import name_of, read_edges
from stages.command import parser, run
from stages.project import project_root

BEGIN, END = "<!-- pipeline: python -m pipelines.picture -->", "<!-- end of pipeline -->"


def mermaid(edges: Mapping[str, Set[str]]) -> str:
    """A flowchart of stages, by what each depends on; the datasets and folds of a stage are one node."""
    arrows = {(_base(above), _base(stage)) for stage, uppers in edges.items() for above in uppers}
    lines = [f"    {above} --> {below}" for above, below in sorted(arrows) if above != below]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def with_picture(page: str, picture: str) -> str:
    """`page` with the picture between its two marks.

    Raises:
        ValueError: If a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md: the marks of the picture are missing: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{picture}\n{END}{after}"


def _base(address: str) -> str:
    return name_of(address).partition("@")[0]


def main() -> None:
    """Draw the picture anew."""
    parser("Draw the pipeline's picture in README.md anew.", "python -m pipelines.picture").parse_args()
    readme = project_root() / "README.md"
    page = with_picture(readme.read_text(encoding="utf-8"), mermaid(read_edges(readme.parent)))
    with atomic_path(readme) as temporary:
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main)

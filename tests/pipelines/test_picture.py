"""The picture in README.md is the pipeline's."""

import pytest

from pipelines.dvc_graph import read_edges
from pipelines.picture import mermaid, with_picture
from tests.conftest import ROOT


def test_the_readme_shows_the_graph_as_it_is() -> None:
    page = (ROOT / "README.md").read_text()
    picture = mermaid(read_edges(ROOT))
    assert "    pretrain --> finetune\n" in picture
    assert with_picture(page, picture) == page, "draw it anew: python -m pipelines.picture"


def test_folds_and_datasets_are_one_node() -> None:
    edges = {"folds/demo/dvc.yaml:finetune@1": {"faces@demo"}, "folds/demo/dvc.yaml:finetune@2": {"faces@demo"}}
    assert mermaid(edges).splitlines() == ["```mermaid", "flowchart LR", "    faces --> finetune", "```"]


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks of the picture are missing"):
        with_picture("# no marks", "picture")

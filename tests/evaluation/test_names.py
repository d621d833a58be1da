"""Any name of a class, target or speaker stands in reports and figures as it is."""

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from hicmae_core.config import DatasetParams, SummariseParams
from hicmae_core.evaluation.summary import summarise
from hicmae_core.reports.card import model_card
from hicmae_core.reports.figures import (
    Layout,
    drawable,
    note_numbered,
    plot_confusion,
    plot_history,
    plot_layouts,
    save_figure,
)
from hicmae_core.reports.markdown import escaped
from hicmae_core.reports.results import write_calibration, write_reports
from tests.drawings import DARKEST, areas
from tests.inference.test_formats import small_model

ODD = (
    "joy (high)",
    "anger|disgust",
    "高兴",
    "a/b: 50%+",
    "*bold*",
    "_lean_",
    "`code`",
    "<b>&lt;",
    "[a](b)",
    "$x$",
    "a\\|b",
)
"""Names that mean something in Markdown, HTML or matplotlib; the third has characters that no font here has."""
ODD_TARGETS = ("arousal (1-9)", "激活|x")


def table_cells(text: str) -> list[str]:
    """What a reader sees in the cells of Markdown's tables."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    cells = [token for before, token in pairwise(tokens) if before.type in ("th_open", "td_open")]
    assert all(child.type in ("text", "text_special") for cell in cells for child in cell.children)
    return ["".join(child.content for child in cell.children) for cell in cells]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def chinese_font(tmp_path: Path):
    """A font that is installed meanwhile, in which 高 and 兴 are black squares."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 900)), pen.lineTo((900, 900)), pen.lineTo((900, 0)), pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", "one", "two"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord("高"): "one", ord("兴"): "two"})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares CJK", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    fontManager.addfont(tmp_path / "squares.ttf")
    yield
    fontManager.ttflist = [entry for entry in fontManager.ttflist if entry.name != "Squares CJK"]
    fontManager._findfont_cached.cache_clear()


def test_a_name_is_shown_as_it_is():
    for name in ODD:
        (token,) = [token for token in MarkdownIt().parse(escaped(name)) if token.type == "inline"]
        assert "".join(child.content for child in token.children) == name
    assert escaped("very_high") == "very_high"
    assert escaped("two\nlines") == "two lines"


def test_reports_keep_their_tables_and_figures_need_no_fonts(predictions_of, tmp_path):
    dataset = DatasetParams(corpus="csv", classes=ODD, num_folds=1)
    predictions = predictions_of(dataset, num_clips=80)
    write_reports(summarise("mine", dataset, {1: predictions}, SummariseParams(bootstrap_samples=100), 0), tmp_path)
    write_calibration(predictions.assign(fold=1), dataset, tmp_path)
    cells = table_cells((tmp_path / "results.md").read_text())
    start = cells.index("actual")
    assert cells[start + 1 : start + 1 + len(ODD)] == list(ODD)
    assert cells[start + len(ODD) + 2 :: len(ODD) + 2][: len(ODD)] == list(ODD)
    assert set(pd.read_csv(tmp_path / "confusion.csv")["actual"]) <= set(ODD)


@pytest.mark.parametrize("task", ["regression", "multi_classification"])
def test_targets_may_have_any_name(predictions_of, tmp_path, task):
    classes = ("low", "高兴|x") if task == "multi_classification" else ()
    dataset = DatasetParams(corpus="csv", task=task, classes=classes, targets=ODD_TARGETS, num_folds=1)
    predictions = predictions_of(dataset, num_clips=60)
    write_reports(summarise("mine", dataset, {1: predictions}, SummariseParams(bootstrap_samples=100), 0), tmp_path)
    write_calibration(predictions.assign(fold=1), dataset, tmp_path)
    cells = table_cells((tmp_path / "results.md").read_text())
    assert {*ODD_TARGETS} <= {*cells}
    assert task == "regression" or "actual 激活|x" in cells


def test_the_card_shows_classes_and_speakers_as_they_are():
    model = small_model()
    predictions = pd.DataFrame({"label": [0, 1], "prediction": [0, 0], "subject": ["a|b", "_x_"]})
    card = model_card(model, {"classes": list(ODD), "source": "a_*b*"}, None, None, predictions, {})
    assert table_cells(card)[3::3] == ["_x_", "a|b"]
    shown = "".join(child.content for token in MarkdownIt().parse(card) for child in token.children or ())
    assert all(name in shown for name in (*ODD, "a_*b*"))


def test_a_name_without_a_font_becomes_its_number(tmp_path):
    assert drawable(["calm", "高兴", "été"], "class") == ["calm", "class 2", "été"]
    plot_confusion(np.eye(3, dtype=np.int64)[None], ["calm", "高兴", "$x$"], [], tmp_path / "odd.png")
    plot_history(pd.DataFrame({"epoch": [0, 1], "validation_pcc_激活": [1.0, 2.0]}), tmp_path / "history.png")
    layout = Layout(np.zeros((2, 2)), {"激活": ["高兴", "$calm$"], "speaker": ["高", "b"]})
    plot_layouts({"mine": layout}, tmp_path / "map.png")
    figure = Figure()
    note_numbered(figure, ["calm", "glad"], ["calm", "glad"])
    assert figure.get_supxlabel() == ""
    note_numbered(figure, ["calm", "高兴"], ["calm", "class 2"])
    assert figure.get_supxlabel().startswith("class 2: numbered in the order of params.yaml")


def test_a_name_is_drawn_in_a_font_that_has_it(chinese_font, tmp_path):
    assert drawable(["高兴", "激活"], "class") == ["高兴", "class 2"]
    for name, text in (("squares.png", "高兴高兴"), ("empty.png", "")):
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.1, 0.4, text, fontsize=20)
        save_figure(figure, tmp_path / name)
    dark, empty = (np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("squares.png", "empty.png"))
    assert (empty > 200).all()
    assert (dark < 50).sum() > 4 * 20**2  # four squares, 27 pixels wide


def test_a_dollar_is_no_formula(tmp_path):
    plot_confusion(np.eye(2, dtype=np.int64)[None], ["$\\frac$", "${"], [], tmp_path / "dollar.png")  # no parse error
    assert areas(tmp_path / "dollar.png", DARKEST, 400) == 4  # the diagonals of both matrices

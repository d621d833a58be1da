import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hicmae_core.config import DatasetParams
from hicmae_core.reports.duplicates import find_duplicates, speakers_in_several_folds
from hicmae_core.reports.outcome import TRAIN_ONLY, count_labels, histograms, numbers, outcome_of
from hicmae_core.reports.quality import page, verdict, write_quality_report
from hicmae_core.reports.sheets import face_sheets, rejected_sheet
from tests.reports.tables import made_up


class Page(HTMLParser):
    """A page's text, images, and whatever else it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.pictures, self.references, self.tags = "", [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.references += [values[key] for key in ("src", "href", "srcset", "data", "action") if key in values]
        if tag == "img":
            self.pictures.append((values["alt"], values["src"]))

    def handle_data(self, data):
        self.text += data + "\n"


def write(prepared, folder: Path) -> str:
    return write_quality_report(
        *("mine", prepared.dataset, prepared.manifest, prepared.root, prepared.faces, prepared.audio),
        *(folder, folder / "numbers.json"),
    )


@pytest.fixture(scope="session")
def report(prepared, tmp_path_factory) -> tuple[Path, str]:
    """The folder of a report, and the line that its writer returns."""
    folder = tmp_path_factory.mktemp("report")
    return folder, write(prepared, folder)


@pytest.fixture(scope="session")
def html(report) -> str:
    return (report[0] / "mine.html").read_text(encoding="utf-8")


def test_the_page_is_self_contained(html):
    page = Page(html)
    assert "script" not in page.tags
    assert "b" not in page.tags  # the clip is called <b>empty
    assert not re.search(r"https?:|url\(|@import", html)
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert len(page.pictures) > 10
    for alt, source in page.pictures:
        assert alt
        picture = Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))
        picture.load()
        assert f"data:image/{picture.format.lower()};base64" == source.split(",")[0]


def test_the_page_names_leaks_and_rejects(html, report):
    text = Page(html).text
    line = report[1]
    assert line == (
        "mine: 8 of 11 clips are usable; LEAK: groups of copies in different folds: 1; groups of copies with different "
        "labels: 1; groups of copies with different speakers: 1; groups of copies in all: 2."
    )
    assert line in text
    assert "LEAK: in different folds, different speakers" in text
    assert "<b>empty" in text
    captions = [alt for alt, _ in Page(html).pictures]
    assert "nobody: no_face (faces)" in captions
    assert "no-sound: no_sound (manifest)" in captions
    assert not any("empty" in caption for caption in captions)  # it has no image
    assert sum("Coverage" in caption for caption in captions) == 1


def test_tables_and_numbers_beside_the_page(report, prepared):
    folder = report[0]
    duplicates = pd.read_csv(folder / "mine-duplicates.csv")
    assert duplicates["clip_id"].tolist() == ["anna-1", "bert-copy", "bert-1", "bert-mkv"]
    assert duplicates["group"].tolist() == [1, 1, 2, 2]
    rejects = pd.read_csv(folder / "mine-rejects.csv")
    assert rejects[["clip_id", "stage", "status"]].to_numpy().tolist() == [
        ["no-sound", "manifest", "no_sound"],
        ["<b>empty", "manifest", "zero_byte"],
        ["nobody", "faces", "no_face"],
    ]
    assert rejects["reason"].str.len().min() > 5
    hours = prepared.audio.index.set_index("clip_id")["num_samples"].drop("nobody").sum() / 16_000 / 3600
    assert json.loads((folder / "numbers.json").read_text()) == {
        "num_clips": 11,
        "num_usable": 8,
        "num_speakers": 2,
        "hours": round(hours, 4),
        "manifest_status": {"ok": 9, "no_sound": 1, "zero_byte": 1},
        "faces_status": {"ok": 8, "no_face": 1},
        "audio_status": {"ok": 9},
        "duplicates": {
            "num_clips": 4,
            "num_groups": 2,
            "num_groups_in_different_folds": 1,
            "num_groups_with_different_labels": 1,
            "num_groups_with_different_speakers": 1,
        },
        "num_speakers_in_several_folds": 0,
    }


def test_the_same_dataset_gives_the_same_files(report, prepared, tmp_path):
    write(prepared, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (report[0] / path.name).read_bytes()


def test_sheets_show_the_extremes(prepared):
    outcome = outcome_of(prepared.manifest, prepared.faces.index, prepared.audio.index)
    outcome.faces["face_size"] = np.arange(len(outcome.faces)) + 50.0
    outcome.faces["coverage"] = np.linspace(0.3, 1, len(outcome.faces))
    sheets = {
        sheet.title: [picture.caption for picture in sheet.pictures] for sheet in face_sheets(outcome, prepared.faces)
    }
    ids = outcome.faces["sample_id"].tolist()
    assert sheets["Worst: small"] == [f"{clip_id}: {50 + i} px" for i, clip_id in enumerate(ids)]
    assert sheets["Worst: seen in few frames"][0] == f"{ids[0]}: 30% of frames"
    assert len(sheets["Worst: seen in few frames"]) == len(ids) - 1
    assert [caption.split("-")[0] for caption in sheets["Best"]] == ["bert", "anna"]
    assert [caption.split(":")[0] for caption in sheets["Typical"]] == ids
    assert sheets["Worst: not alone"] == []
    assert len(sheets["Worst: blurred"]) == len(sheets["Worst: dark"]) == len(ids)


def test_a_clip_that_killed_a_worker_is_not_opened_again(prepared):
    rejects = pd.DataFrame(
        [("anna-1", "faces", "crashed", "x", "anna-1.mp4"), ("anna-1", "audio", "no_sound", "x", "anna-1.mp4")]
        + [(f"anna-2 {i}", "faces", "no_face", "x", "anna-2.mp4") for i in range(9)],
        columns=["clip_id", "stage", "status", "reason", "video_path"],
    )
    captions = [picture.caption for picture in rejected_sheet(rejects, prepared.root).pictures]
    assert captions == [f"anna-2 {i}: no_face (faces)" for i in range(6)]


def test_a_store_older_than_the_manifest_is_told():
    manifest, faces, audio = made_up(5)
    outcome = outcome_of(manifest, faces.iloc[:4], audio.iloc[1:])
    assert outcome.rejects[["clip_id", "stage", "status"]].to_numpy().tolist() == [
        ["clip0000004", "faces", "not_prepared"],
        ["clip0000000", "audio", "not_prepared"],
    ]
    assert outcome.funnel == {
        "listed": 5,
        "file and label good": 5,
        "face found": 4,
        "audio good": 4,
        "usable": 3,
    }


def test_without_a_usable_clip_there_is_no_report(prepared, tmp_path):
    bad = prepared.manifest.assign(status="missing")
    with pytest.raises(ValueError, match="no clip has both a face and audio"):
        write_quality_report(
            "mine", prepared.dataset, bad, prepared.root, prepared.faces, prepared.audio, tmp_path, tmp_path / "x"
        )


def test_a_clean_dataset_is_said_to_be_clean():
    manifest, faces, audio = made_up(200)
    outcome = outcome_of(manifest, faces, audio)
    duplicates, speakers = find_duplicates(manifest, faces, audio), speakers_in_several_folds(outcome.usable)
    line = verdict("tidy", outcome, duplicates, speakers)
    assert line == "tidy: 200 of 200 clips are usable; no clip is there twice, no speaker is in two folds."
    assert numbers(outcome, duplicates, speakers)["duplicates"]["num_groups"] == 0


def test_counts_per_class_and_fold():
    manifest, _, _ = made_up(600)
    manifest.loc[:3, "test_fold"] = None
    (table,) = count_labels(manifest, DatasetParams(corpus="csv", classes=("x", "y", "z", "v"), num_folds=5)).values()
    assert table.index.tolist() == ["x", "y", "z", "v"]
    assert table.columns.tolist() == ["1", "2", "3", "4", "5", TRAIN_ONLY, "all"]
    assert table.loc["x"].tolist() == [49, 25, 25, 25, 25, 1, 150]


def page_of(manifest, faces, audio, dataset):
    outcome = outcome_of(manifest, faces, audio)
    duplicates, speakers = find_duplicates(manifest, faces, audio), speakers_in_several_folds(outcome.usable)
    return page("made up", dataset, outcome, duplicates, speakers, [])


def test_counts_of_several_targets_and_of_continuous_ones():
    manifest, faces, audio = made_up(300)
    manifest["target_load"] = manifest["label"] % 2
    manifest["target_effort"] = 1
    classes = {"classes": ("low", "high", "extreme"), "num_folds": 5}
    several = DatasetParams(corpus="csv", task="multi_classification", targets=("load", "effort"), **classes)
    tables = count_labels(manifest, several)
    assert tables["load"]["all"].tolist() == [150, 150, 0]
    assert tables["effort"].loc["high"].tolist() == [100, 100, 100, 300]
    manifest["target_arousal"] = np.linspace(0, 1, 300)
    continuous = DatasetParams(corpus="csv", task="regression", targets=("arousal",), num_folds=5)
    text = Page(page_of(manifest, faces, audio, continuous)).text
    assert "greatest arousal 0.5 0.2901 0 1 " in " ".join(text.split()) + " "
    assert "by label" not in page_of(manifest, faces, audio, DatasetParams(corpus="csv", task="unlabelled"))


def test_long_tables_are_cut_with_a_word():
    manifest, faces, audio = made_up(2500)
    manifest["status"] = ["ok"] * 2 + ["missing"] * 2498
    text = page_of(manifest, faces, audio, DatasetParams(corpus="csv", task="unlabelled"))
    text = text[text.index("Rejected clips") :]
    assert "All 2,498 rejections" in text
    assert "498 more rows are in the file of rejects" in text
    assert text.count("<tr>") == 2001


def test_histograms_say_their_numbers_in_words():
    manifest, faces, audio = made_up(1000)
    faces["fps"] = 25.0
    faces["share"] = None
    figures = {figure.title: figure.alt for figure in histograms(outcome_of(manifest, faces, audio))}
    assert list(figures) == ["Coverage", "Face size", "Duration", "Frame rate"]
    assert figures["Frame rate"] == (
        "Frame rate of 1,000: frames per second; median 25, the middle half from 25 to 25, all from 25 to 25"
    )

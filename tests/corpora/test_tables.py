"""A manifest.csv as people write it: what can be read is read, what cannot is named, and nothing passes unseen."""

from pathlib import Path

import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.csv_table import proposed_dataset
from hicmae_core.preparation.building import build_manifest
from hicmae_core.store.manifest import speakers_in_words, units_in_words

TABLES = Path(__file__).parent / "tables"
MINE = DatasetParams(corpus="csv", classes=("angry", "calm", "happy"), num_folds=2)
HEADER = "clip_id,video,subject,fold,label"
GOOD = [f"c{i:02},videos/c{i:02}.mp4,S{i // 3},{i // 6 + 1},{MINE.classes[i % 3]}" for i in range(12)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder with twelve clips and no table yet."""
    (tmp_path / "videos").mkdir()
    for i in range(12):
        (tmp_path / f"videos/c{i:02}.mp4").write_bytes(b"not empty")
    return tmp_path


def table(raw: Path, *lines: str, encoding: str = "utf-8") -> Path:
    (raw / "manifest.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
    return raw


def copied(raw: Path, name: str) -> Path:
    return table(raw, *(TABLES / name).read_text().splitlines())


def edited(raw: Path, line: int, old: str, new: str) -> Path:
    """The good table, with one line changed; line 1 is the header."""
    lines = [HEADER, *GOOD]
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    return table(raw, *lines)


def built(raw: Path, dataset: DatasetParams = MINE) -> tuple[pd.DataFrame, str]:
    """The manifest, and what the user was told."""
    told: list[str] = []
    return build_manifest("mine", dataset, raw, None, 1, 1.0, told.append), "\n".join(told)


@pytest.mark.parametrize("name", ["t01.csv", "t02.csv"])
def test_a_speaker_in_two_folds_is_seen_however_the_column_is_written(raw: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"tested \(anna\), such as anna \(\w+ tested, \w+ not\); give all"):
        built(copied(raw, name))


@pytest.mark.parametrize(
    "header",
    [
        "Clip_ID,VIDEO,Subject,Fold,Label",
        " clip_id , video , subject , fold , label ",
        '"clip_id","video","subject","fold","label"',
        'clip_id, "video", "subject", "fold", "label"',
        "\ufeffclip_id,video,subject,fold,label",
        "clip_id,video,\u00a0subject,fold,label,,",
    ],
)
def test_case_space_quotes_and_marks_of_a_header_do_not_matter(raw: Path, header: str) -> None:
    ending = ",," if header.endswith(",,") else ""
    manifest, told = built(table(raw, header, *(row + ending for row in GOOD)))
    assert manifest["subject"].tolist() == [f"S{i // 3}" for i in range(12)]
    assert manifest["label"].tolist() == [0, 1, 2] * 4
    assert told == ""


def test_an_audio_column_in_capitals_is_read(raw: Path) -> None:
    (raw / "videos/other.mp4").write_bytes(b"not empty")
    manifest, told = built(copied(raw, "t04.csv"))
    assert set(manifest["audio_path"]) == {"videos/other.mp4"}
    assert told == ""


def test_a_column_that_may_be_meant_is_named_and_not_taken(raw: Path) -> None:
    manifest, told = built(copied(raw, "t03.csv"))
    assert manifest["subject"].isna().all()
    assert told == "mine: manifest.csv: columns that are not used: speaker (rename it to `subject` if it is that)"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Actor", "subject"),
        ("speaker_id", "subject"),
        ("Subject ID", "subject"),
        ("subjct", "subject"),
        ("participant", "subject"),
        ("wav", "audio"),
        ("sound", "audio"),
    ],
)
def test_other_names_of_optional_columns_get_a_hint(raw: Path, name: str, meant: str) -> None:
    rows = [",".join([*row.split(",")[:2], *row.split(",")[3:], "x"]) for row in GOOD]
    _, told = built(table(raw, f"clip_id,video,fold,label,{name}", *rows))
    assert told.endswith(f"not used: {name} (rename it to `{meant}` if it is that)")


def test_other_columns_are_listed_and_get_a_hint_only_if_one_is_absent(raw: Path) -> None:
    _, told = built(table(raw, f"{HEADER},speaker,notes", *(f"{row},x,y" for row in GOOD)))
    assert told == "mine: manifest.csv: columns that are not used: speaker, notes"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("emotion", "label"),
        ("lable", "label"),
        ("path", "video"),
        ("filename", "video"),
        ("video_path", "video"),
        ("test_fold", "fold"),
    ],
)
def test_a_needed_column_under_another_name_is_an_error_with_the_name(raw: Path, name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"no column {meant}; there are: .*{name} \(rename it to `{meant}`"):
        built(edited(raw, 1, meant, name))


@pytest.mark.parametrize("twin", ["subject", "Subject", " subject "])
def test_two_columns_of_one_name_are_an_error(raw: Path, twin: str) -> None:
    with pytest.raises(ValueError, match=rf"columns 'subject' and '{twin}' have one name, subject"):
        built(table(raw, f"{HEADER},{twin}", *(f"{row},x" for row in GOOD)))


def test_outer_space_of_cells_does_not_matter(raw: Path) -> None:
    plain, _ = built(table(raw, HEADER, *GOOD))
    spaced, _ = built(table(raw, HEADER, *(row.replace(",", " , ") + "\u00a0" for row in GOOD)))
    pd.testing.assert_frame_equal(spaced, plain)


def test_a_file_whose_name_begins_with_a_space_is_found(raw: Path) -> None:
    (raw / "videos/c00.mp4").rename(raw / " c00.mp4")
    manifest, _ = built(edited(raw, 2, "videos/c00.mp4", " c00.mp4"))
    assert (manifest["video_path"][0], manifest["status"][0]) == (" c00.mp4", "ok")


def test_a_speaker_in_two_spellings_is_one(raw: Path) -> None:
    with pytest.raises(ValueError, match=r"1 speakers are both trained on and tested \(S0\)"):
        built(edited(raw, 13, "S3", "s0"))
    assert built(edited(raw, 3, "S0", "s0"))[0]["subject"].tolist() == [f"S{i // 3}" for i in range(12)]
    with pytest.raises(ValueError, match=r"both trained on and tested \(S0\)"):
        built(edited(raw, 13, "S3", "S0 "))


@pytest.mark.parametrize("other", ["Jose\u0301 M", "Jos\u00e9\u00a0M", "Jos\u00e9  M"])
def test_names_that_look_the_same_are_one(raw: Path, other: str) -> None:
    speaker = "Jos\u00e9 M"
    header = HEADER.replace("subject", "subject,unit")
    rows = [row.replace(f",S{i // 3},", f",{speaker if i else other},r{i},") for i, row in enumerate(GOOD)]
    with pytest.raises(ValueError, match=rf"fold 1: 1 speakers are both trained on and tested \({speaker}\)"):
        built(table(raw, header, *rows))
    rows = [
        row.replace(f",S{i // 3},", f",S{i // 3},{[other, 'r', speaker][i % 3] if i < 3 else i},")
        for i, row in enumerate(GOOD)
    ]
    rows[0] = rows[0].replace("angry", "happy")
    manifest, _ = built(table(raw, header, *rows), MINE.model_copy(update={"allow_incomplete": True}))
    assert manifest["unit"].tolist()[:3] == [speaker, "r", speaker]


def test_a_column_of_units_is_seen_in_the_last_line_even_if_each_has_one_clip(raw: Path) -> None:
    assert units_in_words(built(table(raw, HEADER, *GOOD))[0]) == ""
    each, _ = built(table(raw, f"{HEADER},unit", *(f"{row},r{i}" for i, row in enumerate(GOOD))))
    assert units_in_words(each) == "; 12 units, each scored as one"


@pytest.mark.parametrize(
    ("label", "hint"),
    [
        ("Happy", " (did you mean happy? Names must match in case and spelling)"),
        ("hapy", " (did you mean happy? Names must match in case and spelling)"),
        ("NaN", " (leave the cell empty where there is no value)"),
        ("NA", " (leave the cell empty where there is no value)"),
        ("bored", ""),
    ],
)
def test_a_label_that_is_almost_a_class_is_refused_with_a_hint(raw: Path, label: str, hint: str) -> None:
    manifest, _ = built(edited(raw, 4, "happy", label))
    assert manifest["reason"][2] == f"label {label} is not among angry, calm, happy{hint}"


def test_a_class_may_be_called_na(raw: Path) -> None:
    lines = [HEADER, *(row.replace("calm", "NA") for row in GOOD)]
    manifest, _ = built(table(raw, *lines), MINE.model_copy(update={"classes": ("NA", "angry", "happy")}))
    assert manifest["status"].tolist() == ["ok"] * 12


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1,5", "high"])
def test_a_target_that_is_no_finite_number_is_refused(raw: Path, value: str) -> None:
    dataset = DatasetParams(corpus="csv", task="regression", targets=("Valence",), num_folds=2)
    rows = [f'{row},"{value if i == 3 else i}"' for i, row in enumerate(GOOD)]
    manifest, _ = built(table(raw, f"{HEADER},valence ", *rows), dataset)
    assert manifest["status"].tolist() == ["ok"] * 3 + ["unknown_label"] + ["ok"] * 8
    assert manifest["reason"][3].startswith(f"target Valence {value} is not among the numbers")


@pytest.mark.parametrize("fold", ["1.5", "x", "fold1", "-1", "nan", "1,0", "1e0", "\uff11"])
def test_a_fold_that_is_no_whole_number_is_named_with_its_line(raw: Path, fold: str) -> None:
    with pytest.raises(ValueError, match=rf"manifest\.csv, line 4: folds are whole numbers from 1, not '{fold}'"):
        built(edited(raw, 4, ",1,", f',"{fold}",'))


def test_folds_that_programs_write_as_decimals_are_whole(raw: Path) -> None:
    manifest, _ = built(copied(raw, "t09.csv"))
    assert manifest["test_fold"].tolist() == [1] * 6 + [2] * 6


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NULL", "N/A", "<NA>"])
def test_a_missing_value_is_no_speaker(raw: Path, word: str) -> None:
    with pytest.raises(ValueError, match=rf"line 5: subject '{word}' reads as a missing value; leave the cell empty"):
        built(edited(raw, 5, "S1", word))


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (4, "c02,videos/c02.mp4,S0", "line 4: has 3 cells, but the header has 5"),
        (4, "c02,videos/c02.mp4,S0,1,happy,x", "line 4: has 6 cells, but the header has 5"),
        (4, 'c02,"videos/c02.mp4,S0,1,happy', "line 4: not a CSV file: unexpected end of data"),
    ],
)
def test_a_broken_line_is_named(raw: Path, line: int, text: str, message: str) -> None:
    lines = [HEADER, *GOOD]
    lines[line - 1] = text
    with pytest.raises(ValueError, match=message):
        built(table(raw, *lines))


def test_lines_are_counted_as_an_editor_does(raw: Path) -> None:
    lines = [HEADER, GOOD[0].replace("c00,", '"c0\n0",'), "", ",,,,", GOOD[1].replace(",1,", ",x,")]
    with pytest.raises(ValueError, match="line 6: folds are whole numbers from 1, not 'x'"):
        built(table(raw, *lines))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_named(raw: Path, separator: str) -> None:
    name = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
    with pytest.raises(ValueError, match=rf"manifest\.csv: its columns are separated by {name}; save it as CSV"):
        built(table(raw, *(line.replace(",", separator) for line in (HEADER, *GOOD))))


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "is in UTF-16 or no text; save it in UTF-8"),
        ("utf-16-le", "is in UTF-16 or no text; save it in UTF-8"),
        ("latin-1", r"line 5: not UTF-8 \(byte 0xE9\), perhaps Latin-1 or Windows-1252; save it in UTF-8"),
    ],
)
def test_another_encoding_is_named(raw: Path, encoding: str, message: str) -> None:
    lines = [HEADER, *GOOD]
    lines[4] = lines[4].replace("S1", "André")
    with pytest.raises(ValueError, match=message):
        built(table(raw, *lines, encoding=encoding))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:92\nsize 414429\n", "Git LFS pointer.*git lfs pull"),
        (b"/annex/objects/SHA256E-s414429--92.csv\n", "git-annex pointer.*git annex get"),
        (b"outs:\n- md5: 92\n  size: 4\n  path: manifest.csv\n", "DVC pointer.*dvc pull"),
        (b"\n<!DOCTYPE html>\n<html><title>404</title>", "a web page.*download the file again"),
        (b"PK\x03\x04\x14\x00", "an Excel workbook or an archive"),
        (b"\x1f\x8b\x08\x00clip_id", "an Excel workbook or an archive"),
    ],
)
def test_what_is_no_table_is_named(raw: Path, content: bytes, message: str) -> None:
    (raw / "manifest.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"manifest\.csv: is .*{message}"):
        built(raw)


def test_how_many_speakers_there_are_is_said(raw: Path) -> None:
    words = speakers_in_words(built(table(raw, HEADER, *GOOD))[0], labelled=True)
    assert words == "4 speakers"
    some = [row.replace("S0", "").replace("S1", " ") for row in GOOD]
    assert speakers_in_words(built(table(raw, HEADER, *some))[0], labelled=True) == (
        "2 speakers; 6 clips of unknown speakers (no speaker-leak check for these; each counts as a speaker of its own)"
    )
    unknown = built(copied(raw, "t03.csv"))[0]
    assert speakers_in_words(unknown, labelled=True) == (
        "speakers: unknown (no speaker-leak check; intervals are over clips)"
    )
    assert speakers_in_words(unknown, labelled=False) == "speakers: unknown"


def test_a_table_proposes_its_classes_and_folds(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert proposed_dataset(copied(raw, "t08.csv")).num_folds == 12
    assert proposed_dataset(copied(raw, "t09.csv")) == MINE
    assert proposed_dataset(table(raw, HEADER.upper(), *(row.replace(",", " , ") for row in GOOD))) == MINE
    assert proposed_dataset(table(raw, "id,clip_id,video", *(f"1,{row[:18]}" for row in GOOD))).task == "unlabelled"
    assert not caplog.messages
    assert proposed_dataset(copied(raw, "t14.csv")) == MINE
    assert "not taken for classes: NaN" in caplog.text
    manifest, _ = built(raw)
    assert manifest["status"].tolist() == ["ok"] * 5 + ["unknown_label"] + ["ok"] * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((1, "label", "emotion"), r"no column label; .*emotion \(rename it to `label` if it is that\)"),
        ((1, "fold", "split"), r"labels need a column fold.*split \(rename it to `fold` if it is that\)"),
        ((2, ",1,", ",one,"), "line 2: folds are whole numbers from 1, not 'one'"),
        ((2, ",1,", ",0,"), "without a gap; there are: 0, 1, 2"),
        ((2, "angry", "Calm"), "differ in case or in the coding of letters only: 'Calm' and 'calm'"),
        ((2, ",1,", ",4,"), "without a gap; there are: 1, 2, 4"),
    ],
)
def test_a_table_that_proposes_nothing_is_refused(raw: Path, change: tuple[int, str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proposed_dataset(edited(raw, *change))

"""Files, folders and patterns."""

import pytest

from stages.cli.files import media_files


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "sub/b.MOV", "sub/c.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_is_its_media_and_no_file_comes_twice(folder):
    found = media_files([str(folder), str(folder / "a.mp4")])
    assert [str(path.relative_to(folder)) for path in found] == ["a.mp4", "sub/b.MOV", "sub/c.wav"]


def test_a_pattern_is_what_fits_it(folder):
    assert [path.name for path in media_files([f"{folder}/**/*.*4"])] == ["a.mp4"]


def test_a_name_is_taken_as_it_is(folder):
    assert media_files(["nowhere.mp4", str(folder / "notes.txt")])[0].name == "nowhere.mp4"


@pytest.mark.parametrize(("name", "words"), [("empty", "no video or sound file"), ("*.avi", "no file fits")])
def test_nothing_found_is_said(folder, name, words):
    with pytest.raises(ValueError, match=words):
        media_files([str(folder / name)])

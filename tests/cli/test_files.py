"""Files, folders and patterns."""

import pytest

from hicmae.cli.inputs import GrowingFolder, media_files


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


@pytest.mark.parametrize(("name", "words"), [("empty", "no video or audio file"), ("*.avi", "no file fits")])
def test_nothing_found_is_said(folder, name, words):
    with pytest.raises(ValueError, match=words):
        media_files([str(folder / name)])


def test_how_many_files_are_passed_over_is_said(folder, capfd):
    for name in ("x.rm", "sub/y.RM", "noextension"):
        (folder / name).touch()
    assert len(media_files([str(folder)])) == 3
    assert capfd.readouterr().err == (
        f"{folder}: passed over 4 files (2 .rm, 1 without extension, 1 .txt), no video or audio by extension; "
        "to open one, name it\n"
    )
    (folder / "empty/z.rm").touch()
    with pytest.raises(ValueError, match=r"no video or audio file in this folder.*: 1 file \(1 \.rm\)"):
        media_files([str(folder / "empty")])


def test_images_are_passed_over_and_said(folder, capfd):
    (folder / "frames/00025").mkdir(parents=True)
    for name in ("1.jpg", "2.JPG", ".hidden.jpg"):
        (folder / "frames/00025" / name).touch()
    assert len(media_files([str(folder)])) == 3
    assert "passed over 3 files (2 .jpg, 1 .txt)" in capfd.readouterr().err
    with pytest.raises(ValueError, match=r"no video or audio file in this folder.*: 2 files \(2 \.jpg\)"):
        media_files([str(folder / "frames/00025")])


def test_every_container_that_is_opened_is_found_in_a_folder(tmp_path):
    for extension in ("m2ts", "vob", "opus", "asf", "wma", "oga", "mka", "3g2", "m4v", "ts", "ogv", "m2t", "f4v"):
        (tmp_path / f"a.{extension}").touch()
        assert tmp_path / f"a.{extension}" in media_files([str(tmp_path)])


def test_a_watched_folder_names_each_file_that_it_passes_over_once(folder, capfd):
    growing = GrowingFolder(folder)
    growing.finished()
    (folder / "late.rm").touch()
    growing.finished()
    growing.finished()
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(", no video")[0] for line in lines] == [
        f"{folder}: passed over 1 file (1 .txt)",
        f"{folder}: passed over 1 file (1 .rm)",
    ]

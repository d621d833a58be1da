"""A folder of face frames is read in order, unchanged where it can be; what is odd about it is said."""

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from hicmae_core.media import frame_folder
from hicmae_core.media.decoding import MediaInfo
from hicmae_core.media.frame_folder import folder_state, frame_rate, inspect_folder, list_frames, read_folder
from hicmae_core.media.opening import MediaError
from tests.media.face_images import decoded, encoded, face, write_frames

CLIP = MediaInfo(25.0, 100, 4.0, 320, 240, has_video=True, has_audio=True)
WAV = MediaInfo(0.0, 0, 4.0, 0, 0, has_video=False, has_audio=True)


def refusal(act, *arguments) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        act(*arguments)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    "name",
    ["{}.jpg", "{:05}.JPG", "00001_{:05}.jpeg", "frame_det_00_{:06}.bmp", "clip7 frame {}.png", "{:06}.Png", "0{}.BMP"],
)
def test_frames_come_in_the_order_of_the_last_number_of_their_names(tmp_path, name):
    write_frames(tmp_path, [2, 10, 1, 9, 100], name)
    assert [frame.number for frame in list_frames(tmp_path)] == [1, 2, 9, 10, 100]
    assert [frame.path.name for frame in list_frames(tmp_path)] == [name.format(n) for n in (1, 2, 9, 10, 100)]


def test_other_files_and_folders_are_passed_over(tmp_path):
    write_frames(tmp_path, range(1, 4))
    for stray in ("Thumbs.db", ".DS_Store", "._1.jpg", "1.csv", "cover.jpg", "4.gif", "5"):
        (tmp_path / stray).write_bytes(b"stray")
    write_frames(tmp_path / "6.jpg", range(1, 3))
    write_frames(tmp_path / "deeper", range(7, 9))
    assert [frame.number for frame in list_frames(tmp_path)] == [1, 2, 3]


def test_a_folder_without_a_numbered_image_is_refused(tmp_path):
    (tmp_path / "cover.jpg").write_bytes(encoded(face(1)))
    (tmp_path / "1.txt").write_text("no image")
    status, reason = refusal(list_frames, tmp_path)
    assert status == "no_video"
    assert "no image (jpg, jpeg, png, bmp) with a number in its name" in reason


@pytest.mark.parametrize("twin", ["1.png", "0001.jpg", "frame_1.jpeg", "2 (1).jpg"])
def test_two_images_of_one_number_are_refused(tmp_path, twin):
    write_frames(tmp_path, range(1, 4))
    (tmp_path / twin).write_bytes(encoded(face(2)))
    status, reason = refusal(read_folder, tmp_path, 92)
    assert status == "unreadable"
    assert "two images have the number 1" in reason
    assert twin in reason


def test_jpegs_are_taken_byte_for_byte(tmp_path):
    contents = write_frames(tmp_path, range(1, 13))
    contents[3] = encoded(face(3), progressive=True)
    contents[4] = encoded(face(4).mean(2).astype(np.uint8))  # grey
    contents[5] = encoded(face(5), quality=20)
    for number in (3, 4, 5):
        (tmp_path / f"{number + 1}.jpg").write_bytes(contents[number])
    (tmp_path / "12.jpg").rename(tmp_path / "012.png")  # the name lies: it is a JPEG
    found = read_folder(tmp_path, 92)
    assert found.jpegs == contents
    assert (found.side, found.coverage, found.reason) == (64, 1.0, "")
    assert found.seen.all()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_other_images_are_encoded_at_their_own_size(tmp_path, kind):
    for number in range(1, 4):
        (tmp_path / f"frame_det_00_{number:06}.{kind.lower()}").write_bytes(encoded(face(number, 112), kind))
    found = read_folder(tmp_path, 92)
    assert found.side == 112
    for number, jpeg in enumerate(found.jpegs, start=1):
        assert np.abs(decoded(jpeg).astype(int) - face(number, 112)).mean() < 3
    assert len(read_folder(tmp_path, 60).jpegs[0]) < len(found.jpegs[0])


def rotated(image: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, exif=exif, quality=98)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.transpose(1, 0, 2)),
        (6, lambda image: np.rot90(image, 1)),
        (7, lambda image: np.rot90(image.transpose(1, 0, 2), 2)),
        (8, lambda image: np.rot90(image, -1)),
    ],
)
def test_an_exif_rotation_is_applied_because_the_reader_knows_none(tmp_path, orientation, stored):
    upright = face(1).copy()
    upright[:20, :20] = (250, 20, 20)  # no symmetry
    (tmp_path / "1.jpg").write_bytes(rotated(np.ascontiguousarray(stored(upright)), orientation))
    (jpeg,) = read_folder(tmp_path, 98).jpegs
    shown = simplejpeg.decode_jpeg(jpeg, "RGB").astype(int)
    assert np.abs(shown - upright).mean() < 4


def test_an_upright_exif_mark_changes_nothing(tmp_path):
    content = rotated(face(1), 1)
    (tmp_path / "1.jpg").write_bytes(content)
    assert read_folder(tmp_path, 92).jpegs == [content]


def test_cmyk_is_converted(tmp_path):
    Image.fromarray(face(1)).convert("CMYK").save(tmp_path / "1.jpg", "JPEG", quality=98)
    content = (tmp_path / "1.jpg").read_bytes()
    (jpeg,) = read_folder(tmp_path, 98).jpegs
    assert jpeg != content
    shown = simplejpeg.decode_jpeg(jpeg, "RGB").astype(int)
    assert np.abs(shown - face(1)).mean() < 6


def test_sixteen_bits_and_transparency_are_scaled_and_dropped(tmp_path):
    grey = face(1).mean(2)
    Image.fromarray((grey * 257).astype(np.uint16)).save(tmp_path / "1.png")
    Image.fromarray(np.dstack([face(2), np.full((64, 64), 9, np.uint8)])).save(tmp_path / "2.png")
    first, second = (decoded(jpeg).astype(int) for jpeg in read_folder(tmp_path, 98).jpegs)
    assert np.abs(first - grey[..., None]).mean() < 3
    assert np.abs(second - face(2)).mean() < 3


def test_mixed_sizes_become_that_of_most_frames(tmp_path):
    contents = write_frames(tmp_path, range(1, 10), side=64)
    write_frames(tmp_path, [3], side=96)
    (tmp_path / "5.jpg").write_bytes(encoded(face(5, 96)[:, :48]))  # 48 x 96
    found = read_folder(tmp_path, 95)
    assert found.side == 64
    assert {decoded(jpeg).shape for jpeg in found.jpegs} == {(64, 64, 3)}
    assert [i for i in range(9) if found.jpegs[i] != contents[i]] == [2, 4]
    assert np.abs(decoded(found.jpegs[2]).astype(int) - face(3)).mean() < 5
    middle = np.asarray(Image.fromarray(face(5, 96)[24:72, :48]).resize((64, 64))).astype(int)
    assert np.abs(decoded(found.jpegs[4]).astype(int) - middle).mean() < 6, "its centre, not squeezed"


DAMAGE = {
    "truncated": (lambda content: content[: len(content) // 2], "cannot be decoded"),
    "empty": (lambda content: b"", "is empty"),
    "text": (lambda content: b"no image at all", "is neither JPEG, PNG nor BMP"),
    "pointer": (lambda content: b"version https://git-lfs.github.com/spec/v1\noid x", "run `git lfs pull`"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_damaged_image_costs_itself(tmp_path, kind):
    damage, words = DAMAGE[kind]
    contents = write_frames(tmp_path, range(1, 13))
    (tmp_path / "5.jpg").write_bytes(damage(contents[4]))
    found = read_folder(tmp_path, 92)
    assert found.jpegs == [*contents[:4], contents[3], *contents[5:]]
    assert found.seen.tolist() == [index != 4 for index in range(12)]
    assert found.coverage == pytest.approx(11 / 12)
    assert "1 of 12 images are damaged, such as 5.jpg" in found.reason
    assert words in found.reason


def test_more_than_a_tenth_of_them_costs_the_clip(tmp_path):
    contents = write_frames(tmp_path, range(1, 13))
    for number in (1, 12):
        (tmp_path / f"{number}.jpg").write_bytes(contents[0][:300])
    status, reason = refusal(read_folder, tmp_path, 92)
    assert status == "unreadable"
    assert "2 of 12 images are damaged, such as 1.jpg" in reason


def test_a_damaged_image_at_an_end_and_a_link_that_leads_nowhere(tmp_path):
    contents = write_frames(tmp_path, range(1, 22))
    (tmp_path / "1.jpg").write_bytes(b"")
    (tmp_path / "21.jpg").unlink()
    (tmp_path / "21.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = read_folder(tmp_path, 92)
    assert found.jpegs == [contents[1], *contents[1:20], contents[19]]


def test_an_image_too_large_for_memory_is_damaged(tmp_path):
    contents = write_frames(tmp_path, range(1, 13))
    bomb = bytearray(encoded(face(1), "BMP"))
    bomb[18:26] = (9_000).to_bytes(4, "little") + (4_000).to_bytes(4, "little")
    (tmp_path / "2.jpg").write_bytes(bytes(bomb))
    found = read_folder(tmp_path, 92)
    assert found.jpegs[1] == contents[0]
    assert "9000 x 4000" in found.reason


def test_black_images_are_those_without_a_face(tmp_path):
    contents = write_frames(tmp_path, range(1, 11))
    for number in (4, 5, 6, 7):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(np.zeros((64, 64, 3), np.uint8)))
    found = read_folder(tmp_path, 92)
    assert found.jpegs == [*contents[:3], *[contents[2]] * 2, *[contents[7]] * 2, *contents[7:]]
    assert found.coverage == 0.6
    assert found.reason == "4 of 10 images are black"
    for number in range(1, 11):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(np.zeros((64, 64, 3), np.uint8)))
    assert refusal(read_folder, tmp_path, 92) == ("no_face", "all of its 10 images are black")


@pytest.mark.parametrize(
    ("numbers", "coverage"),
    [((1, 2, 3, 4), 1), ((0, 4, 8, 12), 1), ((7,), 1), ((1, 2, 3, 9, 10), 0.5), ((5, 10, 25), 0.6)],
)
def test_gaps_are_counted_but_not_filled(tmp_path, numbers, coverage):
    contents = write_frames(tmp_path, numbers)
    found = read_folder(tmp_path, 92)
    assert found.jpegs == contents
    assert found.coverage == pytest.approx(coverage)


def test_the_digest_is_that_of_names_content_and_order(tmp_path):
    write_frames(tmp_path / "a", range(1, 6))
    before = inspect_folder(tmp_path / "a")
    assert before[0] == 5
    write_frames(tmp_path / "b", range(1, 6))
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"stray")
    assert inspect_folder(tmp_path / "b") == before
    digests = {before[1]}
    (tmp_path / "b" / "3.jpg").write_bytes(encoded(face(9)))
    digests.add(inspect_folder(tmp_path / "b")[1])
    (tmp_path / "b" / "5.jpg").rename(tmp_path / "b" / "6.jpg")
    digests.add(inspect_folder(tmp_path / "b")[1])
    one, other = tmp_path / "b/1.jpg", tmp_path / "b/2.jpg"
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1]), other.write_bytes(contents[0])
    digests.add(inspect_folder(tmp_path / "b")[1])
    one.unlink()
    digests.add(inspect_folder(tmp_path / "b")[1])
    assert len(digests) == 5


def test_the_state_changes_with_names_sizes_and_times(tmp_path):
    write_frames(tmp_path, range(1, 6))
    states = {folder_state(tmp_path)}
    (tmp_path / "3.jpg").write_bytes(encoded(face(9)))
    states.add(folder_state(tmp_path))
    (tmp_path / "5.jpg").rename(tmp_path / "6.jpg")
    states.add(folder_state(tmp_path))
    assert len(states) == 3
    (tmp_path / "notes.txt").write_text("stray")
    assert folder_state(tmp_path) in states


def test_the_manifest_refuses_what_is_no_image_in_bulk(tmp_path):
    write_frames(tmp_path, range(1, 13))
    (tmp_path / "5.jpg").write_bytes(b"text")
    assert inspect_folder(tmp_path)[0] == 12
    (tmp_path / "6.jpg").write_bytes(b"")
    status, reason = refusal(inspect_folder, tmp_path)
    assert (status, reason[:29]) == ("unreadable", "2 of 12 images are damaged, s")


@pytest.mark.parametrize(
    ("num_frames", "audio", "clip", "fps", "rate"),
    [
        (100, CLIP, None, None, 25.0),
        (97, CLIP, None, None, 25.0),  # a few frames without a face
        (100, CLIP, None, 10.0, 25.0),  # the clip goes before what was declared
        (50, CLIP, None, None, 12.5),  # every other frame
        (16, CLIP, None, 25.0, 4.0),
        (200, CLIP, None, None, 50.0),
        (100, WAV, CLIP, None, 25.0),
        (100, WAV, None, 30.0, 30.0),
        (100, WAV, None, None, 25.0),
        (40, WAV, None, None, 10.0),
    ],
)
def test_the_frame_rate_is_the_clip_s_or_spreads_the_frames_over_it(tmp_path, num_frames, audio, clip, fps, rate):
    assert frame_rate(tmp_path, num_frames, audio, clip, fps) == pytest.approx(rate)


def test_an_absurd_frame_rate_is_refused(tmp_path):
    silent = MediaInfo(0.0, 0, 0.0, 0, 0, has_video=False, has_audio=True)
    status, reason = refusal(frame_rate, tmp_path, 100, silent, None, None)
    assert status == "unreadable"
    assert "`fps`" in reason
    assert frame_rate(tmp_path, 100, silent, None, 25.0) == 25.0


def test_the_middle_image_stands_for_the_folder(tmp_path):
    contents = write_frames(tmp_path, range(1, 6))
    np.testing.assert_array_equal(frame_folder.middle_image(tmp_path), decoded(contents[2]))
    (tmp_path / "3.jpg").write_bytes(b"")
    assert refusal(frame_folder.middle_image, tmp_path) == ("unreadable", "is empty (0 bytes)")

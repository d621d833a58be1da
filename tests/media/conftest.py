"""Films that several tests look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.media.films import background, talking_head, tone, write_film

cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad files."""
    folder = tmp_path_factory.mktemp("films")
    frames, _ = talking_head()
    good = write_film(folder / "good.mp4", frames, tone(2.0))
    write_film(folder / "silent.mp4", frames[:15])
    write_film(folder / "faceless.mp4", [background()] * 15, tone(0.6))
    (folder / "zero.mp4").touch()
    (folder / "text.mp4").write_text("This is not a video.\n" * 50)
    (folder / "text.txt").write_text("This is not a video.\n" * 50)
    whole = good.read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "headless.mp4").write_bytes(whole[len(whole) // 2 :])
    (folder / "really_mp4.avi").write_bytes(whole)
    cv2.imwrite(str(folder / "picture.png"), background())
    (folder / "picture.png").rename(folder / "picture.mp4")
    return folder

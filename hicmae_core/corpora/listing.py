"""What is in a raw folder: names only, each directory listed once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hicmae_core.config import VideoSource
from hicmae_core.files import AUDIO, VIDEO, as_text, is_image

_MAX_KINDS = 8
"""Extensions that a note names."""
EXTRACTED_AUDIO = "audio_16k"
"""The folder in which published code keeps the clips' audio as wav; the corpus's own files come first."""
OPENFACE = ("face_aligned", "openface")
"""Folders in which published code keeps the crops that OpenFace made of a corpus, the preferred first."""
_ALIGNED = "_aligned"
"""How OpenFace ends the name of a clip's folder of frames."""


class _Listing(NamedTuple):
    files: frozenset[str]
    """Images apart, of which a corpus of face frames has a million."""
    folders: dict[str, bool]
    """By name, whether it is a link."""
    num_images: int
    an_image: str
    """The first of them by name; empty if there is none."""


class Folder:
    """A raw folder; paths in it are relative, with ``/``.

    Args:
        root: Where it is. Links in it are followed, those that lead back into it are not.
        any_name: Whether names that are no UTF-8 are listed, too. No table can hold them; they are noted instead.

    Attributes:
        notes: Sentences on what is in it and was not used, for whoever reads it to add to and to show to the user.
    """

    def __init__(self, root: Path, any_name: bool = False) -> None:
        self.root = root
        self._any_name = any_name
        self.notes: list[str] = []
        self._listings: dict[str, _Listing] = {}
        self._links_seen: set[str] = set()

    @cached_property
    def files(self) -> list[str]:
        """Every file at any depth but images, sorted; hidden ones and what macOS adds to archives left out."""
        found: list[str] = []
        for folder in self._all_folders:
            prefix = f"{folder}/" if folder else ""
            found.extend(prefix + name for name in self._list(folder).files if not name.startswith("."))
        named = sorted(filter(self._can_be_named, found))
        odd = len(found) - len(named)
        if odd:
            example = as_text(min(set(found).difference(named)))
            self.notes.append(
                f"passed over {odd} file{'s' * (odd != 1)} whose names are not UTF-8, such as {example}: rename them"
            )
        return named

    @property
    def images(self) -> list[str]:
        """Every image at any depth, likewise; listed anew, as their names are not kept."""
        holding = [folder for folder in self.folders if self._list(folder).num_images]
        found = [
            os.path.join(folder, name)
            for folder in holding
            for name in os.listdir(self.root / folder)
            if is_image(name)
        ]
        return sorted(filter(self._can_be_named, found))

    @property
    def folders(self) -> list[str]:
        """Every folder at any depth, sorted, this one (``""``) first; left out as for `files`."""
        return [folder for folder in self._all_folders if self._can_be_named(folder)]

    @cached_property
    def _all_folders(self) -> list[str]:
        found: list[str] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            found.append(folder)
            prefix = f"{folder}/" if folder else ""
            for name, is_link in self._list(folder).folders.items():
                if not name.startswith((".", "__MACOSX")) and not (is_link and self._leads_back(prefix + name)):
                    waiting.append(prefix + name)
        return sorted(found)

    def holds(self, path: str) -> bool:
        """Whether there is a file of that relative path.

        True in a folder that must not be listed: opening the file reports that.
        """
        folder, _, name = path.rpartition("/")
        try:
            return name in self._list(folder).files or (is_image(name) and (self.root / path).is_file())
        except PermissionError:
            return True

    def num_images(self, path: str) -> int | None:
        """How many images a folder holds itself, hidden ones apart; None where there is no folder of that path.

        What must not be listed tells when it is opened: a folder counts as one image, what is in it as a file.
        """
        folder, _, name = path.rpartition("/")
        try:
            if path and name not in self._list(folder).folders:
                return None
        except PermissionError:
            return None
        try:
            return self._list(path).num_images
        except PermissionError:
            return 1

    def an_image(self, path: str) -> str:
        """The path of one of the images that a folder holds itself; empty if it holds none or must not be listed."""
        try:
            name = self._list(path).an_image
        except PermissionError:
            return ""
        return name and f"{path}/{name}".removeprefix("/")

    def find(self, suffix: str) -> str | None:
        """The first file whose path is or ends with `suffix`, such as ``set_1/test.txt``; None if there is none."""
        return next((path for path in self.files if path == suffix or path.endswith(f"/{suffix}")), None)

    def find_needed(self, suffix: str, hint: str) -> Path:
        """As `find`, but the full path, or a ValueError with `hint`."""
        path = self.find(suffix)
        if path is None:
            raise ValueError(f"{self.root}: there is no {suffix}; {hint}")
        return self.root / path

    def _can_be_named(self, path: str) -> bool:
        return self._any_name or path.isascii() or as_text(path) == path

    def _list(self, folder: str) -> _Listing:
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = _listing_of(os.path.join(self.root, folder))
        return known

    def _leads_back(self, link: str) -> bool:
        """Whether a linked folder lies in this one, holds it, or was linked before."""
        home, real = os.path.realpath(self.root), os.path.realpath(self.root / link)
        if real in self._links_seen or os.path.commonpath([real, home]) in (home, real):
            return True
        self._links_seen.add(real)
        return False


def stem(path: str) -> str:
    """A file's name without folder and extension."""
    return Path(path).stem


def in_words(paths: Iterable[str]) -> str:
    """How many files there are of each extension: ``3 files (2 .txt, 1 without extension)``."""
    kinds = Counter(Path(path).suffix.lower() or "without extension" for path in paths)
    total = kinds.total()
    named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_MAX_KINDS))
    more = ", ..." if len(kinds) > _MAX_KINDS else ""
    return f"{total} file{'s' * (total != 1)} ({named}{more})"


def note_passed_over(folder: Folder, key_of: Callable[[str], str | None], found: Container[str]) -> None:
    """Note files that have a clip's name, but not the extension of what is read, where the clip has no other file.

    Args:
        folder: The raw folder.
        key_of: As of `by_key`.
        found: The clips that have a file.
    """
    others = [path for path in folder.files if (key := key_of(path)) is not None and key not in found]
    if others:
        folder.notes.append(
            f"passed over {in_words(others)} named as clips, such as {others[0]}: not the extension of what is read"
        )


def by_key(
    paths: Iterable[str], suffixes: tuple[str, ...], key_of: Callable[[str], str | None] = stem
) -> dict[str, str]:
    """Media files by what identifies them.

    Args:
        paths: Relative paths.
        suffixes: Extensions that count, the preferred first; case does not matter.
        key_of: The key of a path, None for a file that is not meant.

    Raises:
        ValueError: If two files of one extension have one key.
    """
    found: dict[str, str] = {}
    ranks: dict[str, int] = {}
    for path in paths:
        suffix = path[path.rfind(".") :].lower()
        key = key_of(path) if suffix in suffixes else None
        if key is None:
            continue
        rank = suffixes.index(suffix)
        if rank == ranks.get(key):
            raise ValueError(f"{found[key]} and {path} are one clip by name; remove one of them")
        if rank < ranks.get(key, len(suffixes)):
            found[key], ranks[key] = path, rank
    return found


class Media(NamedTuple):
    """Where a corpus's videos and audio are, by clip id; see `find_media`."""

    clips: dict[str, str]
    """Video files."""
    sounds: dict[str, str]
    """Audio files; empty where they are not wanted."""
    frames: dict[str, str]
    """Folders of face frames; empty where `dataset.video` does not take them."""
    takes_frames: bool
    audio_first: bool

    @property
    def videos(self) -> dict[str, str]:
        """What the faces come from."""
        return self.frames if self.takes_frames else self.clips

    def of(self, clip_id: str, clip_at: str, frames_at: str) -> dict[str, str | None]:
        """The columns ``video_path``, ``audio_path`` and ``clip_path`` of a manifest's row (`base.ReadFn`).

        Args:
            clip_id: The clip.
            clip_at: Where its video file should be, if there is none.
            frames_at: Where its folder of frames should be, if there is none.
        """
        clip, sound = self.clips.get(clip_id), self.sounds.get(clip_id)
        if not self.takes_frames:
            video = clip or clip_at
            return {"video_path": video, "audio_path": sound or video, "clip_path": None}
        audio = (sound or clip if self.audio_first else clip or sound) or clip_at
        return {"video_path": self.frames.get(clip_id, frames_at), "audio_path": audio, "clip_path": clip}


def find_media(
    folder: Folder,
    source: VideoSource | None,
    key_of: Callable[[str], str | None] = stem,
    sounds: tuple[str, ...] = AUDIO[:1],
    audio_first: bool = True,
    clips_in: str = "",
    frames_in: Sequence[str] = OPENFACE,
) -> Media:
    """Find a corpus's video files, audio files and folders of face frames.

    Args:
        folder: The raw folder.
        source: `DatasetParams.video`. None takes the frames of all clips where the folder has any, else the clips.
        key_of: The clip id of a path, None for one that is not meant. It is given a file's path, and a folder's with
            ``.frames`` in place of OpenFace's ``_aligned`` or a video's extension, or behind it.
        sounds: Extensions of audio files that count.
        audio_first: Whether an audio file goes before the video file's audio; else it is for frames without one.
        clips_in: What a video file's path must hold.
        frames_in: Names of folders that frames are known to be in, the preferred first; others come after them.

    Raises:
        ValueError: If two files or folders are one clip, or `source` is not there.
    """
    holding = {path: key for path in folder.folders if (key := key_of(_named_for(path) + ".frames"))}
    frames = _frames_by_key(folder, holding, frames_in)
    drawn = {f"{path.removesuffix(_ALIGNED)}.avi" for path in holding if path.endswith(_ALIGNED)}
    clips = by_key(  # beside its aligned faces OpenFace leaves a video with its marks drawn on it
        (path for path in folder.files if clips_in in path and path not in drawn), VIDEO, key_of
    )
    if (source == "frames" and not frames) or (source == "clips" and frames and not clips):
        absent, there = ("folder of face frames", "clips") if source == "frames" else ("video file", "frames")
        raise ValueError(
            f"{folder.root}: there is no {absent} of any clip, which the dataset's `video: {source}` asks for; "
            f"add them, or set it to {there}"
        )
    takes_frames = bool(frames) and source != "clips"
    if takes_frames:  # a folder without an image is a clip that lacks them
        frames = {key: path for path, key in holding.items() if key not in frames} | frames
    audio = _audio_by_key(folder, sounds, key_of) if takes_frames or audio_first else {}
    return Media(clips, audio, frames if takes_frames else {}, takes_frames, audio_first)


def _named_for(folder: str) -> str:
    """What a folder of frames is named for, without OpenFace's ending or the clip's extension (``00025.mp4/1.jpg``)."""
    name = folder.removesuffix(_ALIGNED)
    extension = name[name.rfind(".") :]
    return name.removesuffix(extension) if extension.lower() in VIDEO else name


def _audio_by_key(folder: Folder, sounds: tuple[str, ...], key_of: Callable[[str], str | None]) -> dict[str, str]:
    extracted = [path for path in folder.files if EXTRACTED_AUDIO in path.split("/")[:-1]]
    own = set(folder.files).difference(extracted)
    return by_key(extracted, AUDIO[:1], key_of) | by_key(sorted(own), sounds, key_of)


def _frames_by_key(folder: Folder, holding: dict[str, str], preferred: Sequence[str]) -> dict[str, str]:
    """Folders that hold images themselves, by clip id."""
    found: dict[str, str] = {}
    ranks: dict[str, int] = {}
    for path, key in holding.items():
        if not folder.num_images(path):
            continue
        above = path.split("/")
        rank = next((i for i, name in enumerate(preferred) if name in above), len(preferred))
        if rank == ranks.get(key):
            raise ValueError(f"{found[key]} and {path} hold frames of one clip by name; move one of them elsewhere")
        if rank < ranks.get(key, rank + 1):
            found[key], ranks[key] = path, rank
    return found


def _listing_of(path: str) -> _Listing:
    """Files and folders of a folder that may not be there; links that lead in a circle are neither."""
    files, folders, num_images, an_image = [], {}, 0, ""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir():
                        folders[entry.name] = entry.is_symlink()
                    elif is_image(entry.name):
                        num_images += 1
                        an_image = min(an_image or entry.name, entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
    except PermissionError:
        raise
    except (OSError, ValueError):
        pass
    return _Listing(frozenset(files), folders, num_images, an_image)

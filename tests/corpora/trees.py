"""Raw folders of the corpora: tiny real media under the corpora's real names, and their label files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CREMA_D_NAMES = (Path(__file__).parent / "cremad_clips.txt").read_text().split()
_CODECS = {".mp4": ("mpeg4", "aac"), ".avi": ("mpeg4", "mp3"), ".flv": ("flv", "aac"), ".wav": (None, "pcm_s16le")}
_CODECS |= {".m4a": (None, "aac"), "silent.mp4": ("mpeg4", None)}


def write_media(path: Path, picture: str | None, sound: str | None) -> None:
    """A quarter of a second, 8 images per second and 16 kHz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture, rate=8) if picture else None
        audio = container.add_stream(sound, rate=16_000, layout="mono") if sound else None
        if video is not None:
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
            for _ in range(2):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode())
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), format="s16", layout="mono")
            samples.rate, samples.time_base, samples.pts = 16_000, Fraction(1, 16_000), 0
            container.mux(audio.encode(samples))
            container.mux(audio.encode())


class Tree:
    """A raw folder that grows."""

    def __init__(self, root: Path, samples: Path) -> None:
        self.root, self._samples = root, samples
        root.mkdir()

    def media(self, names: Iterable[str]) -> Tree:
        """Add media files; what lies under a name is fit for its ending, and has no audio if it starts with 02-."""
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = "silent.mp4" if path.name.startswith("02-") else path.suffix
            sample = self._samples / f"sample_{kind.removeprefix('.').replace('.', '_')}{path.suffix}"
            if not sample.exists():
                write_media(sample, *_CODECS[kind])
            os.link(sample, path)
        return self

    def text(self, name: str, *lines: str) -> Tree:
        """Add a text file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self


def crema_d(tree: Tree, names: Iterable[str] = CREMA_D_NAMES) -> Tree:
    names = list(names)
    return tree.media(f"VideoFlash/{name}.flv" for name in names).media(f"AudioWAV/{name}.wav" for name in names)


def javanese_names() -> list[str]:
    """The 240 clips as actor-sentence-emotion_take."""
    return [f"{a:02}-{s:02}-{e:02}_01" for a in range(1, 11) for s in range(1, 5) for e in range(1, 7)]


def javanese(tree: Tree, folder: str = "dataset-resize/") -> Tree:
    return tree.media(f"{folder}{name}.mp4" for name in javanese_names())


def ravdess_takes(channel: str = "01") -> list[str]:
    """The 1,440 spoken takes, or as many sung ones, as emotion-intensity-statement-repetition-actor."""
    return [
        f"{channel}-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}"
        for actor in range(1, 25)
        for emotion in range(1, 9)
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]


def msp_improv(tree: Tree) -> Tree:
    lines = []
    for session in range(1, 7):
        for speaker, other in (("F", "M"), ("M", "F")):
            for turn, (code, scenario) in enumerate(zip("AHNSO", "PRSTP", strict=True), start=1):
                name = f"IMPROV-S01A-{speaker}0{session}-{scenario}-{speaker}{other}{turn:02}"
                lines += [f"UTD-{name}.avi; {code}; A:2.6; V:2.0; D:3.0; N:3.2;", "WORKER00000001; Angry,Sad; A:2;", ""]
                tree.media([f"Video/session{session}/S01A/{scenario}/MSP-{name}.avi"])
    return tree.media(["Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav"]).text("Evalution.txt", *lines)


def iemocap(tree: Tree) -> Tree:
    for session in range(1, 6):
        dialogue = f"Ses0{session}F_impro01"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for turn, code in enumerate(("ang", "hap", "exc", "neu", "sad", "fru", "xxx")):
            name = f"{dialogue}_{'FM'[turn % 2]}{turn:03}"
            lines += [
                f"[{turn}.2901 - {turn}.9357]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]",
                "C-E2:\tNeutral;\t()",
                "",
            ]
            tree.media([f"Session{session}/sentences/video/{name}.mp4"])
            tree.media([f"Session{session}/sentences/wav/{dialogue}/{name}.wav"])
        tree.text(f"Session{session}/dialog/EmoEvaluation/{dialogue}.txt", *lines)
    return tree


def mafw(tree: Tree, labels: Iterable[str], kind: str = "single") -> Tree:
    """Five clips of each label, one of them tested in each fold."""
    clips = [(f"{1000 * i + fold:05}.mp4", label, fold) for i, label in enumerate(labels) for fold in range(1, 6)]
    for fold in range(1, 6):
        for part in ("train", "test"):
            chosen = [f"{name} {label}" for name, label, tested in clips if (tested == fold) == (part == "test")]
            tree.text(f"Train & Test Set/{kind}/no_caption/set_{fold}/{part}.txt", *chosen)
    return tree.media(f"data/clips/{name}" for name, _, _ in clips)


def dfew(tree: Tree) -> Tree:
    clips = [(5 * label + fold, label, fold) for label in range(1, 8) for fold in range(1, 6)]
    for fold in range(1, 6):
        for part in ("train", "test"):
            chosen = [f"{order},{label}" for order, label, tested in clips if (tested == fold) == (part == "test")]
            tree.text(f"EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv", "order,label", *chosen)
    return tree.media(f"Clip/original/{order}.mp4" for order, _, _ in clips)


def mer2023(tree: Tree) -> Tree:
    words = ("neutral", "angry", "happy", "sad", "worried", "surprise")
    for part, first in (("train", 1), ("test1", 100)):
        names = [f"sample_{first + i:08}" for i in range(6)]
        rows = [f"{name},{word},-1.5" for name, word in zip(names, words, strict=True)]
        tree.text(f"{part}-label.csv", "name,discrete,valence", *rows)
        tree.media(f"{part}/{name}.mp4" for name in names)
    return tree


def werewolf_xl(tree: Tree) -> Tree:
    names = [f"{game:02}_{player:02}_{128 + player}" for game in range(1, 31, 3) for player in (1, 2)]
    rows = [f"{name},1.0,-0.25,0.5" for name in names]
    return tree.text("labels.csv", "clip_id,arousal,valence,dominance", *rows).media(f"{name}.mp4" for name in names)


def avcaffe(tree: Tree) -> Tree:
    words = {
        "arousal": ("Excited", "Wide-awake", "Neutral", "Dull", "Calm"),
        "valence": ("Unpleasant", "Unsatisfied", "Neutral", "Pleased", "Pleasant"),
    }
    people = ("aiim001", "aiim003")
    for target, levels in words.items():
        rows = [f"{person}_task_{i}, {word}" for person in people for i, word in enumerate(levels, start=1)]
        tree.text(f"ground_truths/{target}.txt", *rows)
    return tree.media(
        f"videos/shorter_segments/{person}/task_{task}/{person}_task_{task}_{i}.avi"
        for person in people
        for task in range(1, 6)
        for i in (0, 1)
    ).media(["videos/per_participant_per_task/aiim001/aiim001_task_1.mp4"])


def voxceleb2(tree: Tree) -> Tree:
    names = ["id00012/21Uxsk56VDQ/00001", "id00012/21Uxsk56VDQ/00002", "id00012/_-abc/00001", "id08552/xyz/00001"]
    tree.media(f"dev/mp4/{name}.mp4" for name in names).media([f"dev/aac/{names[0]}.m4a"])
    return tree.media(["test/mp4/id00017/01dfn2spqyE/00001.mp4"])

"""The demo's question is a fair one: face and voice each know part of the answer, both together more.

Plain features and a linear classifier, on speakers it has not heard of, with the sound's level taken out.
"""

import cv2
import numpy as np
import pytest
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hicmae_core.config import CorpusParams
from hicmae_core.demo.face import FaceRenderer, Pose, place, to_bytes
from hicmae_core.demo.performance import FRAME_RATE_HZ, act, speak, tone_of
from hicmae_core.demo.script import EMOTIONS, ScriptedClip, fold_of, write_script
from hicmae_core.demo.voice import synthesise
from hicmae_core.media.waveform import log_mel

CROP = (slice(62, 182), slice(52, 172))


def features(clip: ScriptedClip, renderer: FaceRenderer) -> tuple[np.ndarray, np.ndarray]:
    """Gradient histograms of an 80x80 face, and level-free log-mel statistics of the voice."""
    generator = clip.generator
    tone = tone_of(clip, generator)
    syllables = speak(clip.num_frames, tone, generator)
    sound = synthesise(clip.num_frames, clip.speaker, tone, syllables, generator)
    tracks = act(clip, syllables, generator)
    grey = []
    for index in (10, clip.num_frames // 2, clip.num_frames - 5):
        face = renderer.draw(tracks.movements[index], float(tracks.mouth[index]), float(tracks.lids[index]))
        picture = to_bytes(place(face, Pose(0, 0, 0, 1), np.full((224, 224, 3), 0.5, np.float32)))
        grey.append(cv2.resize(cv2.cvtColor(picture[CROP], cv2.COLOR_RGB2GRAY), (80, 80)))
    gradients = np.mean([hog(picture, 8, (8, 8), (2, 2)) for picture in grey], 0)
    mel = log_mel(sound)
    voiced = mel[mel.mean(1) > np.quantile(mel.mean(1), 0.35)]
    bands = (voiced - voiced.mean()).reshape(len(voiced), 32, 4).mean(2)
    rises = np.quantile(np.diff(mel, axis=0).mean(1), (0.8, 0.9, 0.95, 0.98))
    return gradients, np.concatenate([bands.mean(0), bands.std(0), rises])


@pytest.fixture(scope="module")
def default_corpus() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    labelled, _ = write_script(CorpusParams(), FRAME_RATE_HZ)
    clips = [clip for clip in labelled if clip.flaw == "none"]
    speakers = {clip.speaker.name: clip.speaker for clip in clips}
    renderers = {name: FaceRenderer(speaker) for name, speaker in speakers.items()}
    faces, voices = zip(*(features(clip, renderers[clip.speaker.name]) for clip in clips), strict=True)
    labels = np.array([EMOTIONS.index(clip.emotion) for clip in clips])
    folds = np.array([fold_of(list(speakers).index(clip.speaker.name)) for clip in clips])
    return np.stack(faces), np.stack(voices), labels, folds


def test_each_channel_knows_a_part_and_both_know_more(default_corpus):
    faces, voices, labels, folds = default_corpus
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in (1, 2, 3, 4)]
    chances = {}
    for name, values, strength in (("face", faces, 0.01), ("voice", voices, 0.03)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        chances[name] = cross_val_predict(model, values, labels, cv=splits, method="predict_proba")
    chances["both"] = chances["face"] * chances["voice"]
    recall = {name: recall_score(labels, values.argmax(1), average="macro") for name, values in chances.items()}
    assert 0.5 < recall["face"] < 0.8
    assert 0.5 < recall["voice"] < 0.8
    assert recall["both"] > max(recall["face"], recall["voice"]) + 0.07
    assert recall["both"] > 0.75


def test_loudness_says_nothing():
    labelled, _ = write_script(CorpusParams(num_takes=2), FRAME_RATE_HZ)
    levels: dict[str, list[float]] = {emotion: [] for emotion in EMOTIONS}
    for clip in labelled:
        generator = clip.generator
        tone = tone_of(clip, generator)
        syllables = speak(clip.num_frames, tone, generator)
        sound = synthesise(clip.num_frames, clip.speaker, tone, syllables, generator)
        levels[str(clip.emotion)].append(float(20 * np.log10(np.sqrt(np.mean(sound**2)))))
    means = [np.mean(values) for values in levels.values()]
    within = np.mean([np.std(values) for values in levels.values()])
    assert max(means) - min(means) < 0.7 * within

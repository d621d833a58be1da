import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hicmae_core.config import EvaluateParams, ModelParams
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.clips import ClipDataset
from hicmae_core.evaluation.prediction import predict, predict_windows, shown_modality
from hicmae_core.model.sizes import classifier
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore
from tests.disagreeing import PROBABILITIES, make_disagree

MODEL = ModelParams(size="demo", image_size=32, num_frames=4, frame_stride=2, num_audio_frames=32)
SETTINGS = EvaluateParams(num_segments=2, batch_size=3)
CPU = torch.device("cpu")


def jpeg(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> ClipDataset:
    """Seven clips of 5 to 29 frames, the last one's subject unknown."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    ids = [f"clip{index}" for index in range(7)]
    faces, audio = [], []
    for index, clip_id in enumerate(ids):
        num_frames = 5 + 4 * index
        pictures = rng.integers(256, size=(num_frames, 48, 48, 3), dtype=np.uint8)
        faces.append({"clip_id": clip_id, "fps": 25.0, "frames": [jpeg(picture) for picture in pictures]})
        fbank = rng.normal(-8, 4, size=(4 * num_frames - 2, 128))
        audio.append({"clip_id": clip_id, "num_samples": 640 * num_frames, "fbank": fbank})
    write_shards(folder / "faces", faces, FACES_SCHEMA, num_shards=2)
    write_shards(folder / "audio", audio, AUDIO_SCHEMA, num_shards=2)
    stores = ClipStore(folder / "faces"), ClipStore(folder / "audio")
    return ClipDataset(*stores, ids, np.arange(7) % 4, MODEL, subjects=["s1", "s2"] * 3 + [None])


def model_with(num_outputs: int, **overrides):
    """A model whose answers differ: the head starts out near zero."""
    torch.manual_seed(0)
    shape = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32}
    model = classifier("demo", num_outputs, **shape, **overrides)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model.eval()


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_predictions_are_the_plain_loop(clips, emotions, modality):
    model = model_with(4, modality=modality)
    table = predict(model, dataclasses.replace(clips, modality=modality), emotions, SETTINGS, CPU)
    probabilities = [f"p_{name}" for name in emotions.classes]
    assert list(table) == ["clip_id", "subject", "unit", "modality", "shown", "label", "prediction", *probabilities]
    assert set(table["modality"]) == set(table["shown"]) == {modality}
    assert table["clip_id"].tolist() == clips.clip_ids
    assert table["label"].tolist() == clips.labels.tolist()
    assert table["subject"].tolist()[:2] == ["s1", "s2"]
    assert pd.isna(table["subject"].iloc[6])
    for index, row in table.iterrows():
        frames, fbank = clips.test_item(index, SETTINGS.num_segments)
        with torch.no_grad():
            logits = [
                model(resize_only(frames[[window]], 32), fbank[[window], None])
                for window in range(SETTINGS.num_segments)
            ]
        expected = torch.cat(logits).softmax(1).mean(0)
        assert row[probabilities].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
        assert row["prediction"] == np.argmax(row[probabilities].tolist())
    assert table[probabilities].sum(axis=1).to_numpy() == pytest.approx(np.ones(7))
    assert table[probabilities].std().min() > 0


@pytest.mark.parametrize("num_targets", [1, 2])
def test_segments_that_disagree_average_their_probabilities(clips, emotions, load, num_targets):
    labels = np.zeros((7, num_targets), np.int64).squeeze()
    model, (frames, fbank) = model_with(3 * num_targets), clips.test_item(6, 2)
    with torch.no_grad():
        make_disagree(model, model.features(resize_only(frames, 32), fbank[:, None]), num_targets)
    dataset = load if num_targets == 2 else emotions.model_copy(update={"classes": load.classes})
    row = predict(model, dataclasses.replace(clips, labels=labels), dataset, SETTINGS, CPU).iloc[6]
    for target, suffix in enumerate(dataset.suffixes):
        assert row[f"prediction{suffix}"] == target  # of averaged logits: 2, and 0
        found = row[[f"p{suffix}_{name}" for name in load.classes]].tolist()
        assert found == pytest.approx(np.roll(PROBABILITIES, target).tolist(), abs=1e-3)


def test_a_second_look_is_the_same_to_the_bit_and_draws_nothing(clips, emotions):
    model = model_with(4, drop_path=0.5)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = predict(model, clips, emotions, SETTINGS, CPU)
    second = predict(model, clips, emotions, SETTINGS, CPU)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_regression_gives_outputs_beside_targets(clips, affect):
    targets = np.linspace(0, 1, 14, dtype=np.float32).reshape(7, 2)
    model = model_with(2, output_activation="sigmoid")
    table = predict(model, dataclasses.replace(clips, labels=targets), affect, SETTINGS, CPU)
    assert list(table)[5:] == ["target_arousal", "target_valence", "output_arousal", "output_valence"]
    assert (table[["target_arousal", "target_valence"]].to_numpy() == targets).all()
    assert table["output_valence"].between(0, 1).all()


def test_several_targets_share_one_head(clips, load):
    labels = np.stack([np.arange(7) % 3, np.arange(7) % 2], axis=1)
    model = model_with(6)
    table = predict(model, dataclasses.replace(clips, labels=labels), load, SETTINGS, CPU)
    for index, target in enumerate(load.targets):
        assert table[f"label_{target}"].tolist() == labels[:, index].tolist()
        probabilities = table[[f"p_{target}_{name}" for name in load.classes]].to_numpy()
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(7))
        assert table[f"prediction_{target}"].tolist() == probabilities.argmax(axis=1).tolist()
    frames, fbank = clips.test_item(0, 2)
    with torch.no_grad():
        logits = model(resize_only(frames, 32), fbank[:, None])
    expected = logits[:, 3:].softmax(1).mean(0).tolist()
    assert table[["p_valence_low", "p_valence_mid", "p_valence_high"]].iloc[0].tolist() == pytest.approx(
        expected, abs=1e-4
    )


def test_a_missing_modality_is_zeros_in_its_place(clips, emotions):
    model = model_with(4)
    model.head.weight.data.mul_(0.02)  # probabilities that are not all 0 and 1
    probabilities = [f"p_{name}" for name in emotions.classes]
    tables = {
        shown: predict(model, dataclasses.replace(clips, modality=shown), emotions, SETTINGS, CPU)
        for shown in ("both", "video", "audio")
    }
    for shown, table in tables.items():
        assert set(table["modality"]) == {"both"}
        assert set(table["shown"]) == {shown}
    answers = {shown: table[probabilities].to_numpy() for shown, table in tables.items()}
    for one, other in (("both", "video"), ("both", "audio"), ("video", "audio")):
        assert np.abs(answers[one] - answers[other]).max(axis=1).min() > 1e-3
    frames, fbank = clips.test_item(2, 2)
    video, sound = resize_only(frames, 32), fbank[:, None]
    with torch.no_grad():
        blind, deaf = model(torch.zeros_like(video), sound), model(video, torch.zeros_like(sound))
    assert answers["audio"][2] == pytest.approx(blind.softmax(1).mean(0).numpy(), abs=1e-4)
    assert answers["video"][2] == pytest.approx(deaf.softmax(1).mean(0).numpy(), abs=1e-4)


def test_a_model_is_shown_what_it_was_trained_on():
    assert [shown_modality("both", asked) for asked in ("both", "video", "audio")] == ["both", "video", "audio"]
    assert shown_modality("video", "both") == shown_modality("video", "video") == "video"
    with pytest.raises(ValueError, match=r"trained on video alone and reads no audio; set evaluate\.modality"):
        shown_modality("video", "audio")


def test_a_model_of_the_other_modality_is_refused(clips, emotions):
    with pytest.raises(ValueError, match="trained on audio alone and reads no video"):
        predict(model_with(4, modality="audio"), dataclasses.replace(clips, modality="video"), emotions, SETTINGS, CPU)


def test_windows_are_split_into_batches(clips):
    model = model_with(4)
    frames, audio = zip(*(clips.test_item(index, 2) for index in range(4)), strict=True)
    frames, audio = torch.cat(frames), torch.cat(audio)[:, None]
    together, apart = (predict_windows(model, frames, audio, batch_size) for batch_size in (8, 3))
    assert together.shape == (8, 4)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_a_model_in_training_is_a_mistake(clips):
    frames, fbank = clips.test_item(0, 1)
    with pytest.raises(AssertionError, match="drop path"):
        predict_windows(model_with(4).train(), frames, fbank[:, None], 1)


def test_a_model_of_another_dataset_is_refused(clips, emotions):
    with pytest.raises(ValueError, match="model has 6 outputs, the dataset 4"):
        predict(model_with(6), clips, emotions, SETTINGS, CPU)


def test_no_labels_no_evaluation(clips, emotions):
    with pytest.raises(ValueError, match="labelled test clips"):
        predict(model_with(4), dataclasses.replace(clips, labels=None), emotions, SETTINGS, CPU)


def test_an_output_that_is_not_finite_names_its_clips(clips, emotions):
    model = model_with(4)
    model.head.bias.data[2] = float("nan")
    with pytest.raises(ValueError, match="not finite for clip0, clip1, clip2"):
        predict(model, clips, emotions, SETTINGS, CPU)

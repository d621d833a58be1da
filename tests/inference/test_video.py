"""What a model says of a new video, whatever it was trained to tell."""

import math
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from hicmae_core.config import FacesParams
from hicmae_core.inference.explanation import explain
from hicmae_core.inference.video import open_video_reader
from hicmae_core.model.artifact import save_model
from hicmae_core.model.probabilities import abstention_levels
from hicmae_core.model.sizes import classifier
from tests.disagreeing import LOGITS, PROBABILITIES, logits_of, save_disagreeing, write_changing_film
from tests.media.films import background, picture, tone, write_film

FACES = FacesParams(detector="none", size=48)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of a head, with a tone."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_film(path, [picture([(160, 120, 90)])] * 50, tone(2.0))


@pytest.fixture(scope="module")
def changing_film(tmp_path_factory):
    return write_changing_film(tmp_path_factory.mktemp("film") / "changing.mp4")


def reader_of(folder, num_outputs, modality="both", **metadata):
    """A reader of a model whose head is not near zero."""
    torch.manual_seed(0)
    model = classifier("demo", num_outputs, image_size=32, num_frames=4, num_audio_frames=32, modality=modality)
    torch.nn.init.normal_(model.head.weight, std=0.02)
    save_model(folder / "model.safetensors", model, {"classes": [], "targets": [], "frame_stride": 4, **metadata})
    return open_video_reader(folder / "model.safetensors", FACES, 2, torch.device("cpu"))


def test_each_target_s_probabilities_add_up_to_one(film, tmp_path):
    reader = reader_of(tmp_path, 6, targets=["arousal", "valence"], classes=["low", "mid", "high"])
    answer = reader.predict(film)
    assert answer.status == "ok"
    assert list(answer.values)[:4] == ["arousal low", "arousal mid", "arousal high", "valence low"]
    for values in (answer.values, *(window["values"] for window in answer.windows)):
        for target in ("arousal", "valence"):
            assert sum(value for name, value in values.items() if name.startswith(target)) == pytest.approx(1)


def test_a_regression_answers_with_values(film, tmp_path):
    answer = reader_of(tmp_path, 2, targets=["arousal", "valence"]).predict(film)
    assert list(answer.values) == ["arousal", "valence"]
    assert np.isfinite(list(answer.values.values())).all()


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_one_label_has_the_probabilities_of_its_classes(film, tmp_path, modality):
    answer = reader_of(tmp_path, 3, modality, classes=["a", "b", "c"]).predict(film)
    assert list(answer.values) == ["a", "b", "c"]
    assert sum(answer.values.values()) == pytest.approx(1)


def test_the_clip_s_answer_is_the_mean_of_its_first_and_last_window(film, tmp_path):
    reader = reader_of(tmp_path, 3, classes=["a", "b", "c"])
    ((window_outputs,),) = reader.all_window_outputs([film], hop_seconds=0.5)
    first, last = window_outputs.outputs[0], window_outputs.outputs[-1]
    expected = torch.stack([first, last]).softmax(dim=1).mean(dim=0)
    assert list(reader.predict(film, 0.5).values.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    starts = [window_outputs.seconds(index)[0] for index in window_outputs.timeline.line]
    assert starts[0] == 0
    assert max(np.diff(starts)) <= 0.5 + 4 / 25
    assert window_outputs.seconds(window_outputs.timeline.line[-1])[1] == pytest.approx(2.0)


@pytest.mark.parametrize("num_targets", [1, 2])
def test_windows_that_disagree_average_their_probabilities(changing_film, tmp_path, num_targets):
    reader = save_disagreeing(tmp_path, changing_film, num_targets)
    answer = reader.predict(changing_film)
    found = np.reshape(list(answer.values.values()), (num_targets, 3))
    assert found.argmax(axis=1).tolist() == [0, 1][:num_targets]  # of averaged logits: 2, and 0
    for target, probabilities in enumerate(found):
        assert probabilities.tolist() == pytest.approx(np.roll(PROBABILITIES, target).tolist(), abs=1e-3)
    for window, logits in ((0, LOGITS[0]), (-1, LOGITS[1])):
        said = list(answer.windows[window]["values"].values())[:3]
        assert said == pytest.approx(logits.softmax(dim=0).tolist(), abs=1e-3)


def test_a_temperature_sharpens_or_flattens_the_averaged_probabilities(changing_film, tmp_path):
    answer = save_disagreeing(tmp_path, changing_film, temperatures=[2.0]).predict(changing_film)
    flattened = np.sqrt(PROBABILITIES) / np.sqrt(PROBABILITIES).sum()
    assert list(answer.values.values()) == pytest.approx(flattened.tolist(), abs=1e-3)


@pytest.mark.parametrize("num_targets", [1, 2])
def test_an_explanation_averages_as_the_answer_does(changing_film, tmp_path, num_targets):
    reader = save_disagreeing(tmp_path, changing_film, num_targets)
    found = explain(reader, changing_film, 60)
    answer = reader.predict(changing_film)
    assert found.values == pytest.approx(answer.values, abs=1e-5)
    assert found.shown["both"] == pytest.approx(answer.values, abs=1e-5)
    terms = [sum(sum(part) for part in parts.values()) for parts in found.contributions.values()]
    mean_logits = logits_of(num_targets).mean(dim=0).view(num_targets, 3)
    expected = (mean_logits - mean_logits.mean(dim=1, keepdim=True)).flatten()
    assert terms == pytest.approx(expected.tolist(), abs=1e-2)  # terms are of logits, and these do add up


def test_windows_of_many_files_are_judged_as_one_alone_is(film, tmp_path):
    reader = reader_of(tmp_path, 3, classes=["a", "b", "c"])
    (tmp_path / "empty.mp4").touch()
    files = [film, tmp_path / "empty.mp4", film, film]
    here = [answers[0] for answers in reader.predict_all(files, hop_seconds=0.3)]
    elsewhere = [answers[0] for answers in reader.predict_all(files, hop_seconds=0.3, num_processes=1)]
    alone = reader.predict(film, hop_seconds=0.3)
    assert [answer.status for answer in here] == ["ok", "zero_byte", "ok", "ok"]
    assert len(alone.windows) > 3
    for answers in (here, elsewhere):
        assert [answer.status for answer in answers] == ["ok", "zero_byte", "ok", "ok"]
        for answer in (answers[0], *answers[2:]):
            assert answer.values == pytest.approx(alone.values, abs=1e-5)
            for window, other in zip(answer.windows, alone.windows, strict=True):
                assert window["values"] == pytest.approx(other["values"], abs=1e-5)


def test_no_hop_means_no_timeline(film, tmp_path):
    answer = reader_of(tmp_path, 2, targets=["arousal", "valence"]).predict(film, hop_seconds=0)
    assert answer.windows == []
    assert all(math.isfinite(value) for value in answer.values.values())


def test_the_features_are_what_the_head_reads(film, tmp_path):
    reader = reader_of(tmp_path, 3, classes=["a", "b", "c"])
    ((window_outputs,),) = reader.all_window_outputs([film], hop_seconds=0)
    torch.testing.assert_close(reader.model.head(window_outputs.features), window_outputs.outputs)


def test_a_model_that_only_listens_cannot_answer_each_face(film, tmp_path):
    reader = reader_of(tmp_path, 3, "audio", classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="sees no faces"):
        list(reader.predict_all([film], policy="all"))


@pytest.fixture(scope="module")
def parts(film, tmp_path_factory):
    """The video without its audio, and without its image."""
    folder = tmp_path_factory.mktemp("parts")
    for name, stream in (("silent.mp4", "v"), ("voice.m4a", "a")):
        with av.open(str(film)) as whole, av.open(str(folder / name), "w") as part:
            (taken,) = whole.streams.get({"video": 0} if stream == "v" else {"audio": 0})
            copy = part.add_stream_from_template(taken)
            for packet in whole.demux(taken):
                if packet.dts is not None:
                    packet.stream = copy
                    part.mux(packet)
    return {"video": folder / "silent.mp4", "audio": folder / "voice.m4a"}


@pytest.mark.parametrize("used", ["video", "audio"])
def test_a_missing_modality_is_zeros_as_in_evaluation(film, parts, tmp_path, used):
    reader = reader_of(tmp_path, 3, classes=["a", "b", "c"])
    answer, whole = reader.predict(parts[used]), explain(reader, film, 60)
    assert (answer.status, answer.used, whole.used) == ("ok", used, "both")
    assert answer.values == pytest.approx(
        whole.shown[used], abs=1e-3
    )  # cut from a stream, audio starts some samples apart
    assert answer.values != pytest.approx(whole.shown["both"], abs=5e-3)
    assert f"predicted from the {'face' if used == 'video' else 'voice'} alone" in answer.reason
    assert "the model was not trained to predict from one modality (finetune.modality_dropout)" in answer.reason
    alone = explain(reader, parts[used], 60)
    assert (alone.used, alone.reason, alone.shown) == (used, answer.reason, {})
    assert alone.values == pytest.approx(answer.values, abs=1e-5)
    assert {name for moment in alone.moments for name in moment.relevance} == {used}


def test_a_video_without_a_face_is_predicted_from_its_voice_or_refused(tmp_path):
    """As footage from a drone: real detection on a picture in which nobody is."""
    faceless = write_film(tmp_path / "faceless.mp4", [background()] * 50, tone(2.0))
    silent = write_film(tmp_path / "silent.mp4", [background()] * 50)
    found = replace(reader_of(tmp_path, 3, classes=["a", "b", "c"]), faces=FacesParams(detect_size=256, size=48))
    voice = found.predict(faceless)
    assert (voice.status, voice.used) == ("ok", "audio")
    assert "no face in 50 frames; predicted from the voice alone" in voice.reason
    for reader, path in ((replace(found, needs_both=True), faceless), (found, silent)):
        refused = reader.predict(path)
        assert (refused.status, refused.values, refused.used) == ("no_face", {}, "")
        assert "no face in 50 frames" in refused.reason


def test_a_model_trained_for_it_answers_without_a_warning(parts, tmp_path):
    reader = reader_of(tmp_path, 3, classes=["a", "b", "c"], recipe={"modality_dropout": 0.3})
    assert reader.predict(parts["video"]).reason.endswith("no audio stream; predicted from the face alone")


def test_files_with_one_and_both_modalities_share_a_pass(film, parts, tmp_path):
    reader = reader_of(tmp_path, 3, classes=["a", "b", "c"])
    files = [parts["video"], film, parts["audio"]]
    together = [answers[0] for answers in reader.predict_all(files, hop_seconds=0)]
    assert [answer.used for answer in together] == ["video", "both", "audio"]
    for path, answer in zip(files, together, strict=True):
        assert answer.values == pytest.approx(reader.predict(path, 0).values, abs=1e-5)


@pytest.mark.parametrize(("missing", "status"), [("video", "no_sound"), ("audio", "no_video")])
def test_both_modalities_may_be_required(parts, tmp_path, missing, status):
    reader = replace(reader_of(tmp_path, 3, classes=["a", "b", "c"]), needs_both=True)
    answer = reader.predict(parts[missing])
    assert (answer.status, answer.used, answer.values) == (status, "", {})
    ((window_outputs,),) = replace(reader, needs_both=False).all_window_outputs([parts[missing]], hop_seconds=0)
    assert window_outputs.timeline is None  # features without a modality would lie elsewhere


def test_a_model_of_drawn_faces_looks_for_none(film, tmp_path):
    reader_of(tmp_path, 3, classes=["a", "b", "c"], faces=FACES.model_dump(mode="json"), face_source="drawn")
    reader = open_video_reader(tmp_path / "model.safetensors", FacesParams(), 2, torch.device("cpu"))
    assert reader.faces == FACES
    answer = reader.predict(film)
    assert (answer.used, answer.reason) == ("both", "the model was trained on drawn faces")


def test_a_model_of_one_modality_cannot_do_without_it(parts, tmp_path):
    assert reader_of(tmp_path, 3, "audio", classes=["a", "b", "c"]).predict(parts["video"]).status == "no_sound"
    assert reader_of(tmp_path, 3, "video", classes=["a", "b", "c"]).predict(parts["audio"]).status == "no_video"
    assert reader_of(tmp_path, 3, "video", classes=["a", "b", "c"]).predict(parts["video"]).reason == ""


def test_a_model_abstains_below_a_level_of_held_out_speakers(film, tmp_path):
    about = {"classes": ["sad", "glad"]}
    sure = max(reader_of(tmp_path, 2, **about).predict(film).values.values())
    levels = abstention_levels([1.0, sure - 0.01], [1, 0])  # as sure as here, half of the predictions are wrong
    reader = reader_of(tmp_path, 2, **about, abstention_levels=levels)
    assert reader.abstaining(0.5).predict(film) == reader.predict(film)
    unsure = reader.abstaining(0.4).predict(film)
    assert (unsure.status, unsure.values, unsure.used) == ("unsure", {}, "")
    assert unsure.reason == f"the likeliest class has a probability of {sure:.2f}, below 1.00"
    with pytest.raises(ValueError, match="however sure, more than 20% of its predictions"):
        replace(reader, metadata={"abstention_levels": abstention_levels([0.9, 0.5], [0, 1])}).abstaining(0.2)
    with pytest.raises(ValueError, match=r"with finetune\.selection: validation"):
        reader_of(tmp_path, 2, **about).abstaining(0.2)
    values = reader_of(tmp_path, 2, targets=["arousal", "valence"], abstention_levels=levels)
    with pytest.raises(ValueError, match="can abstain; this one has other outputs"):
        values.abstaining(0.2)
    assert values.predict(film).values  # below 0 perhaps, and no probability

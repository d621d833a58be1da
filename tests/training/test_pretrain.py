import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from hicmae_core.config import Params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.data.joined import JoinedClips
from hicmae_core.model.artifact import load_model
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import FACES_SCHEMA, ClipStore
from hicmae_core.training.objectives import PretrainingObjective
from hicmae_core.training.pretrain import draw_masks, pretraining_fingerprint
from hicmae_core.training.tracker import NullTracker

from .conftest import CLIP_IDS, adapt, run_pretraining
from .trackers import Breaker, Broken, Recorder


def test_pretraining_learns_reports_and_cleans_up(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path
) -> None:
    tracker = Recorder()
    chosen = params(pretrain={"epochs": 12})
    summary = run_pretraining(chosen, unlabelled, tmp_path / "out", tmp_path / "checkpoints", tracker)

    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert list(history["epoch"]) == list(range(12))
    assert history["total"].iloc[-1] < 0.9 * history["total"].iloc[0]
    assert summary["total"] == pytest.approx(history["total"].iloc[-1])
    assert summary["total"] == pytest.approx(summary["video"] + summary["audio"] + 0.0025 * summary["contrastive"])
    assert summary["num_clips"] == 24
    assert summary["seconds"] > 0

    model, metadata = load_model(tmp_path / "out" / "model.safetensors")
    assert metadata["size"] == "demo"
    assert (metadata["frame_stride"], metadata["stride_unit"], metadata["usual_fps"]) == (1, "seconds", 25.0)
    assert summary["num_parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert not (tmp_path / "checkpoints").exists()

    assert set(tracker.metrics) == set(range(12))
    steps = tracker.series["step/total"]
    assert [step for step, _ in steps] == list(range(36))
    assert sum(value for _, value in steps[:3]) / 3 == pytest.approx(tracker.metrics[0]["total"])
    learning_rates = [value for _, value in tracker.series["step/lr"]]
    assert max(learning_rates) == pytest.approx(0.02 * 8 / 256)
    assert learning_rates[0] == 0


def test_resumed_equals_uninterrupted(params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path) -> None:
    last = 7  # in the midst of the last of three epochs of three steps
    whole, parts, rest = Recorder(), Breaker(last), Recorder()
    chosen = params(compute={"checkpoint_every_minutes": 0}, pretrain={"ema_decay": 0.9, "accumulation_steps": 2})
    run_pretraining(chosen, unlabelled, tmp_path / "whole", tmp_path / "checkpoints1", whole)
    with pytest.raises(Broken):
        run_pretraining(chosen, unlabelled, tmp_path / "parts", tmp_path / "checkpoints2", parts)
    assert not (tmp_path / "parts").exists()
    run_pretraining(chosen, unlabelled, tmp_path / "parts", tmp_path / "checkpoints2", rest)

    files = [tmp_path / name / "model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    noisy = ["samples_per_second", "waiting_share"]
    histories = [pd.read_csv(tmp_path / name / "history.csv").drop(columns=noisy) for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert set(rest.metrics) >= set(range(last // 3, 3))
    told = parts.series["step/total"] + rest.series["step/total"]
    assert set(told) == set(whole.series["step/total"]), (
        "a step whose checkpoint was not yet written is told again, alike"
    )


def test_clips_of_one_modality_are_learned_from_and_resumed(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path
) -> None:
    """Eight clips with both, eight faces and eight voices alone."""
    write_shards(tmp_path / "none", [], FACES_SCHEMA, num_shards=1)
    voices = replace(unlabelled, faces=ClipStore(tmp_path / "none"), modality="audio", clip_ids=CLIP_IDS[:8])
    faces = replace(unlabelled, modality="video", clip_ids=CLIP_IDS[8:16])
    clips = JoinedClips((voices, faces, replace(unlabelled, clip_ids=CLIP_IDS[16:])))
    chosen = params(
        compute={"checkpoint_every_minutes": 0}, pretrain={"epochs": 12, "batch_size": 12, "accumulation_steps": 2}
    )
    whole, parts, rest = Recorder(), Breaker(5), Recorder()
    summary = run_pretraining(chosen, clips, tmp_path / "whole", tmp_path / "checkpoints1", whole)
    with pytest.raises(Broken):
        run_pretraining(chosen, clips, tmp_path / "parts", tmp_path / "checkpoints2", parts)
    run_pretraining(chosen, clips, tmp_path / "parts", tmp_path / "checkpoints2", rest)
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    history = pd.read_csv(tmp_path / "whole" / "history.csv")
    assert history["audio"].iloc[-1] < 0.9 * history["audio"].iloc[0]
    assert history["video"].iloc[-1] < 0.98 * history["video"].iloc[0]
    assert summary["num_clips"] == 24


def test_a_fold_s_own_clips_are_adapted_to(
    params: Callable[..., Params], labelled: ClipDataset, unlabelled: ClipDataset, tmp_path: Path
) -> None:
    """From weights or from random ones, without labels, once."""
    run_pretraining(params(), unlabelled, tmp_path / "first", tmp_path / "checkpoints", NullTracker())
    start = tmp_path / "first" / "model.safetensors"
    chosen = params(finetune={"adaptive_epochs": 4})
    own = replace(labelled, clip_ids=CLIP_IDS[:16], labels=None)
    adapted = adapt(chosen, own, start, tmp_path / "fold")
    assert len(pd.read_csv(adapted.with_name("history.csv"))) == 4
    before, after = (pd.read_csv(path.with_name("history.csv"))["total"] for path in (start, adapted))
    assert after.iloc[0] < before.iloc[0], "it goes on"
    written = adapted.stat().st_mtime_ns
    assert adapt(chosen, own, start, tmp_path / "fold") == adapted
    assert adapted.stat().st_mtime_ns == written
    from_random = adapt(chosen, own, None, tmp_path / "other")
    assert from_random.read_bytes() != adapted.read_bytes()
    assert pd.read_csv(from_random.with_name("history.csv"))["total"].iloc[0] > after.iloc[0]
    classes = adapt(chosen, replace(labelled, clip_ids=CLIP_IDS[:16]), start, tmp_path / "labelled")
    assert classes.read_bytes() == adapted.read_bytes()
    with pytest.raises(ValueError, match=r"pretrain\.batch_size 8 is more than the fold's 7 training clips; lower it"):
        adapt(chosen, replace(own, clip_ids=CLIP_IDS[:7]), start, tmp_path / "few")
    with pytest.raises(ValueError, match=r"do not fit the model of params\.yaml"):
        adapt(
            params(finetune={"adaptive_epochs": 4}, model={"num_frames": 4, "video_patch": [2, 8, 8]}),
            own,
            start,
            tmp_path / "wrong",
        )


def test_parts_of_a_batch_give_the_gradients_of_the_whole(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path
) -> None:
    keys = {"contrastive_weight": 0, "crop_scales": [1.0], "audio_gain": False}
    histories = []
    for num_parts in (1, 4):
        chosen = params(pretrain=keys | {"accumulation_steps": num_parts})
        out = tmp_path / str(num_parts)
        run_pretraining(chosen, unlabelled, out, tmp_path / "checkpoints", NullTracker())
        histories.append(pd.read_csv(out / "history.csv")[["total", "video", "audio", "gradient_norm"]])
    pd.testing.assert_frame_equal(*histories, check_exact=False, rtol=1e-4)
    with pytest.raises(ValueError, match="cannot be cut into 3 equal parts"):
        run_pretraining(
            params(pretrain={"accumulation_steps": 3}), unlabelled, tmp_path, tmp_path / "checkpoints", NullTracker()
        )


def test_an_average_of_the_weights_is_what_is_saved(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path
) -> None:
    first, last, averaged = (
        weights_after(params(pretrain=keys), unlabelled, tmp_path / str(number))
        for number, keys in enumerate([{"base_lr": 1e-12, "min_lr": 0}, {}, {"ema_decay": 0.99}])
    )
    distance = [sum(float((weights[name] - first[name]).norm()) for name in first) for weights in (averaged, last)]
    assert 0 < distance[0] < 0.2 * distance[1]


def weights_after(chosen: Params, clips: ClipDataset, folder: Path) -> dict[str, torch.Tensor]:
    run_pretraining(chosen, clips, folder / "out", folder / "checkpoints", NullTracker())
    return load_model(folder / "out" / "model.safetensors")[0].state_dict()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_stays_near(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path, precision: str
) -> None:
    keys = {"epochs": 1, "warmup_epochs": 0, "clip_grad": 1.0}
    exact = run_pretraining(params(pretrain=keys), unlabelled, tmp_path / "a", tmp_path / "ca", NullTracker())
    chosen = params(pretrain=keys | {"precision": precision})
    rounded = run_pretraining(chosen, unlabelled, tmp_path / "b", tmp_path / "cb", NullTracker())
    assert rounded["total"] == pytest.approx(exact["total"], rel=0.02)
    assert rounded["total"] != exact["total"]


def test_a_loss_that_is_not_finite_names_the_clips(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path
) -> None:
    class Broken(ClipDataset):
        def training_batch(self, indices, generators):  # type: ignore[no-untyped-def]
            batch = super().training_batch(indices, generators)
            batch.audio[[clip_id == "clip07" for clip_id in batch.clip_ids]] = math.nan
            return batch

    fields = ("faces", "audio", "clip_ids", "labels", "model")
    broken = Broken(**{name: getattr(unlabelled, name) for name in fields})
    with pytest.raises(ValueError, match=r"not finite at step \d+ \(total nan.*clip07") as caught:
        run_pretraining(params(), broken, tmp_path / "out", tmp_path / "checkpoints", NullTracker())
    (path,) = (tmp_path / "checkpoints").glob("nonfinite-step-*.pt")
    assert str(path) in str(caught.value)
    saved = torch.load(path, weights_only=True)
    (part,) = saved["micro_batches"]
    assert "clip07" in part["clip_ids"]
    objective = PretrainingObjective(load_like(params()), params().pretrain)
    objective.load_state_dict(saved["objective"])
    assert objective(*part["inputs"])["total"].isnan()

    chosen = params(pretrain={"on_nonfinite": "skip"})
    summary = run_pretraining(chosen, broken, tmp_path / "out", tmp_path / "checkpoints2", NullTracker())
    assert summary["skipped_steps"] == 1
    assert math.isfinite(summary["total"])


def load_like(chosen: Params) -> PretrainingModel:
    """A model of the geometry of `chosen`."""
    m = chosen.model
    return pretraining_model(
        m.size, image_size=m.image_size, num_frames=m.num_frames, num_audio_frames=m.num_audio_frames
    )


def test_too_few_clips_are_refused(params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path) -> None:
    few = replace(unlabelled, clip_ids=unlabelled.clip_ids[:5])
    with pytest.raises(ValueError, match="batch_size 8 is more than the 5"):
        run_pretraining(params(), few, tmp_path / "out", tmp_path / "checkpoints", NullTracker())


def test_masks_hide_the_published_numbers(params: Callable[..., Params]) -> None:
    settings = params(pretrain={"video_mask_ratio": 0.9}).pretrain
    video_mask, audio_mask = draw_masks(settings, (8, 10, 10), (16, 8), 3, "test")
    assert video_mask.sum(1).tolist() == [720] * 3
    assert audio_mask.sum(1).tolist() == [102] * 3
    again, _ = draw_masks(settings, (8, 10, 10), (16, 8), 3, "test")
    assert torch.equal(video_mask, again)


def test_the_fingerprint_follows_what_determines_the_result(params: Callable[..., Params], tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    index.write_bytes(b"1")
    base = pretraining_fingerprint(params(), [index])
    assert pretraining_fingerprint(params(compute={"num_workers": 2}, finetune={"epochs": 9}), [index]) == base
    assert pretraining_fingerprint(params(pretrain={"epochs": 4}), [index]) != base
    index.write_bytes(b"2")
    assert pretraining_fingerprint(params(), [index]) != base

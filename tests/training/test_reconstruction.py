from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hicmae_core.config import Params
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.clips import ClipDataset
from hicmae_core.model.artifact import save_model
from hicmae_core.model.pretraining import PretrainingModel, PretrainingOutput
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.training.loop import TrainSettings
from hicmae_core.training.losses import audio_targets, video_targets
from hicmae_core.training.pretrain import draw_masks, untrained_model
from hicmae_core.training.reconstruction import before_and_after, reconstruct, reconstruct_sample


def untrained() -> PretrainingModel:
    return pretraining_model("demo", image_size=32, num_frames=4, num_audio_frames=32).eval()


class Oracle(nn.Module):
    """Predicts the targets themselves."""

    video_grid = (2, 2, 2)
    audio_grid = (2, 8)

    def __init__(self, frame_difference: bool) -> None:
        super().__init__()
        self.architecture = untrained().architecture
        self.frame_difference = frame_difference

    def forward(self, video: Tensor, video_mask: Tensor, audio: Tensor, audio_mask: Tensor) -> PretrainingOutput:
        target = video_targets(video, video_mask, self.frame_difference)
        return PretrainingOutput(target, audio_targets(audio, audio_mask), [])


def test_perfect_predictions_give_the_original_back(params: Callable[..., Params], unlabelled: ClipDataset) -> None:
    settings = params().pretrain
    frames, log_mel = unlabelled.test_item(0, num_segments=2)
    video, audio = resize_only(frames, 32), log_mel[:, None]
    masks = draw_masks(settings, Oracle.video_grid, Oracle.audio_grid, len(video), "test")
    for frame_difference in (True, False):
        result = reconstruct(Oracle(frame_difference), video, masks[0], audio, masks[1], frame_difference)  # type: ignore[arg-type]
        assert result.frames.shape == (2, 4, 32, 32, 3)
        assert 0 <= result.frames.min() < result.frames.max() <= 1
        torch.testing.assert_close(result.frames_predicted, result.frames, atol=1e-4, rtol=0)
        torch.testing.assert_close(result.log_mel_predicted, result.log_mel, atol=1e-3, rtol=0)
        assert result.frames_masked.eq(0.5).all(-1).float().mean() > 0.45
        assert result.log_mel_masked.isnan().float().mean() == 12 / 16
        shown = ~result.log_mel_masked.isnan()
        assert torch.equal(result.log_mel_masked[shown], result.log_mel[shown])


def test_the_sample_is_the_same_every_time(params: Callable[..., Params], unlabelled: ClipDataset) -> None:
    model = untrained()
    settings = TrainSettings.of(params(), params().pretrain)
    first = reconstruct_sample(model, unlabelled, settings, num_clips=3)
    again = reconstruct_sample(model, unlabelled, settings, num_clips=3)
    assert first.frames.shape == (3, 4, 32, 32, 3)
    assert first.log_mel.shape == (3, 32, 128)
    assert torch.equal(first.frames_predicted, again.frames_predicted)
    assert not torch.equal(first.frames_predicted, first.frames)


def test_a_clip_before_and_after_training(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path
) -> None:
    settings = TrainSettings.of(params(), params().pretrain)
    trained = untrained_model(settings).eval()
    with torch.no_grad():
        for weights in trained.parameters():
            weights.mul_(1.5)
    save_model(tmp_path / "model.safetensors", trained, {"size": settings.model.size})
    clip = before_and_after(settings, tmp_path / "model.safetensors", unlabelled)
    after = reconstruct_sample(trained, unlabelled, settings, num_clips=1)
    assert torch.equal(clip["frames_predicted"], after.frames_predicted[0])
    assert clip["frames_untrained"].shape == clip["frames_predicted"].shape == (4, 32, 32, 3)
    assert not torch.equal(clip["log_mel_untrained"], clip["log_mel_predicted"])

"""Stage `pretrain`: HiCMAE pre-training without labels."""

from hicmae import layout
from hicmae.command import run
from hicmae.prepared import PreparedDataset
from hicmae.tracking.stage_runs import track
from hicmae_core.config import load_params
from hicmae_core.data.joined import JoinedClips
from hicmae_core.files import write_json
from hicmae_core.reports.figures import plot_history, plot_reconstruction
from hicmae_core.runtime import acquire_gpu_slot
from hicmae_core.training import distributed, resuming
from hicmae_core.training.loop import TrainSettings
from hicmae_core.training.pretrain import (
    LOSSES,
    described,
    pretraining_fingerprint,
    pretraining_inputs,
    run_pretraining,
)
from hicmae_core.training.reconstruction import before_and_after

EXAMPLES = """
python -m stages.pretrain
torchrun --nproc-per-node 4 -m stages.pretrain
"""


def main() -> None:
    """Pre-train HiCMAE, without labels, on the clips of `pretrain.dataset`, of all of a list."""
    params = load_params()
    prepared = [PreparedDataset(params, name) for name in params.pretrain.dataset]
    files = [path for dataset in prepared for path in dataset.files]
    parts = tuple(dataset.clips(list(dataset.manifest["clip_id"])) for dataset in prepared)
    clips = parts[0] if len(parts) == 1 else JoinedClips(parts)
    paired = clips.paired if isinstance(clips, JoinedClips) else clips
    fingerprint = pretraining_fingerprint(params, files)
    checkpoints = layout.CHECKPOINTS / f"pretrain-{fingerprint}"
    with acquire_gpu_slot(params) as params, track("pretrain", params, fingerprint=fingerprint) as tracker:
        resuming.begin(checkpoints, pretraining_inputs(params, files))
        settings = TrainSettings.of(params, params.pretrain)
        summary = run_pretraining(settings, clips, layout.PRETRAIN, checkpoints, tracker)
        if distributed.rank() != 0:
            return
        clip = before_and_after(settings, layout.PRETRAINED_MODEL, paired)
        plot_reconstruction(clip, layout.PRETRAIN / "reconstruction.png")
        plot_history(layout.PRETRAIN / "history.csv", layout.PRETRAIN / "history.png")
        for name in ("reconstruction.png", "history.png", "history.csv"):
            tracker.log_artifact(layout.PRETRAIN / name)
        write_json(layout.PRETRAIN / "metrics.json", {name: summary[name] for name in LOSSES if name in summary})
        tracker.log_artifact(layout.PRETRAIN / "metrics.json")
        tracker.describe(described(settings, summary))


if __name__ == "__main__":
    run(main, EXAMPLES)

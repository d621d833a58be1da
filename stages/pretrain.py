"""Stage `pretrain`: HiCMAE pre-training without labels."""

from collections.abc import Mapping

from hicmae import layout
from hicmae.command import parser, run
from hicmae.prepared import PreparedDataset
from hicmae.tracking.stage_runs import track
from hicmae_core.config import PretrainParams, load_params
from hicmae_core.data.joined import JoinedClips
from hicmae_core.files import write_json
from hicmae_core.model.artifact import load_pretrained
from hicmae_core.reports.figures import plot_history, plot_reconstruction
from hicmae_core.training import distributed, resuming
from hicmae_core.training.loop import TrainSettings
from hicmae_core.training.pretrain import pretraining_fingerprint, pretraining_inputs, run_pretraining, untrained_model
from hicmae_core.training.reconstruction import reconstruct_sample
from hicmae_core.training.slots import acquire_gpu_slot

EXAMPLES = """
python -m stages.pretrain
torchrun --nproc-per-node 4 -m stages.pretrain
"""

_COMPARED = ("total", "video", "audio", "contrastive")
"""What `dvc metrics diff` compares: the losses of the last epoch. All else is in the history and in MLflow."""


def main() -> None:
    """Pre-train on the clips of `pretrain.dataset`, of all of a list."""
    parser("Pre-train HiCMAE on clips without labels.", EXAMPLES).parse_args()
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
        before, after = (
            reconstruct_sample(model, paired, settings, num_clips=1)
            for model in (untrained_model(settings).eval(), load_pretrained(layout.PRETRAINED_MODEL, params.model.size))
        )
        clip = {name: values[0] for name, values in after._asdict().items()}
        clip |= {"frames_untrained": before.frames_predicted[0], "log_mel_untrained": before.log_mel_predicted[0]}
        plot_reconstruction(clip, layout.PRETRAIN / "reconstruction.png")
        plot_history(layout.PRETRAIN / "history.csv", layout.PRETRAIN / "history.png")
        for name in ("reconstruction.png", "history.png", "history.csv"):
            tracker.log_artifact(layout.PRETRAIN / name)
        write_json(layout.PRETRAIN / "metrics.json", {name: summary[name] for name in _COMPARED if name in summary})
        tracker.log_artifact(layout.PRETRAIN / "metrics.json")
        tracker.describe(_description(params.model.size, params.pretrain, summary))


def _description(size: str, settings: PretrainParams, summary: Mapping[str, float]) -> str:
    losses = [name for name in _COMPARED if name in summary]
    names = " and ".join(f"`{name}`" for name in settings.dataset)
    return (
        f"Pre-training of a `{size}` model of {summary['num_parameters']:,} parameters, without labels, on "
        f"{summary['num_clips']:,} clips of {names}: {summary['num_steps']:,} steps in "
        f"{settings.epochs} epochs; {summary['seconds']:,.0f} s in the process that ended it.\n\n"
        f"| last epoch | {' | '.join(losses)} |\n|---|{'---:|' * len(losses)}\n"
        f"| loss | {' | '.join(f'{summary[name]:.4f}' for name in losses)} |"
    )


if __name__ == "__main__":
    run(main)

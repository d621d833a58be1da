"""Stage `finetune`: supervised fine-tuning of one fold."""

from hicmae import layout
from hicmae.command import DatasetOption, FoldOption, run
from hicmae.prepared import PreparedDataset
from hicmae.tracking.stage_runs import track
from hicmae_core.config import load_params
from hicmae_core.finetuning.finetune import finetuning_fingerprint, finetuning_inputs, run_finetuning
from hicmae_core.reports.figures import plot_history
from hicmae_core.runtime import acquire_gpu_slot
from hicmae_core.training import distributed, resuming
from hicmae_core.training.loop import TrainSettings
from hicmae_core.training.pretrain import adapt


def main(dataset: DatasetOption, fold: FoldOption) -> None:
    """Fine-tune on all folds but one; the test fold's clips are not even opened."""
    params = load_params()
    settings = params.finetune
    prepared = PreparedDataset(params, dataset)
    parts = prepared.training_parts(fold, settings, params.seed)
    pretrained = settings.checkpoint if settings.init == "pretrained" else None
    out_dir = layout.finetune_folder(dataset, fold)
    fingerprint = finetuning_fingerprint(params, dataset, fold, prepared.files, pretrained)
    checkpoints = layout.CHECKPOINTS / f"finetune-{dataset}-{fold}-{fingerprint}"
    with acquire_gpu_slot(params) as params, track("finetune", params, dataset, fold, fingerprint) as tracker:
        resuming.begin(checkpoints, finetuning_inputs(params, dataset, fold, prepared.files, pretrained))
        with distributed.process_group(distributed.training_device(params.compute.device)):  # one for both trainings
            if settings.adaptive_epochs:
                pretraining = TrainSettings.of(params, params.pretrain)
                epochs = settings.adaptive_epochs
                pretrained = adapt(pretraining, epochs, prepared.clips(parts.train), pretrained, checkpoints)
                tracker.log_artifact(pretrained.with_name("history.csv"), "adaptation")
            run_finetuning(
                TrainSettings.of(params, settings),
                prepared.dataset,
                fold,
                clips=prepared.clips(parts.train, settings.modality),
                validation=None if parts.validation is None else prepared.clips(parts.validation, settings.modality),
                pretrained=pretrained,
                out_path=out_dir / "model.safetensors",
                checkpoint_dir=checkpoints,
                tracker=tracker,
                notes={"dataset": dataset, "faces": params.faces_of(dataset).model_dump(mode="json")},
            )
        if distributed.rank() == 0:
            plot_history(out_dir / "history.csv", out_dir / "history.png")
            for name in ("model.safetensors", "history.csv", "history.png"):
                tracker.log_artifact(out_dir / name)


if __name__ == "__main__":
    run(main, "python -m stages.finetune --dataset demo --fold 1")

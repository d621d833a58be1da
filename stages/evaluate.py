"""Stage `evaluate`: the one look at a fold's test clips."""

import pandas as pd

from hicmae import layout
from hicmae.command import DatasetOption, FoldOption, run
from hicmae.prepared import PreparedDataset
from hicmae.tracking.stage_runs import track
from hicmae_core.config import load_params
from hicmae_core.evaluation.fold_results import ALONE, metrics_of, write_fold_results
from hicmae_core.evaluation.prediction import predict, shown_modality
from hicmae_core.model.artifact import load_classifier
from hicmae_core.reports.figures import plot_predictions
from hicmae_core.runtime import device_named
from hicmae_core.store.folds import test_clips


def main(dataset: DatasetOption, fold: FoldOption) -> None:
    """Predict a fold's test clips and write predictions and metrics."""
    params = load_params()
    prepared = PreparedDataset(params, dataset)
    model, metadata = load_classifier(layout.finetune_folder(dataset, fold) / "model.safetensors")
    shown = shown_modality(model.architecture.modality, params.evaluate.modality)
    clip_ids = test_clips(prepared.manifest, fold)
    out_dir = layout.results_folder(dataset, fold)
    with track("evaluate", params, dataset, fold) as tracker:
        device = device_named(params.compute.device)
        tables: dict[str, pd.DataFrame] = {
            modality: predict(
                model,
                prepared.clips(clip_ids, modality),
                prepared.dataset,
                params.evaluate,
                device,
                params.compute.num_workers,
                metadata.get("temperatures", ()),
            )
            for modality in (shown, *(ALONE if shown == "both" else ()))
        }
        predictions = tables.pop(shown)
        metrics = write_fold_results(predictions, prepared.dataset, out_dir, tables)
        plot_predictions(predictions, prepared.dataset, out_dir / "confusion.png")
        tracker.log_metrics({f"test_{key}": value for key, value in metrics.items()}, step=0)
        for modality, table in tables.items():
            alone = metrics_of(table, prepared.dataset)
            tracker.log_metrics({f"test_{key}_{modality}_alone": value for key, value in alone.items()}, step=0)
        for path in sorted(out_dir.iterdir()):
            tracker.log_artifact(path)
        tracker.log_image(out_dir / "confusion.png")
    print(
        f"{dataset} fold {fold} ({shown}){prepared.dataset.face_note(shown)}: "
        + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
    )


if __name__ == "__main__":
    run(main, "python -m stages.evaluate --dataset demo --fold 1")

"""Stage `summarise`: results over folds, with intervals, beside the published numbers."""

from hicmae import layout
from hicmae.command import DatasetOption, run
from hicmae.tracking.stage_runs import track
from hicmae_core.config import load_params
from hicmae_core.evaluation.fold_results import read_alone, read_predictions
from hicmae_core.evaluation.summary import summarise
from hicmae_core.reports.markdown import short_markdown
from hicmae_core.reports.results import results_record, write_calibration, write_reports


def main(dataset: DatasetOption) -> None:
    """Aggregate the folds of a dataset into a report."""
    params = load_params()
    predictions = {fold: read_predictions(layout.results_folder(dataset, fold)) for fold in params.folds_of(dataset)}
    alone = {fold: read_alone(layout.results_folder(dataset, fold)) for fold in params.folds_of(dataset)}
    summary = summarise(dataset, params.dataset[dataset], predictions, params.summarise, params.seed, alone)
    out_dir = layout.REPORTS / dataset
    write_reports(summary, out_dir)
    write_calibration(summary.predictions, params.dataset[dataset], out_dir)
    with track("summarise", params, dataset) as tracker:
        tracker.log_metrics({f"pooled_{key}": value for key, value in summary.pooled.items()}, step=0)
        means = {f"mean_{key}": value.mean for key, value in summary.over_folds.items()}
        deviations = {f"std_{key}": v.std for key, v in summary.over_folds.items() if v.std is not None}
        tracker.log_metrics({**means, **deviations}, step=0)
        for path in sorted(out_dir.iterdir()):
            tracker.log_artifact(path)
        tracker.describe(short_markdown(results_record(summary)))


if __name__ == "__main__":
    run(main, "python -m stages.summarise --dataset demo")

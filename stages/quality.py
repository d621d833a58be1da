"""Stage `quality`: what a prepared dataset looks like, and which clips are there twice."""

from hicmae import layout
from hicmae.command import DatasetOption, run
from hicmae_core.config import load_params
from hicmae_core.reports.quality import write_quality_report
from hicmae_core.store.manifest import read_manifest
from hicmae_core.store.shards import ClipStore


def main(dataset: DatasetOption) -> None:
    """Report on a prepared dataset: counts, contact sheets, histograms, copies and leaks between folds."""
    params = load_params()
    if dataset not in params.dataset:
        raise ValueError(f"no dataset `{dataset}` in params.yaml; there are: {', '.join(params.dataset)}")
    out_dir = layout.REPORTS / "preparation"
    line = write_quality_report(
        dataset,
        params.dataset[dataset],
        read_manifest(layout.manifest_file(dataset)),
        layout.raw_folder(dataset),
        ClipStore(layout.faces_folder(dataset)),
        ClipStore(layout.audio_folder(dataset)),
        out_dir,
        layout.preparation_metrics("quality", dataset),
    )
    print(f"report: {out_dir / dataset}.html")
    print(line)


if __name__ == "__main__":
    run(main, "python -m stages.quality --dataset demo")

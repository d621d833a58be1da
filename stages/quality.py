"""Stage `quality`: what a prepared dataset looks like, and which clips are there twice."""

from hicmae import layout
from hicmae.command import dataset_parser, run
from hicmae_core.config import load_params
from hicmae_core.reports.quality import write_quality_report
from hicmae_core.store.manifest import read_manifest
from hicmae_core.store.shards import ClipStore


def main() -> None:
    """Report on a prepared dataset: counts, contact sheets, histograms, copies and leaks between folds."""
    name = dataset_parser("Report on the quality of a prepared dataset.", "quality").parse_args().dataset
    params = load_params()
    if name not in params.dataset:
        raise ValueError(f"no dataset `{name}` in params.yaml; there are: {', '.join(params.dataset)}")
    out_dir = layout.REPORTS / "preparation"
    line = write_quality_report(
        name,
        params.dataset[name],
        read_manifest(layout.manifest_file(name)),
        layout.raw_folder(name),
        ClipStore(layout.faces_folder(name)),
        ClipStore(layout.audio_folder(name)),
        out_dir,
        layout.preparation_metrics("quality", name),
    )
    print(f"report: {out_dir / name}.html")
    print(line)


if __name__ == "__main__":
    run(main)

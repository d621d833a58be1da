"""Stage `manifest`: one row per clip, with labels, folds and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from hicmae import layout
from hicmae.command import run
from hicmae_core.config import load_params
from hicmae_core.corpora.registry import dataset_named
from hicmae_core.files import write_json
from hicmae_core.media.decoding import probe as probing
from hicmae_core.preparation.building import build_manifest
from hicmae_core.store.manifest import counts_by_status, speakers_in_words, units_in_words, write_manifest

EXAMPLES = """
python -m stages.manifest --dataset demo --probe
python -m stages.manifest --dataset mine --root /data/mine --out mine.parquet
python -m stages.manifest --dataset CREMA-D --root /data/CREMA-D --out crema_d.parquet --allow-incomplete
"""


def main(
    dataset: Annotated[str, Option(metavar="NAME", help="A dataset of params.yaml, or a ready-made one: ravdess.")],
    root: Annotated[Path | None, Option(help="Folder of raw files.", show_default="data/raw/NAME")] = None,
    out: Annotated[Path | None, Option(help="File to write.", show_default="data/manifests/NAME.parquet")] = None,
    probe: Annotated[bool, Option("--probe", help="Open every file: frames, duration, checksum, damage.")] = False,
    allow_incomplete: Annotated[bool, Option("--allow-incomplete", help="Go on although clips are missing.")] = False,
) -> None:
    """Read a dataset's raw folder into a manifest."""
    params = load_params()
    name, settings = dataset_named(dataset, params.dataset)
    if allow_incomplete:
        settings = settings.model_copy(update={"allow_incomplete": True})
    manifest = build_manifest(
        name,
        settings,
        root or layout.raw_folder(name),
        probe_fn=probing if probe else None,
        num_processes=params.compute.num_processes,
        max_reject_fraction=params.preparation.max_reject_fraction,
    )
    write_manifest(out or layout.manifest_file(name), manifest)
    counts = counts_by_status(manifest)
    if out is None:
        write_json(layout.preparation_metrics("manifest", name), counts)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    speakers = speakers_in_words(manifest, labelled=settings.task != "unlabelled")
    print(f"{name}: {len(manifest)} clips, {statuses}; {speakers}{units_in_words(manifest)}")


if __name__ == "__main__":
    run(main, EXAMPLES)

"""Stage `manifest`: one row per clip, with labels, folds and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from hicmae import layout
from hicmae.command import parser, run
from hicmae_core.config import load_params
from hicmae_core.corpora.catalogue import catalogue
from hicmae_core.corpora.registry import dataset_named
from hicmae_core.files import write_json
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.store.manifest import counts_by_status, speakers_in_words, units_in_words, write_manifest

EXAMPLES = """
python -m stages.manifest --dataset demo --probe
python -m stages.manifest --dataset mine --root /data/mine --out mine.parquet
python -m stages.manifest --dataset CREMA-D --root /data/CREMA-D --out crema_d.parquet --allow-incomplete
python -m stages.manifest --list --dataset CREMA-D
"""


def main() -> None:
    """Read a raw folder into a manifest."""
    arguments = parser("Read a dataset's raw folder into a manifest.", EXAMPLES)
    arguments.add_argument("--dataset", help="a dataset of params.yaml, or a ready-made one such as ravdess")
    arguments.add_argument("--root", type=Path, help="folder of the raw files (default: data/raw/DATASET)")
    arguments.add_argument("--out", type=Path, help="Parquet file to write (default: data/manifests/DATASET.parquet)")
    arguments.add_argument("--probe", action="store_true", help="open every file: frames, duration, checksum, damage")
    arguments.add_argument("--allow-incomplete", action="store_true", help="go on although clips are missing")
    arguments.add_argument("--list", action="store_true", help="show how to get and use each corpus, or DATASET's")
    chosen = arguments.parse_args()
    if not chosen.dataset and not chosen.list:
        arguments.error("--dataset or --list is needed")
    params = load_params()
    if chosen.list:
        print(catalogue(dataset_named(chosen.dataset, params.dataset)[1].corpus if chosen.dataset else None), end="")
        return
    name, dataset = dataset_named(chosen.dataset, params.dataset)
    if chosen.allow_incomplete:
        dataset = dataset.model_copy(update={"allow_incomplete": True})
    manifest = build_manifest(
        name,
        dataset,
        chosen.root or layout.raw_folder(name),
        probe_fn=probe if chosen.probe else None,
        num_processes=params.compute.num_processes,
        max_reject_fraction=params.preparation.max_reject_fraction,
    )
    write_manifest(chosen.out or layout.manifest_file(name), manifest)
    counts = counts_by_status(manifest)
    if chosen.out is None:
        write_json(layout.preparation_metrics("manifest", name), counts)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    speakers = speakers_in_words(manifest, labelled=dataset.task != "unlabelled")
    print(f"{name}: {len(manifest)} clips, {statuses}; {speakers}{units_in_words(manifest)}")


if __name__ == "__main__":
    run(main)

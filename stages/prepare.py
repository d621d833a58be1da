"""Stage `manifest`: one row per clip, with labels, folds and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from hicmae_core.config import load_params
from hicmae_core.data.building import build_manifest
from hicmae_core.data.manifest import counts_by_status, write_manifest
from hicmae_core.files import write_json
from hicmae_core.media.decoding import probe
from stages import layout
from stages.command import parser, run

EXAMPLES = """
python -m stages.prepare --dataset demo --probe
python -m stages.prepare --dataset mine --root /data/mine --out /tmp/mine.parquet
"""


def main() -> None:
    """Read a raw folder into a manifest."""
    arguments = parser("Read a dataset's raw folder into a manifest.", EXAMPLES)
    arguments.add_argument("--dataset", required=True, help="a dataset of params.yaml")
    arguments.add_argument("--root", type=Path, help="folder of the raw files (default: data/raw/DATASET)")
    arguments.add_argument("--out", type=Path, help="Parquet file to write (default: data/manifests/DATASET.parquet)")
    arguments.add_argument("--probe", action="store_true", help="open every file: frames, duration, checksum, damage")
    chosen = arguments.parse_args()
    params = load_params()
    name = chosen.dataset
    if name not in params.dataset:
        raise ValueError(f"no dataset `{name}` in params.yaml; there are: {', '.join(params.dataset)}")
    manifest = build_manifest(
        name,
        params.dataset[name],
        chosen.root or layout.raw_folder(name),
        probe_fn=probe if chosen.probe else None,
        num_processes=params.compute.num_processes,
        max_reject_fraction=params.preparation.max_reject_fraction,
    )
    write_manifest(chosen.out or layout.manifest_file(name), manifest)
    counts = counts_by_status(manifest)
    if chosen.out is None:
        write_json(layout.preparation_metrics("manifest", name), counts)
    print(f"{name}: {len(manifest)} clips, " + ", ".join(f"{count} {status}" for status, count in counts.items()))


if __name__ == "__main__":
    run(main)

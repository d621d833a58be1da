"""`hicmae lineage`: where a result comes from, or what depends on a clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hicmae.cli.output import print_table
from hicmae.layout import project_root
from hicmae.tracking.lineage import origin, uses
from hicmae.tracking.store import MlflowStore
from hicmae_core.config import load_params

EXAMPLES = """
hicmae lineage 0123456789abcdef0123456789abcdef
hicmae lineage models:/hicmae-demo@champion --json
hicmae lineage results/demo/1/predictions.parquet
hicmae lineage models/finetune/demo/1/model.safetensors
hicmae lineage reports/demo/metrics.json:pooled.uar
hicmae lineage answers.csv
hicmae lineage --clip SP01_anger_01
"""


def main(
    result: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULT",
            help="A run id, models:/NAME@ALIAS, a file, or FILE:KEY of a JSON file.",
            show_default=False,
        ),
    ] = None,
    clip: Annotated[str | None, typer.Option(metavar="CLIP_ID", help="Instead: a clip of a manifest.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Look for the clip in this dataset alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all parameters.")] = False,
) -> None:
    """Print the code, data and settings that a result was made of, or what depends on a clip."""
    if (result is None) == (clip is None):
        raise ValueError("trace what? Name a result, or a clip with --clip")
    store = MlflowStore(project_root())
    if clip is not None:
        rows = uses(store, load_params(), clip, dataset)
        if as_json:
            print(json.dumps(rows, indent=2))
        else:
            print_table("", [*rows[0]], [[*row.values()] for row in rows], best=False)
        return
    assert result is not None
    found = origin(store, result)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        found.pop("params")
        print_table("", [], _lines(found), best=False)


def _lines(found: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    lines: list[list[str]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            lines += _lines(value, f"{prefix}{name}.")
        else:
            lines.append([prefix + name, ", ".join(value) if isinstance(value, list) else str(value)])
    return lines

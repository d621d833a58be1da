"""Lay published recipes over params.yaml."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

import hicmae_core
from hicmae.cli.output import print_table
from hicmae.command import run
from hicmae_core.config import DatasetParams, Params, parse_params
from hicmae_core.files import write_text
from pipelines.graph.fold_files import complete_folds, write_graphs

PRESETS = Path(hicmae_core.__file__).parent / "presets"
EXAMPLES = """
python -m pipelines.project.configure --list
python -m pipelines.project.configure pretrain_voxceleb2_base finetune_crema_d
git checkout params.yaml && python -m pipelines.project.datasets    # back to the demo
"""


def overlay(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Lay `changes` over `base` in place: sections are merged, anything else is replaced."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            overlay(base[key], value)
        else:
            base[key] = value


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key such as ``finetune.modality`` in place; sections that are missing are made."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value


def edit(text: str, change: Callable[[dict[str, Any]], None], source: str) -> str:
    """Change the values of a params.yaml, keeping its comments, and all of the text if nothing differs in the end.

    Args:
        text: Of the file.
        change: Changes the values in place.
        source: Names the result in errors.

    Raises:
        ValueError: If the result is not valid.
    """
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    values = yaml.load(text)
    change(values)
    stream = StringIO()
    yaml.dump(values, stream)
    changed = YAML(typ="safe").load(stream.getvalue())
    parse_params(changed, source)
    return text if changed == YAML(typ="safe").load(text) else stream.getvalue()


def apply_presets(text: str, names: list[str]) -> str:
    """Lay presets over the text of a params.yaml, keeping its comments.

    A preset's ``shared`` names a recipe of presets/shared, which is laid first. The presets' datasets join those that
    are there, but the demo's leave where they are no longer needed.

    Raises:
        ValueError: For an unknown preset, or if the result is not valid.
    """

    def lay(values: dict[str, Any]) -> None:
        for name in names:
            path = PRESETS / f"{name}.yaml"
            if not path.is_file():
                raise ValueError(f"no preset `{name}`; there are: {', '.join(preset_names())}")
            preset = YAML().load(path.read_text(encoding="utf-8"))
            shared = PRESETS / "shared" / f"{preset.pop('shared')}.yaml"
            overlay(values, YAML().load(shared.read_text(encoding="utf-8")))
            overlay(values, preset)
        _retire_demo(values)
        complete_folds(values)

    return edit(text, lay, f"params.yaml with {' and '.join(names)}")


def rewrite(root: Path, change: Callable[[str], str]) -> None:
    """Change the text of a project's params.yaml, and bring the graph in line with it.

    Raises:
        ValueError: If params.yaml is not valid after the change.
    """
    path = root / "params.yaml"
    text = change(path.read_text(encoding="utf-8"))
    params = parse_params(YAML(typ="safe").load(text), str(path))
    write_text(path, text)
    write_graphs(root, params)


def _retire_demo(values: dict[str, Any]) -> None:
    """Remove the demo's datasets: labelled clips if there are others, unlabelled ones if others are pre-trained on."""
    datasets, chosen = values["dataset"], values["pretrain"]["dataset"]
    kept = {chosen} if isinstance(chosen, str) else set(chosen)
    demo = [name for name, entry in datasets.items() if entry["corpus"].startswith("demo")]
    others = [name for name, entry in datasets.items() if name not in demo and entry.get("num_folds")]
    for name in demo:
        if name not in kept and (others or not datasets[name].get("num_folds")):
            del datasets[name]


def preset_names() -> list[str]:
    """All presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _first_line(name: str) -> str:
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def main(
    presets: Annotated[
        list[str] | None,
        typer.Argument(metavar="PRESET...", help="Names of presets, later ones win.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the presets, as without any name.")] = False,
    explained: Annotated[
        str | None, typer.Option("--explain", metavar="SECTION", help="Print a section's keys, meanings and defaults.")
    ] = None,
) -> None:
    """Lay published recipes over params.yaml."""
    if explained:
        print(explain(explained))
    elif show or not presets:
        print_table("", ["preset", "recipe"], [[name, _first_line(name)] for name in preset_names()], best=False)
    else:
        rewrite(Path(), lambda text: apply_presets(text, presets))
        print(f"params.yaml now holds {', '.join(presets)}; see `git diff params.yaml`", file=sys.stderr)


def explain(section: str) -> str:
    """The keys of a section with their meanings and defaults.

    Raises:
        ValueError: For an unknown section.
    """
    field = Params.model_fields.get(section)
    model: Any = DatasetParams if section == "dataset" else getattr(field, "annotation", None)
    if not hasattr(model, "model_fields"):
        sections = [name for name, entry in Params.model_fields.items() if hasattr(entry.annotation, "model_fields")]
        raise ValueError(f"no section `{section}`; there are: {', '.join([*sections, 'dataset'])}")
    lines = []
    for name, entry in model.model_fields.items():
        default = "required" if entry.is_required() else f"default {entry.get_default(call_default_factory=True)!r}"
        lines.append(f"{section}.{name}: {entry.description} ({default})")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, EXAMPLES)

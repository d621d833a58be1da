"""From a run or registered model back to its code, data and settings; from a clip on to all that was made of it."""

from __future__ import annotations

import json

from mlflow.exceptions import MlflowException
from tabulate import tabulate

from hicmae_core.config import Params, load_params
from hicmae_core.data.manifest import read_manifest
from stages import layout
from stages.command import parser, run
from stages.model_store import ModelStore
from stages.project import project_root
from stages.registry import model_name
from stages.runs import RunStore

EXAMPLES = """
python -m stages.lineage 0123456789abcdef0123456789abcdef
python -m stages.lineage models:/hicmae-demo@champion --json
python -m stages.lineage --clip SP01_anger_01
"""
_TAGS = ("git_commit", "dataset", "fold", "stage", "seed", "pretraining_run_id", "training_fingerprint", "run_key",
         "dvc_lock_sha256")  # fmt: skip


def origin(store: RunStore, name: str) -> dict[str, object]:
    """What a result was made of.

    Args:
        store: Where the runs are.
        name: An MLflow run id, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        ValueError: If there is no such run or model.
    """
    found: dict[str, object] = {}
    run_id = name
    if name.startswith("models:"):
        version = ModelStore(store).find(name)
        run_id = version.run_id
        found = {"model": f"models:/{version.name}/{version.version}", "weights_sha256": version.tags["weights_sha256"]}
    try:
        made = store.client.get_run(run_id)
    except MlflowException:
        raise ValueError(f"no run `{run_id}` in MLflow at {store.name}") from None
    found |= {"run_id": run_id, "run": made.info.run_name, "status": made.info.status}
    found |= {tag: made.data.tags[tag] for tag in _TAGS if tag in made.data.tags}
    found["manifests"] = {
        used.dataset.name: json.loads(used.dataset.source)["sha256"] for used in made.inputs.dataset_inputs
    }
    return found | {"params": made.data.params}


def uses(store: RunStore, params: Params, clip: str, dataset: str | None = None) -> list[dict[str, str]]:
    """What depends on a clip, under the present parameters, and what to run or delete when it is withdrawn.

    Raises:
        ValueError: If no manifest has the clip.
    """
    rows: list[dict[str, str]] = []

    def note(what: str, role: str, mend: str) -> None:
        rows.append({"what": what, "role": role, "when withdrawn": mend})

    known = [name for name in params.dataset if (store.root / layout.manifest_file(name)).is_file()]
    for name in [dataset] if dataset else known:
        path = store.root / layout.manifest_file(name)
        manifest = read_manifest(path)
        if clip not in manifest["clip_id"].tolist():
            continue
        test_fold = manifest.set_index("clip_id").loc[clip, "test_fold"]
        note(str(layout.manifest_file(name)), "listed", f"delete its file, then dvc repro manifest@{name}")
        for stage in ("faces", "audio", "quality"):
            note(f"{stage}@{name}", "prepared", f"dvc repro {stage}@{name}")
        if params.pretrain.dataset == name:
            note("pretrain", "pre-trained on", "dvc repro pretrain, and all that starts from it")
        if name not in params.evaluated:
            continue
        for fold in params.folds[name]:
            role = "tested in" if fold == test_fold else "trained or validated on"
            note(
                f"finetune@{name}-{fold}, evaluate@{name}-{fold}",
                role,
                f"dvc repro folds/{name}/dvc.yaml:evaluate@{fold}",
            )
        note(f"summarise@{name}", "counted in", f"dvc repro summarise@{name}")
        for version in ModelStore(store).versions(model_name(name)):
            trained = version.tags["fold"] != str(test_fold)
            role = "trained or validated on" if trained else "tested in, not trained on"
            mend = "delete the version" if trained else "its result changes"
            note(f"models:/{version.name}/{version.version}", role, mend)
    if not rows:
        raise ValueError(f"no manifest has a clip `{clip}`; looked at: {dataset or ', '.join(known)}")
    return rows


def main() -> None:
    """Print where a result comes from, or what depends on a clip."""
    arguments = parser("Where a result comes from, or what depends on a clip.", EXAMPLES)
    which = arguments.add_mutually_exclusive_group(required=True)
    which.add_argument("result", nargs="?", help="an MLflow run id, or models:/NAME@ALIAS")
    which.add_argument("--clip", help="a clip_id of a manifest")
    arguments.add_argument("--dataset", help="look for the clip in this dataset alone")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    chosen = arguments.parse_args()
    store = RunStore(project_root())
    if chosen.clip:
        rows = uses(store, load_params(), chosen.clip, chosen.dataset)
        print(json.dumps(rows, indent=2) if chosen.json else tabulate(rows, headers="keys"))
        return
    found = origin(store, chosen.result)
    if chosen.json:
        print(json.dumps(found, indent=2))
    else:
        found.pop("params")
        print(tabulate(found.items(), tablefmt="plain"))


if __name__ == "__main__":
    run(main)

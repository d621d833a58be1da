"""From results to their data, and from a clip to its results."""

import json
from pathlib import Path

import pandas as pd
import pytest

from hicmae_core.data.manifest import MANIFEST_COLUMNS
from hicmae_core.files import sha256_of
from stages.lineage import origin, uses
from stages.runs import RunStore
from stages.tracking import track
from tests.stages.tracked import PARAMS


@pytest.fixture
def store(project: Path) -> RunStore:
    """A store of a project whose manifests have two clips each."""
    for name, clips in (("demo", ["a", "b"]), ("demo_unlabelled", ["u", "v"])):
        manifest = pd.DataFrame({"clip_id": clips, "test_fold": [1, 2]}).reindex(columns=list(MANIFEST_COLUMNS))
        manifest.to_parquet(project / "data" / "manifests" / f"{name}.parquet")
    return RunStore(project)


def test_a_run_leads_to_its_data_and_pretraining(store: RunStore) -> None:
    with track("pretrain", PARAMS) as before:
        pass
    with track("finetune", PARAMS, "demo", 1, "mark") as tracker:
        pass
    found = origin(store, tracker.run_id)
    assert found["pretraining_run_id"] == before.run_id
    assert found["manifests"] == {"demo": sha256_of(store.root / "data" / "manifests" / "demo.parquet")}
    assert (found["fold"], found["training_fingerprint"]) == ("1", "mark")
    assert json.loads(json.dumps(found))["params"]["model.size"] == "demo"
    with pytest.raises(ValueError, match="no run `nothing`"):
        origin(store, "nothing")


def test_a_clip_leads_to_all_that_depends_on_it(store: RunStore) -> None:
    roles = {row["what"]: row["role"] for row in uses(store, PARAMS, "a")}
    assert roles["finetune@demo-1, evaluate@demo-1"] == "tested in"
    assert roles["finetune@demo-2, evaluate@demo-2"] == "trained or validated on"
    assert "pretrain" not in roles
    assert uses(store, PARAMS, "u")[-1]["what"] == "pretrain"
    with pytest.raises(ValueError, match="no manifest has a clip `z`"):
        uses(store, PARAMS, "z")

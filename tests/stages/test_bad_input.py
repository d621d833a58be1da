"""A user's wrong move ends in one sentence that names it, and nothing is half-written."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT

DEMO = yaml.safe_load((ROOT / "params.yaml").read_text())
MINE = {"corpus": "csv", "classes": ["calm", "angry"], "num_folds": 2}


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with a params.yaml that knows the dataset ``mine``, and its raw folder."""
    values = {**DEMO, "dataset": {**DEMO["dataset"], "mine": MINE}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "raw").mkdir()
    return tmp_path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def prepare(folder: Path, rows: list[dict] | None = None, dataset: str = "mine") -> subprocess.CompletedProcess[str]:
    if rows is not None:
        for row in rows:
            (folder / "raw" / row["video"]).write_bytes(b"x")
        pd.DataFrame(rows).to_csv(folder / "raw" / "manifest.csv", index=False)
    return command(folder, "stages.manifest", "--dataset", dataset, "--root", "raw", "--out", "out.parquet")


def clips(**changes) -> list[dict]:
    """Two speakers in two folds, both classes each; `changes` apply to the first clip."""
    rows = [
        {"clip_id": f"s{s}_{label}", "video": f"s{s}_{label}.mp4", "subject": f"s{s}", "fold": s, "label": label}
        for s in (1, 2)
        for label in ("calm", "angry")
    ]
    return [{**rows[0], **changes}, *rows[1:]]


def expect_refusal(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] != ""
    assert "Traceback" not in result.stderr
    assert "error: " in result.stderr
    for word in words:
        assert word in result.stderr


def test_good_input_is_taken(workplace):
    result = prepare(workplace, clips())
    assert result.returncode == 0, result.stderr
    assert len(pd.read_parquet(workplace / "out.parquet")) == 4
    assert result.stdout.splitlines()[-1] == "mine: 4 clips, 4 ok; 2 speakers"


def test_a_misspelt_column_of_speakers_is_seen(workplace):
    result = prepare(
        workplace, [{("speaker" if key == "subject" else key): row[key] for key in row} for row in clips()]
    )
    assert result.stdout.splitlines() == [
        "mine: manifest.csv: columns that are not used: speaker (rename it to `subject` if it is that)",
        "mine: 4 clips, 4 ok; speakers: unknown (no speaker-leak check; intervals are over clips)",
    ]
    result = prepare(workplace, [{key.title(): row[key] for key in row} | {"video": row["video"]} for row in clips()])
    assert "have one name, video" in result.stderr


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (clips(clip_id="s2_calm"), ("s2_calm", "not unique")),
        (clips(fold=2), ("s1", "both trained on and tested")),
        (clips(fold=7), ("outside 1 to 2", "s1_calm")),
        (clips(label="angry"), ("fold 1", "calm")),
        (clips(label="furious"), ("furious", "max_reject_fraction")),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_and_nothing_is_written(workplace, rows, words):
    expect_refusal(prepare(workplace, rows), *words)
    assert not (workplace / "out.parquet").exists()


def test_unknown_dataset_missing_folder_and_typo(workplace):
    expect_refusal(prepare(workplace, clips(), dataset="yours"), "no dataset `yours`", "mine")
    missing = command(workplace, "stages.manifest", "--dataset", "mine", "--root", "nowhere", "--out", "out.parquet")
    expect_refusal(missing, "nowhere: no such folder")
    text = (workplace / "params.yaml").read_text().replace("num_folds", "num_fold")
    (workplace / "params.yaml").write_text(text)
    expect_refusal(prepare(workplace, clips()), "dataset.mine.num_fold: unknown key (did you mean `num_folds`?)")


def test_a_fold_that_does_not_exist_or_is_not_prepared(workplace):
    expect_refusal(command(workplace, "stages.finetune", "--dataset", "mine", "--fold", "3"), "prepare this dataset")
    expect_refusal(command(workplace, "stages.finetune", "--dataset", "yours", "--fold", "1"), "no dataset `yours`")


def test_a_model_that_is_none(workplace):
    (workplace / "model.safetensors").write_bytes(b"nothing of the kind")
    result = command(workplace, "hicmae.cli", "predict", "video.mp4", "--model", "model.safetensors")
    expect_refusal(result, "model.safetensors: not a readable .safetensors file")
    expect_refusal(command(workplace, "hicmae.cli", "predict", "video.mp4"), "no model there yet")


WITH_HELP = (
    *(f"stages.{path.stem}" for path in sorted((ROOT / "stages").glob("[a-z]*.py"))),
    *("pipelines.project.configure", "pipelines.project.datasets", "pipelines.project.ablation"),
    *("pipelines.flows.reproduce", "pipelines.graph.recover", "hicmae.tracking.store"),
)


@pytest.mark.parametrize("module", WITH_HELP)
def test_help_has_examples(module):
    result = command(ROOT, module, "--help")
    assert result.returncode == 0
    assert f"python -m {module}" in result.stdout.split("Examples:")[1]

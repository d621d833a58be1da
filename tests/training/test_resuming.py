from pathlib import Path

import pytest

from hicmae_core.config import Params
from hicmae_core.files import fingerprint
from hicmae_core.finetuning.finetune import finetuning_fingerprint, finetuning_inputs
from hicmae_core.training import resuming
from hicmae_core.training.pretrain import pretraining_fingerprint, pretraining_inputs
from tests.tracking.tracked import PARAMS


def with_epochs(epochs: int) -> Params:
    return PARAMS.model_copy(update={"pretrain": PARAMS.pretrain.model_copy(update={"epochs": epochs})})


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.parquet"
    path.write_bytes(b"clips")
    return path


def begin(parent: Path, manifest: Path, params: Params) -> Path:
    folder = parent / f"pretrain-{pretraining_fingerprint(params, [manifest])}"
    resuming.begin(folder, pretraining_inputs(params, [manifest]))
    return folder


def test_a_first_training_says_nothing(tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path, manifest, PARAMS)
    begin(tmp_path, manifest, PARAMS)
    assert capsys.readouterr().err == ""


def test_an_interrupted_training_is_resumed(tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = begin(tmp_path, manifest, PARAMS)
    (folder / "00000004-0123456789abcdef.pt").write_bytes(b"state")
    begin(tmp_path, manifest, PARAMS)
    assert capsys.readouterr().err == f"resuming the interrupted training in {folder}\n"


def test_a_changed_parameter_is_named_and_the_old_checkpoints_too(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = begin(tmp_path, manifest, with_epochs(30))
    (old / "00000004").mkdir()
    (old / "00000004" / "part").write_bytes(bytes(2_000_000))
    manifest.write_bytes(b"other clips")
    begin(tmp_path, manifest, with_epochs(40))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pretrain.epochs (30 -> 40), the data changed since the training in {old} was interrupted")
    assert "starts afresh" in line
    assert "(2.0 MB) can be deleted" in line


def test_other_folds_and_trainings_without_a_checkpoint_are_none_of_its_business(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("finetune-demo-1", "finetune-demo-1-1", "finetune-demo-2", "pretrain"):
        checkpoint = tmp_path / f"{name}-0123456789abcdef" / "00000001-0123456789abcdef.pt"
        checkpoint.parent.mkdir()
        if name != "finetune-demo-1":
            checkpoint.write_bytes(b"state")
    folder = tmp_path / f"finetune-demo-1-{'f' * 16}"
    resuming.begin(folder, finetuning_inputs(PARAMS, "demo", 1, [manifest], None))
    assert capsys.readouterr().err == ""


def test_a_checkpoint_without_a_note_is_told_too(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / f"pretrain-{'0' * 16}"
    old.mkdir()
    (old / "00000001-0123456789abcdef.pt").write_bytes(b"state")
    begin(tmp_path, manifest, PARAMS)
    assert f"something changed since the training in {old}" in capsys.readouterr().err


def test_only_the_first_process_speaks(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(tmp_path, manifest, PARAMS)
    (folder / "00000004-0123456789abcdef.pt").write_bytes(b"state")
    monkeypatch.setenv("RANK", "1")
    begin(tmp_path, manifest, PARAMS)
    assert capsys.readouterr().err == ""


def test_the_inputs_are_what_the_fingerprint_is_made_of(manifest: Path) -> None:
    pretraining = pretraining_inputs(PARAMS, [manifest])
    assert fingerprint("pretrain", *pretraining.values()) == pretraining_fingerprint(PARAMS, [manifest])
    finetuning = finetuning_inputs(PARAMS, "demo", 1, [manifest], manifest)
    mark = finetuning_fingerprint(PARAMS, "demo", 1, [manifest], manifest)
    assert fingerprint("finetune", *finetuning.values()) == mark

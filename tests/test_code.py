"""Fingerprints of code follow what it computes, and nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hicmae_core.code import code_digest, code_of
from tests.conftest import ROOT

KEYS = """
import json
from hicmae_core.config import load_params
from hicmae_core.preparation.rows import audio_fingerprint, faces_fingerprint
from hicmae_core.finetuning.finetune import finetuning_fingerprint
from hicmae_core.training.pretrain import pretraining_fingerprint
params = load_params()
print(json.dumps({
    "faces": faces_fingerprint(params.faces, "main", 60),
    "audio": audio_fingerprint(60),
    "pretrain": pretraining_fingerprint(params, []),
    "finetune": finetuning_fingerprint(params, "demo", 1, [], None),
}))
"""


@pytest.mark.parametrize(
    ("text", "is_same"),
    [
        ('"""Another text."""\n\nX = 1\n"""Of X."""\n\n\ndef f(a):\n    """Doc."""\n    return a + X\n', True),
        ("# why\nX   = 1\ndef f(\n    a,\n): return (a + X)", True),
        ("X = 2\ndef f(a): return a + X", False),
        ("X = 1\ndef f(a): return X + a", False),
        ("X = 1\ndef f(a): return 'text'", False),
    ],
)
def test_a_digest_follows_what_code_computes(tmp_path: Path, text: str, is_same: bool) -> None:
    (tmp_path / "one.py").write_text("X = 1\ndef f(a): return a + X")
    (tmp_path / "other.py").write_text(text)
    assert (code_digest(tmp_path / "one.py") == code_digest(tmp_path / "other.py")) == is_same


def test_the_code_of_a_training_is_what_it_imports() -> None:
    names = {str(path.relative_to(ROOT / "hicmae_core").with_suffix("")) for path in code_of("training.pretrain")}
    assert {"training/pretrain", "training/loop", "model/pretraining", "data/clips", "store/shards"} <= names
    assert not any(name.startswith(("corpora/", "media/", "evaluation/", "reports/", "preparation/")) for name in names)
    assert "config" not in names
    assert names - {str(p.relative_to(ROOT / "hicmae_core").with_suffix("")) for p in code_of("finetuning.finetune")}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library, to be edited, and its keys."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "hicmae_core", folder / "hicmae_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def before(library: Path) -> dict[str, str]:
    return keys_of(library)


def keys_of(folder: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", KEYS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def changed(library: Path, before: dict[str, str], edits: dict[str, Callable[[str], str]]) -> set[str]:
    """Which keys an edit of some files changes; they are put back."""
    texts = {library / "hicmae_core" / name: (library / "hicmae_core" / name).read_text() for name in edits}
    for (path, text), edit in zip(texts.items(), edits.values(), strict=True):
        assert edit(text) != text
        path.write_text(edit(text))
    after = keys_of(library)
    for path, text in texts.items():
        path.write_text(text)
    return {name for name, key in after.items() if key != before[name]}


def test_a_corrected_docstring_changes_no_key(library: Path, before: dict[str, str]) -> None:
    names = [str(path.relative_to(library / "hicmae_core")) for path in library.glob("hicmae_core/*/*.py")]
    edits = {name: lambda text: text.replace('"""', '"""Corrected. ', 1) + "\n# a remark\n" for name in names}
    assert len(edits) > 100
    assert changed(library, before, edits) == set()


def test_the_detector_s_constants_change_the_faces_alone(library: Path, before: dict[str, str]) -> None:
    edit = {"media/detection.py": lambda text: text + "\n_LIMIT = 0.123\n"}
    assert changed(library, before, edit) == {"faces"}


def test_a_corpus_s_licence_restarts_nothing(library: Path, before: dict[str, str]) -> None:
    edit = {"corpora/crema_d.py": lambda text: text.replace("licence=", "licence='corrected ' + ", 1)}
    assert changed(library, before, edit) == set()


def test_augmentation_changes_the_trainings_alone(library: Path, before: dict[str, str]) -> None:
    edit = {"data/randaugment.py": lambda text: text + "\n_LIMIT = 0.123\n"}
    found = changed(library, before, edit)
    assert "finetune" in found
    assert found <= {"pretrain", "finetune"}

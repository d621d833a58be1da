"""Published recipes as overlays on params.yaml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hicmae_core.config import parse_params
from pipelines.project.configure import apply_presets, explain, preset_names

ROOT = Path(__file__).resolve().parents[2]
DEMO = (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_alone_is_valid(name):
    params = parse_params(yaml.safe_load(apply_presets(DEMO, [name])), name)
    assert params.folds == {
        name: tuple(range(1, dataset.num_folds + 1)) for name, dataset in params.dataset.items() if dataset.num_folds
    }


def test_pretraining_and_finetuning_recipes_combine_to_the_paper_s():
    params = parse_params(
        yaml.safe_load(apply_presets(DEMO, ["pretrain_voxceleb2_base", "finetune_crema_d"])), "params.yaml"
    )
    assert [*params.dataset] == ["voxceleb2", "crema_d"]
    assert params.model.size == "base"
    assert params.model.image_size == 160
    assert (params.pretrain.epochs, params.pretrain.batch_size, params.pretrain.base_lr) == (100, 160, 3e-4)
    assert (params.finetune.epochs, params.finetune.batch_size, params.finetune.base_lr) == (50, 56, 1e-3)
    assert params.finetune.layer_decay == 0.75
    assert params.finetune.augmentation.mixup == 0.8


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("finetune_")])
def test_a_recipe_does_not_depend_on_the_one_before(name):
    alone = parse_params(yaml.safe_load(apply_presets(DEMO, [name])), name)
    for before in ("finetune_javanese", "finetune_ravdess_drawn", "finetune_crema_d"):
        after = parse_params(yaml.safe_load(apply_presets(DEMO, [before, name])), name)
        assert after.finetune == alone.finetune
        assert after.model == alone.model


@pytest.mark.parametrize("name", ["mafw", "mafw_43", "dfew", "mer2023"])
def test_corpora_of_mixed_frame_rates_count_frames_as_published(name):
    mixed = parse_params(yaml.safe_load(apply_presets(DEMO, [f"finetune_{name}"])), "test")
    assert (mixed.model.stride_unit, mixed.model.frame_stride) == ("frames", 4)
    later = parse_params(yaml.safe_load(apply_presets(DEMO, [f"finetune_{name}", "finetune_crema_d"])), "test")
    assert later.model.stride_unit == "seconds"


def test_datasets_join_those_that_are_there_and_the_demo_leaves():
    once = apply_presets(DEMO, ["finetune_crema_d"])
    both = parse_params(yaml.safe_load(apply_presets(once, ["finetune_ravdess"])), "params.yaml")
    assert [*both.dataset] == ["demo_unlabelled", "crema_d", "ravdess"]
    assert both.folds == {"crema_d": (1, 2, 3, 4, 5), "ravdess": (1, 2, 3, 4, 5, 6)}
    assert parse_params(yaml.safe_load(apply_presets(DEMO, ["pretrain_voxceleb2_tiny"])), "").evaluated == ("demo",)


def test_comments_survive():
    assert "# or scratch" in apply_presets(DEMO, ["finetune_mafw"])


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no preset `finetune_nothing`; there are: finetune_avcaffe"):
        apply_presets(DEMO, ["finetune_nothing"])


def test_explain_prints_meaning_and_default():
    assert "pretrain.temperature: Temperature of the contrastive logits. (default 0.07)" in explain("pretrain")
    with pytest.raises(ValueError, match="no section `nothing`"):
        explain("nothing")


def test_the_command_rewrites_params_and_a_mistake_changes_nothing(tmp_path):
    (tmp_path / "params.yaml").write_text(DEMO)
    shutil.copytree(ROOT / "folds", tmp_path / "folds")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)

    def configure(*names: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "pipelines.project.configure", *names]
        return subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )

    failed = configure("nothing")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: no preset")
    assert (tmp_path / "params.yaml").read_text() == DEMO
    assert configure("finetune_mafw").returncode == 0
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())["folds"] == {"mafw": [1, 2, 3, 4, 5]}
    assert [path.parent.name for path in tmp_path.glob("folds/*/dvc.yaml")] == ["mafw"]

"""What the ablation compares, and in which order it runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hicmae_core.config import load_params, parse_params
from pipelines.project.ablation_plan import ABLATION, STUDY, in_turn, plan, same_results

PARAMS_FILE = Path(__file__).resolve().parents[2] / "params.yaml"
VALUES = yaml.safe_load(PARAMS_FILE.read_text())
EXPERIMENTS = plan(ABLATION, [0, 1, 2], "demo", [1, 2])


def test_every_combination_is_there_once_under_a_name_of_its_own() -> None:
    assert len(EXPERIMENTS) == len({experiment.name for experiment in EXPERIMENTS}) == 6 * 3 * 3


def test_each_part_is_added_alone_to_reconstruction() -> None:
    have = {}
    for experiment in plan(replace(ABLATION, protocols=ABLATION.protocols[:1]), [0], "demo", [1]):
        params = experiment.params(VALUES)
        parts = (params.pretrain.skips, params.pretrain.contrastive_weight > 0, params.finetune.fusion != "last")
        have[experiment.arm.name] = (params.finetune.init, *parts)
    assert have == {
        "scratch": ("scratch", True, True, True),
        "reconstruction": ("pretrained", False, False, False),
        "skips": ("pretrained", True, False, False),
        "contrast": ("pretrained", False, True, False),
        "fusion": ("pretrained", False, False, True),
        "full": ("pretrained", True, True, True),
    }


def test_seeds_are_of_training_and_the_corpus_stays() -> None:
    for experiment in EXPERIMENTS:
        params = experiment.params(VALUES)
        assert (params.seed, params.folds) == (experiment.seed, {"demo": (1, 2)})
        assert params.corpus == load_params(PARAMS_FILE).corpus


def test_no_two_experiments_that_run_together_need_the_same_new_pretraining() -> None:
    first, later = in_turn(EXPERIMENTS, seed=0)
    needed = [_pretraining(experiment) for experiment in first]
    assert len(set(needed)) == len(needed) == 4 * 3 - 1
    assert {_pretraining(experiment) for experiment in later} <= {
        *needed,
        _pretraining_of(parse_params(VALUES, "test")),
    }
    assert sorted(first + later, key=EXPERIMENTS.index) == EXPERIMENTS
    assert in_turn(plan(STUDY, [0], "demo", [1]), seed=0)[0] == []
    assert len(in_turn(plan(STUDY, [0], "demo", [1]), seed=1)[0]) == 1


def _pretraining(experiment) -> tuple[int, str]:
    return _pretraining_of(experiment.params(VALUES))


def _pretraining_of(params) -> tuple[int, str]:
    return params.seed, params.pretrain.model_dump_json()


def test_dvc_is_given_the_same_values() -> None:
    """What `dvc exp run --set-param` is told, read as YAML, is what the experiment's parameters are made of."""
    for experiment in EXPERIMENTS:
        told = dict(override.removeprefix("++").split("=", 1) for override in experiment.overrides)
        assert {key: yaml.safe_load(value) for key, value in told.items()} == experiment.settings


def test_where_things_run_does_not_matter_and_all_else_does() -> None:
    params = load_params(PARAMS_FILE)
    elsewhere = parse_params({**VALUES, "compute": {"device": "cpu", "num_workers": 3}}, "test")
    assert same_results(params, elsewhere)
    assert not same_results(params, EXPERIMENTS[0].params(VALUES))


def test_an_ablation_of_less_than_the_whole_method_is_refused() -> None:
    ABLATION.check(load_params(PARAMS_FILE))
    less = {**VALUES, "pretrain": VALUES["pretrain"] | {"skips": False}, "finetune": {"init": "scratch"}}
    with pytest.raises(ValueError, match=r"set in params.yaml: pretrain.skips true, finetune.init pretrained$"):
        ABLATION.check(parse_params(less, "test"))


def test_the_study_compares_pretraining_in_each_modality() -> None:
    STUDY.check(load_params(PARAMS_FILE))
    trained = {
        (params.finetune.init, params.finetune.modality)
        for params in (experiment.params(VALUES) for experiment in plan(STUDY, [0], "demo", [1, 2, 3, 4]))
    }
    further = {experiment.name for experiment in plan(STUDY, [0], "demo", [1])}
    assert {"study-dropout-scratch-0", "study-audio-pretrained-indomain-0"} <= further
    assert trained == {(init, shown) for init in ("scratch", "pretrained") for shown in ("both", "audio", "video")}
    with pytest.raises(
        ValueError, match=r"the study starts from the whole method; set in params\.yaml: finetune\.moda"
    ):
        STUDY.check(parse_params({**VALUES, "finetune": VALUES["finetune"] | {"modality": "audio"}}, "test"))

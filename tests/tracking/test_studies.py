from pathlib import Path

from hicmae.tracking.provenance import cross_validation, pretraining
from hicmae_core.config import Params, load_params

DEMO = load_params(Path(__file__).resolve().parents[2] / "params.yaml")
PARAMS = DEMO.model_copy(update={"finetune": DEMO.finetune.model_copy(update={"pooling": "mean"})})


def changed(**sections: dict[str, object]) -> Params:
    update = {name: getattr(PARAMS, name).model_copy(update=keys) for name, keys in sections.items()}
    return PARAMS.model_copy(update=update)


def test_a_name_tells_labels_and_what_was_shown() -> None:
    perceived = PARAMS.dataset["demo"].model_copy(update={"labels": "perceived"})
    labelled = PARAMS.model_copy(update={"dataset": {**PARAMS.dataset, "demo": perceived}})
    drawn = {**PARAMS.dataset, "demo": PARAMS.dataset["demo"].model_copy(update={"faces": "drawn"})}
    named = {
        "demo both pretrained, statistics": DEMO,
        "demo both pretrained": PARAMS,
        "demo both pretrained, adapted": changed(finetune={"adaptive_epochs": 5}),
        "demo both pretrained (drawn faces)": PARAMS.model_copy(update={"dataset": drawn}),
        "demo audio pretrained": changed(finetune={"modality": "audio"}).model_copy(update={"dataset": drawn}),
        "demo perceived both pretrained": labelled,
        "demo both pretrained, audio shown": changed(evaluate={"modality": "audio"}),
        "demo both pretrained, linear probe": changed(finetune={"trainable": "head"}),
        "demo both pretrained, linear probe, statistics": changed(
            finetune={"trainable": "head", "pooling": "statistics"}
        ),
        "demo both pretrained, 25 % of the labels, last layer": changed(
            finetune={"label_fraction": 0.25, "fusion": "last"}
        ),
        "demo video pretrained": changed(evaluate={"modality": "video"}, finetune={"modality": "video"}),
    }
    studies = {name: cross_validation(params, "demo") for name, params in named.items()}
    assert {name: study.name for name, study in studies.items()} == {name: name for name in named}
    assert len({study.key for study in studies.values()}) == len(named)


def test_a_pretraining_s_name_tells_what_it_lacks() -> None:
    named = {
        "demo_unlabelled demo": PARAMS,
        "demo_unlabelled demo, without skips": changed(pretrain={"skips": False}),
        "demo_unlabelled demo, without skips and contrast": changed(
            pretrain={"skips": False, "contrastive_weight": 0.0}
        ),
    }
    assert {name: pretraining(params).name for name, params in named.items()} == {name: name for name in named}


def test_a_pretraining_on_several_datasets_is_of_all_of_them() -> None:
    one = pretraining(PARAMS)
    several = pretraining(changed(pretrain={"dataset": ["demo_unlabelled", "demo"]}))
    assert (one.datasets, one.settings["dataset"]["name"]) == (("demo_unlabelled",), "demo_unlabelled")
    assert several.name.startswith("demo_unlabelled+demo demo")
    assert list(several.settings["dataset"]) == ["demo_unlabelled", "demo"]
    assert one.key != several.key

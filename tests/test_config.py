"""params.yaml: one door, every problem at once."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pydantic import ValidationError

from hicmae.predictions import columns_of
from hicmae.tracking import served_model
from hicmae_core.config import DatasetParams, FacesParams, Params, load_params, parse_params

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def values() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def test_the_shipped_parameters_are_the_demo():
    params = load_params(ROOT / "params.yaml")
    assert params.evaluated == ("demo",)
    assert params.dataset["demo"].num_outputs == 4


def test_all_problems_are_reported_together_each_under_its_key(values):
    values["pretrain"]["epoch"] = 3
    values["finetune"]["base_lr"] = "fast"
    values["model"]["image_size"] = 16
    values["datset"] = {}
    with pytest.raises(ValueError, match=r"params\.yaml: 4 problem\(s\)") as caught:
        parse_params(values, "params.yaml")
    message = str(caught.value)
    assert "pretrain.epoch: unknown key (did you mean `epochs`?)" in message
    assert "finetune.base_lr" in message
    assert "model.image_size" in message
    assert "datset: unknown key (did you mean `dataset`?)" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(folds={"demo": [1, 5]}), "folds.demo goes up to 5, but the dataset has 4 folds"),
        (lambda v: v.update(folds={"demo": [1, 1]}), "folds.demo repeats a fold"),
        (lambda v: v.update(folds={"crema_d": [1]}), "folds names `crema_d`, which is not under `dataset`"),
        (lambda v: v.update(folds={"demo_unlabelled": [1]}), "whose task is unlabelled"),
        (
            lambda v: v["pretrain"].update(dataset="nowhere"),
            "pretrain.dataset names `nowhere`, which is not under `dataset`",
        ),
        (lambda v: v["pretrain"].update(dataset=[]), "the list of datasets is empty; name at least one"),
        (lambda v: v["pretrain"].update(dataset=["demo", "demo"]), "demo is named twice; name a dataset once"),
        (
            lambda v: v["pretrain"].update(dataset=["demo", "nowhere"]),
            "pretrain.dataset names `nowhere`, which is not under `dataset`",
        ),
        (
            lambda v: v["pretrain"].update(dataset_weights=[1, 2]),
            "there are 2 dataset_weights for 1 datasets",
        ),
        (
            lambda v: v["finetune"].update(pooling="statistics", batch_size=8, accumulation_steps=8),
            "standardises over a batch's parts: let each have 2 clips or more",
        ),
        (lambda v: v["finetune"].update(warmup_epochs=99), "warmup_epochs 99 must be below epochs"),
        (lambda v: v["finetune"].update(min_lr=0.9), "min_lr 0.9 must not exceed base_lr"),
        (lambda v: v["dataset"]["demo"].update(classes=["anger"]), "at least two names"),
        (lambda v: v["dataset"]["demo"].update(classes=["a", "a"]), "must not repeat"),
        (lambda v: v["model"].update(image_size=70), "image_size is 70, not a positive multiple of 16, a patch's"),
        (lambda v: v["model"].update(audio_patch=[16, 0]), "must be positive sizes"),
        (lambda v: v["finetune"].update(modality="video", modality_dropout=0.3), "set it to both, or modality_dropout"),
        (lambda v: v["faces"].update(detector="sfd"), "detector sfd needs `weights`"),
        (lambda v: v["compute"].update(cluster="tcp://head:8786"), "`cluster` is for `engine: dask`"),
        (lambda v: v["dataset"]["demo"].update(targets=["valence"]), "`targets` to regression"),
        (lambda v: v["dataset"]["demo"].update(face_policy="all"), "for unlabelled datasets only"),
        (lambda v: v["dataset"]["demo"].update(modality="audio"), "`modality: audio` is for unlabelled datasets"),
        (
            lambda v: v["dataset"]["demo_unlabelled"].update(modality="video"),
            "names no dataset with face and voice, which contrast and fusion need",
        ),
        (
            lambda v: v["dataset"]["demo_unlabelled"].update(modality="audio", face_policy="all"),
            "`face_policy: all` has no meaning where `modality` is audio; remove it",
        ),
        (
            lambda v: (
                v["dataset"]["demo_unlabelled"].update(modality="audio"),
                v["pretrain"].update(dataset=["demo", "demo_unlabelled"], gather_negatives=True),
            ),
            "with datasets of one modality set it to false",
        ),
    ],
)
def test_contradictions_are_refused_with_the_mend(values, change, message):
    change(values)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_params(values, "params.yaml")


def test_no_detector_runs_where_videos_show_a_face_alone(values):
    values["dataset"]["demo"]["faces"] = "drawn"
    params = parse_params(values, "params.yaml")
    assert params.faces_of("demo") == params.faces.model_copy(update={"detector": "none"})
    assert params.faces_of("demo_unlabelled") == params.faces


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: no such file"):
        load_params(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("seed: [")
    with pytest.raises(ValueError, match=r"broken\.yaml: not valid YAML"):
        load_params(tmp_path / "broken.yaml")


def test_parameters_cannot_be_changed():
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        params.seed = 1


def test_every_field_of_every_section_is_documented():
    sections = [Params, FacesParams, *(f.annotation for f in Params.model_fields.values())]
    models = [section for section in sections if hasattr(section, "model_fields")]
    undocumented = [f"{m.__name__}.{name}" for m in models for name, f in m.model_fields.items() if not f.description]
    assert len(models) >= 9
    assert undocumented == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("happy", " sad")}, "class name ' sad' must have letters, and no outer space or line break"),
        ({"classes": ("happy", "")}, "class name '' must have letters"),
        ({"classes": ("happy", "s\nad")}, r"class name 's\\nad' must have letters, and no outer space or line break"),
        ({"classes": ("happy", "x" * 101)}, "class name 'x{40}'... has more than 100 letters"),
        ({"targets": ("a", "Label")}, "a target may not be called 'Label', as a column of a manifest.csv"),
        ({"targets": ("a", "fold")}, "may not be called 'fold'"),
        (
            {"targets": ("a", "A")},
            "two target names differ in case or in the coding of letters only: 'a' and 'A'; rename",
        ),
        (
            {"targets": ("a (1)", "a [1]")},
            r"share the name of their metrics in MLflow: 'a \(1\)' and 'a \[1\]'; rename one",
        ),
        (
            {"classes": ("Sad", "sad")},
            "two class names differ in case or in the coding of letters only: 'Sad' and 'sad'",
        ),
        ({"classes": ("caf\u00e9", "cafe\u0301")}, "differ in case or in the coding of letters only"),
        ({"classes": ("x", "status")}, "class name 'status' is that of a column of predictions"),
        ({"classes": ("b_c", "c"), "targets": ("a", "a_b")}, "two pairs of target and class .* column 'p_a_b_c'"),
    ],
)
def test_names_that_could_not_be_told_apart_are_refused(change, message):
    values = {"corpus": "csv", "task": "multi_classification", "classes": ("x", "y"), "targets": ("a", "b")}
    with pytest.raises(ValueError, match=message):
        DatasetParams(**values | {"num_folds": 2} | change)


def test_no_name_is_that_of_a_column_of_answers():
    reader = SimpleNamespace(classes=("x",), value_names=())
    for column in (*columns_of(reader), *served_model.TEXT_COLUMNS, "calibrated"):
        with pytest.raises(ValueError, match=f"'{column}' is that of a column of predictions|may not be called"):
            DatasetParams(corpus="csv", task="regression", targets=(column,), num_folds=1)


def test_any_other_name_is_taken():
    names = ("joy (high)", "anger|disgust", "高兴", "a/b: 50%+", "*_`<b>")
    dataset = DatasetParams(corpus="csv", classes=names, num_folds=2)
    assert dataset.classes == names
    assert DatasetParams(corpus="csv", task="regression", targets=("arousal (1-9)", "激活"), num_folds=2).targets

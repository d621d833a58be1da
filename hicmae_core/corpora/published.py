"""Published numbers to put beside ours, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hicmae_core.config import DatasetParams

CLASSES = (
    "self-supervised, audio-visual",
    "adapters on pre-trained models, audio-visual",
    "CLIP and CLAP",
    "multimodal language model",
    "video only",
    "audio only",
    "baseline of the corpus",
)
"""Classes of systems, in the order of tables: like stands beside like."""

_AUDIO_VISUAL, _ADAPTERS, _CLIP, _LANGUAGE, _VIDEO, _AUDIO, _BASELINE = CLASSES

_HICMAE = "Sun et al., Information Fusion 2024, arXiv:2401.05698v2"
_AVF_MAE = "Wu et al., AVF-MAE++, CVPR 2025"
_MAE_DFER = "Sun et al., MAE-DFER, ACM Multimedia 2023"
_SVFAP = "Sun et al., SVFAP, IEEE TAC 2024"
_AVCAFFE = "Sarkar et al., AVCAffe, AAAI 2023"
_WAVLM = "Chen et al., WavLM, IEEE JSTSP 2022, fine-tuned on this dataset"
_UNSTATED = "epoch: last or best on the test fold, not stated"
_TEST_SELECTED = "test-selected: epoch chosen on the test fold"
_SECOND_HAND = "second-hand, from a later paper's table"


_ONE_TARGET_EACH = (
    "The published numbers of AVCAFFE are of models that were trained on one target each; a model with a head for both "
    "is another measurement: train `avcaffe_arousal` and `avcaffe_valence`."
)
_NUM_CLASSES = {
    "crema_d": 6, "crema_d_4": 4, "mafw": 11, "dfew": 7, "ravdess": 8, "msp_improv": 4, "iemocap": 4, "mer2023": 6,
    "werewolf_xl": 0, "avcaffe_arousal": 5, "avcaffe_valence": 5,
}  # fmt: skip
"""How many classes the published numbers are of, by dataset; 0 is a regression."""
_LABELS = {
    "crema_d": ("intended", ""), "crema_d_4": ("intended", ""), "mafw": ("single", ""),
    "avcaffe_arousal": ("arousal", ""), "avcaffe_valence": ("valence",),
}  # fmt: skip
"""`DatasetParams.labels` that read the labels of the published numbers, by dataset."""


class PublishedResult(NamedTuple):
    """One system's numbers on one dataset."""

    system: str
    year: int
    modality: str
    """``both``, ``video`` or ``audio``; empty where it is not known."""
    system_class: str
    """One of `CLASSES`."""
    parameters_millions: float | None
    percent: Mapping[str, float]
    """Metrics by the names of `hicmae_core.evaluation.metrics`, in percent as printed; absent where not printed."""
    source: str
    note: str = ""
    folds: Mapping[str, tuple[float, ...]] = {}
    """Metrics per fold, in percent, where the authors give them."""


def published_results(dataset_name: str) -> tuple[PublishedResult, ...]:
    """Published numbers for a dataset, ours to reproduce first; empty where there are none."""
    return _PUBLISHED.get(dataset_name, ())


def beside(name: str, dataset: DatasetParams, shown: str) -> tuple[tuple[PublishedResult, ...], str]:
    """The published numbers that may stand beside a dataset's results, or why there are none, if there is a reason.

    Beside drawn faces none may; what was heard with them is compared with what others heard of the same corpus.

    Args:
        name: The dataset's name.
        dataset: How it is read.
        shown: The modality that the models were shown.
    """
    if dataset.faces != "drawn":
        why = why_not_comparable(name, dataset)
        return (() if why else published_results(name)), why
    if shown != "audio":
        return (
            (),
            "The faces are drawn, not filmed: published numbers are another measurement, those of the voice apart.",
        )
    why = why_not_comparable(dataset.corpus, dataset)
    heard = tuple(result for result in published_results(dataset.corpus) if result.modality == "audio")
    return (() if why else heard), why


def why_not_comparable(name: str, dataset: DatasetParams) -> str:
    """Why no published number stands beside a dataset's results, in a sentence; empty where it may.

    Args:
        name: The dataset's name, of which `published_results` are.
        dataset: How it is read; of the corpus ``csv`` nobody knows what its labels are.
    """
    if (dataset.corpus, dataset.task) == ("avcaffe", "multi_classification"):
        return _ONE_TARGET_EACH
    if name not in _NUM_CLASSES:
        return ""
    wanted, there = _NUM_CLASSES[name], 0 if dataset.task == "regression" else len(dataset.classes)
    if wanted != there:
        kinds = [f"{number} classes" if number else "values" for number in (wanted, there)]
        return f"The published numbers of `{name}` are of {kinds[0]}, ours of {kinds[1]}: another measurement."
    labels = _LABELS.get(name, (dataset.labels,))
    if dataset.corpus == "csv" or dataset.labels in labels:
        return ""
    ours = f"`{dataset.labels}`" if dataset.labels else "the corpus's first ones"
    return f"The published numbers of `{name}` are on the labels `{labels[0]}`, ours on {ours}: another measurement."


def class_of(modality: str) -> str:
    """The class of a system of this kind, by the modality that it is given: ``both``, ``video`` or ``audio``."""
    return {"both": _AUDIO_VISUAL, "video": _VIDEO, "audio": _AUDIO}[modality]


def _recalls(uar: float | None, war: float | None) -> dict[str, float]:
    return {name: value for name, value in (("uar", uar), ("war", war)) if value is not None}


def _affect(pcc: tuple[float, float, float], ccc: tuple[float, float, float]) -> dict[str, float]:
    """Coefficients of Werewolf-XL, in the order in which papers print them."""
    targets = ("arousal", "valence", "dominance")
    values = {f"pcc_{target}": value for target, value in zip(targets, pcc, strict=True)}
    return values | {f"ccc_{target}": value for target, value in zip(targets, ccc, strict=True)}


def _hicmae(
    percent: Mapping[str, float],
    modality: str = "both",
    note: str = "",
    folds: Mapping[str, tuple[float, ...]] | None = None,
    size: str = "B",
) -> PublishedResult:
    millions = {"T": 20, "S": 46, "B": 81}[size] if modality == "both" else None
    note = f"{note}; {_UNSTATED}" if note else _UNSTATED
    return PublishedResult(
        f"HiCMAE-{size}", 2024, modality, class_of(modality), millions, percent, _HICMAE, note, folds or {}
    )


def _avf_mae(
    size: str, uar: float, war: float, note: str = "", war_by_fold: tuple[float, ...] | None = None
) -> PublishedResult:
    millions = {"B": 169, "L": 303, "H": 521}[size]
    folds = {} if war_by_fold is None else {"war": war_by_fold}
    return PublishedResult(
        f"AVF-MAE++ {size}", 2025, "both", _AUDIO_VISUAL, millions, _recalls(uar, war), _AVF_MAE, note, folds
    )


def _mae_dfer(uar: float, war: float) -> PublishedResult:
    return PublishedResult("MAE-DFER", 2023, "video", _VIDEO, 85, _recalls(uar, war), _MAE_DFER)


def _svfap(percent: Mapping[str, float]) -> PublishedResult:
    return PublishedResult("SVFAP-B", 2024, "video", _VIDEO, None, percent, _SVFAP)


def _wavlm(uar: float, war: float) -> PublishedResult:
    return PublishedResult("WavLM-Plus", 2022, "audio", _AUDIO, 95, _recalls(uar, war), _WAVLM)


def _baseline(year: int, percent: Mapping[str, float], source: str) -> PublishedResult:
    return PublishedResult("baseline", year, "", _BASELINE, None, percent, source, "second-hand, through SVFAP's paper")


def _in_the_wild(
    mma: tuple[float, float],
    s4d: float,
    mira: tuple[float, float],
    claip: float,
    humanomni: tuple[float, float],
) -> tuple[PublishedResult, ...]:
    """The systems that print numbers on both MAFW and DFEW: UAR and WAR, or WAR alone."""
    return (
        PublishedResult(
            "MMA-DFER", 2024, "both", _ADAPTERS, None, _recalls(*mma), "MMA-DFER, CVPRW 2024, arXiv:2404.09010",
            "adapters on MAE-Face and AudioMAE; epoch: last",
        ),
        PublishedResult(
            "CLAIP-Emo L/14", 2026, "both", _CLIP, None, _recalls(None, claip),
            "CLAIP-Emo, IEEE SPL 2026, arXiv:2509.14527", f"LoRA, 8 M parameters trained; {_TEST_SELECTED}",
        ),
        PublishedResult(
            "HumanOmni-7B", 2025, "both", _LANGUAGE, 7000, _recalls(*humanomni), "HumanOmni, 2025",
            "trained on both MAFW and DFEW",
        ),
        PublishedResult(
            "S4D", 2025, "video", _VIDEO, None, _recalls(None, s4d), "S4D (UniLearn), IEEE TAC 2025, arXiv:2409.06154",
            "with static images, too",
        ),
        PublishedResult("MiRA-H", 2026, "video", _VIDEO, None, _recalls(*mira), "MiRA, 2026", _SECOND_HAND),
    )  # fmt: skip


_AVF_MAE_H = "epoch: test-selected on MAFW and MSP-IMPROV by its logs, not stated here"

_PUBLISHED: dict[str, tuple[PublishedResult, ...]] = {
    "crema_d": (
        _hicmae(
            _recalls(84.91, 84.89),
            folds={"uar": (86.66, 83.27, 87.23, 83.70, 83.88), "war": (86.67, 83.20, 87.19, 83.79, 83.79)},
        ),
        _hicmae(_recalls(71.11, 71.01), "audio"),
        _hicmae(_recalls(77.25, 77.21), "video"),
        _avf_mae("B", 85.10, 85.09),
        _avf_mae("L", 85.69, 85.60),
        _avf_mae("H", 86.02, 85.95, _AVF_MAE_H),
        _mae_dfer(77.33, 77.38),
        _svfap(_recalls(77.31, 77.37)),
        _wavlm(73.34, 73.39),
    ),
    "crema_d_4": (_hicmae(_recalls(94.00, 94.13)),),
    "mafw": (
        _hicmae(
            _recalls(42.65, 56.17),
            folds={"uar": (36.02, 41.57, 46.46, 47.50, 41.88), "war": (47.60, 55.10, 60.10, 63.09, 55.22)},
        ),
        _hicmae(_recalls(42.10, 54.84), "video"),
        _hicmae({"war": 54.79}, note="ablation: none of the three hierarchical modules"),
        _hicmae({"war": 55.62}, note="ablation: contrastive weight 0"),
        _hicmae({"war": 47.87}, note="ablation: contrastive weight 0.1"),
        _avf_mae("B", 43.10, 57.50),
        _avf_mae("L", 45.36, 59.13),
        _avf_mae(
            "H", 46.05, 60.24, f"{_TEST_SELECTED}; folds: its logs", war_by_fold=(50.98, 55.92, 65.24, 66.65, 62.42)
        ),
        *_in_the_wild(mma=(44.11, 58.52), s4d=58.44, mira=(48.22, 61.45), claip=61.18, humanomni=(52.94, 68.40)),
        _mae_dfer(41.62, 54.31),
        _svfap(_recalls(41.19, 54.28)),
        _wavlm(26.33, 34.07),
    ),
    "dfew": (
        _hicmae(_recalls(63.76, 75.01)),
        _hicmae(_recalls(61.92, 73.10), "video"),
        _hicmae(_recalls(61.37, 72.20), "video", _SECOND_HAND, size="S"),
        _hicmae(_recalls(59.14, 71.24), "video", _SECOND_HAND, size="T"),
        _avf_mae("B", 63.74, 75.42),
        _avf_mae("L", 65.14, 76.24),
        _avf_mae("H", 66.88, 77.45, _AVF_MAE_H),
        *_in_the_wild(mma=(67.01, 77.51), s4d=76.68, mira=(68.25, 78.24), claip=80.14, humanomni=(74.86, 82.46)),
        _mae_dfer(63.41, 74.43),
        _svfap(_recalls(62.83, 74.27)),
        _wavlm(37.78, 44.64),
    ),
    "ravdess": (
        _hicmae(_recalls(87.96, 87.99)),
        _hicmae({"war": 72.29}, "audio"),
        _avf_mae("H", 87.44, 87.57, _AVF_MAE_H),
        _mae_dfer(75.91, 75.56),
        _svfap(_recalls(75.15, 75.01)),
        _wavlm(75.28, 75.36),
    ),
    "msp_improv": (
        _hicmae(_recalls(65.78, 74.95)),
        _avf_mae(
            "H", 70.05, 76.07, f"{_TEST_SELECTED}; folds: its logs",
            war_by_fold=(76.84, 73.43, 74.85, 75.36, 82.98, 72.93),
        ),
    ),
    "iemocap": (
        _hicmae(_recalls(68.21, 68.36)),
        _hicmae({"uar": 67.46}, note=f"{_SECOND_HAND}; taken to be of both modalities", size="S"),
        _hicmae({"war": 65.23}, "audio"),
        _avf_mae("H", 72.71, 73.83, _AVF_MAE_H),
    ),
    "mer2023": (_hicmae({"weighted_f1": 71.33}),),
    "werewolf_xl": (
        _hicmae(_affect(pcc=(33.74, 69.23, 40.66), ccc=(31.85, 64.81, 37.54))),
        _svfap(_affect(pcc=(23.51, 67.11, 34.61), ccc=(18.96, 64.27, 29.69))),
        _baseline(
            2021, _affect(pcc=(16.41, 63.14, 35.40), ccc=(27.70, 62.34, 38.40)),
            "Zhang et al., Werewolf-XL, IEEE TAC 2021",
        ),
    ),
    "avcaffe_arousal": (
        _hicmae({"weighted_f1": 43.18}),
        _svfap({"weighted_f1": 40.36}),
        _baseline(2023, {"weighted_f1": 40.50}, _AVCAFFE),
    ),
    "avcaffe_valence": (
        _hicmae({"weighted_f1": 44.20}),
        _svfap({"weighted_f1": 41.49}),
        _baseline(2023, {"weighted_f1": 39.50}, _AVCAFFE),
    ),
}  # fmt: skip

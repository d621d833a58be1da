"""Published numbers to put beside ours, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_HICMAE = "Sun et al., Information Fusion 2024, arXiv:2401.05698v2"
_AVF_MAE = "Wu et al., AVF-MAE++, CVPR 2025"
_MAE_DFER = "Sun et al., MAE-DFER, ACM Multimedia 2023"
_WAVLM = "Chen et al., WavLM, IEEE JSTSP 2022, fine-tuned on this dataset"
_TEST_SELECTED = "test-selected: epoch chosen on the test fold"


class PublishedResult(NamedTuple):
    """One system's numbers on one dataset."""

    system: str
    year: int
    modality: str
    """``both``, ``video`` or ``audio``."""
    parameters_millions: float | None
    percent: Mapping[str, float]
    """Metrics by the names of `hicmae_core.evaluation.metrics`, in percent as printed."""
    source: str
    note: str = ""
    folds: Mapping[str, tuple[float, ...]] = {}
    """Metrics per fold, in percent, where the authors give them."""


def published_results(dataset_name: str) -> tuple[PublishedResult, ...]:
    """Published numbers for a dataset, ours to reproduce first; empty where there are none."""
    return _PUBLISHED.get(dataset_name, ())


def _recalls(uar: float, war: float) -> dict[str, float]:
    return {"uar": uar, "war": war}


def _hicmae(
    percent: Mapping[str, float],
    modality: str = "both",
    note: str = "",
    folds: Mapping[str, tuple[float, ...]] | None = None,
) -> PublishedResult:
    millions = 81 if modality == "both" else None
    return PublishedResult("HiCMAE-B", 2024, modality, millions, percent, _HICMAE, note, folds or {})


def _avf_mae(size: str, uar: float, war: float, note: str = "") -> PublishedResult:
    millions = {"B": 169, "L": 303, "H": 521}[size]
    return PublishedResult(f"AVF-MAE++ {size}", 2025, "both", millions, _recalls(uar, war), _AVF_MAE, note)


def _mae_dfer(uar: float, war: float) -> PublishedResult:
    return PublishedResult("MAE-DFER", 2023, "video", 85, _recalls(uar, war), _MAE_DFER)


def _wavlm(uar: float, war: float) -> PublishedResult:
    return PublishedResult("WavLM-Plus", 2022, "audio", 95, _recalls(uar, war), _WAVLM)


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
        _avf_mae("H", 86.02, 85.95),
        _mae_dfer(77.33, 77.38),
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
        _avf_mae("H", 46.05, 60.24, _TEST_SELECTED),
        _mae_dfer(41.62, 54.31),
        _wavlm(26.33, 34.07),
    ),
    "dfew": (
        _hicmae(_recalls(63.76, 75.01)),
        _hicmae(_recalls(61.92, 73.10), "video"),
        _avf_mae("B", 63.74, 75.42),
        _avf_mae("L", 65.14, 76.24),
        _avf_mae("H", 66.88, 77.45),
        _mae_dfer(63.41, 74.43),
        _wavlm(37.78, 44.64),
    ),
    "ravdess": (
        _hicmae(_recalls(87.96, 87.99)),
        _hicmae({"war": 72.29}, "audio"),
        _avf_mae("H", 87.44, 87.57),
        _mae_dfer(75.91, 75.56),
        _wavlm(75.28, 75.36),
    ),
    "msp_improv": (
        _hicmae(_recalls(65.78, 74.95)),
        _avf_mae("H", 70.05, 76.07, _TEST_SELECTED),
    ),
    "iemocap": (
        _hicmae(_recalls(68.21, 68.36)),
        _hicmae({"war": 65.23}, "audio"),
        _avf_mae("H", 72.71, 73.83),
    ),
    "mer2023": (_hicmae({"weighted_f1": 71.33}),),
    "werewolf_xl": (
        _hicmae(
            {
                "pcc_arousal": 33.74,
                "pcc_valence": 69.23,
                "pcc_dominance": 40.66,
                "ccc_arousal": 31.85,
                "ccc_valence": 64.81,
                "ccc_dominance": 37.54,
            },
        ),
    ),
    "avcaffe": (_hicmae({"weighted_f1_arousal": 43.18, "weighted_f1_valence": 44.20}),),
    "avcaffe_arousal": (_hicmae({"weighted_f1": 43.18}),),
    "avcaffe_valence": (_hicmae({"weighted_f1": 44.20}),),
}

"""The datasets that need no entry in params.yaml, and how many clips a full download of each has."""

from __future__ import annotations

from typing import NamedTuple

from hicmae_core.config import DatasetParams
from hicmae_core.corpora import (
    avcaffe,
    crema_d,
    dfew,
    iemocap,
    javanese,
    mafw,
    mer2023,
    msp_improv,
    ravdess,
    werewolf_xl,
)
from hicmae_core.corpora.counts import Count, Expected, in_all, per_class, per_fold, per_fold_and_class


class ReadyMade(NamedTuple):
    """A dataset as it would be in params.yaml, and its published counts."""

    params: DatasetParams
    published: tuple[Expected, ...] = ()


_CREMA_D_CLASSES = tuple(crema_d.CODES.values())
_CREMA_D_FOUR = ("anger", "happiness", "neutral", "sadness")
_CREMA_D_COUNTS = per_fold_and_class(
    {
        "anger": (250, 251, 252, 252, 266),
        "disgust": (250, 251, 252, 251, 266),
        "fear": (250, 251, 252, 252, 266),
        "happiness": (250, 251, 252, 252, 266),
        "neutral": (213, 215, 216, 216, 226),
        "sadness": (250, 251, (251, 252), 251, 265),
    }
)
"""The published lists leave out 1040_ITH_SAD_XX, of fold 3."""

_RAVDESS_COUNTS = per_fold_and_class({name: (16 if name == "neutral" else 32,) * 6 for name in ravdess.EMOTIONS})
_MAFW_COUNTS: dict[str, Count] = {
    "anger": (1388, 1390), "disgust": 639, "fear": 625, "happiness": (1236, 1242), "neutral": (1136, 1138),
    "sadness": (1466, 1470), "surprise": (1070, 1072), "contempt": 236, "anxiety": 916, "helplessness": 262,
    "disappointment": 182,
}  # fmt: skip
"""Without and with the 16 clips that have no audio, which some lists leave out."""
_DFEW_FOLD_1 = dict(zip(dfew.CLASSES, (489, 379, 534, 435, 294, 29, 181), strict=True))


def _of_classes(counts: tuple[Expected, ...], names: tuple[str, ...]) -> tuple[Expected, ...]:
    return tuple(entry for entry in counts if entry.label in names)


READY_MADE: dict[str, ReadyMade] = {
    "crema_d": ReadyMade(
        DatasetParams(corpus="crema_d", classes=_CREMA_D_CLASSES, num_folds=5, labels="intended"), _CREMA_D_COUNTS
    ),
    "crema_d_4": ReadyMade(
        DatasetParams(corpus="crema_d", classes=_CREMA_D_FOUR, num_folds=5, labels="intended"),
        _of_classes(_CREMA_D_COUNTS, _CREMA_D_FOUR),
    ),
    "crema_d_perceived": ReadyMade(
        DatasetParams(corpus="crema_d", classes=_CREMA_D_CLASSES, num_folds=5, labels="perceived")
    ),
    "javanese": ReadyMade(
        DatasetParams(corpus="javanese", classes=javanese.EMOTIONS, num_folds=10),
        per_fold_and_class(dict.fromkeys(javanese.EMOTIONS, (4,) * 10)),
    ),
    "ravdess": ReadyMade(DatasetParams(corpus="ravdess", classes=ravdess.EMOTIONS, num_folds=6), _RAVDESS_COUNTS),
    "ravdess_drawn": ReadyMade(
        DatasetParams(corpus="ravdess", classes=ravdess.EMOTIONS, num_folds=6, faces="drawn"), _RAVDESS_COUNTS
    ),
    "msp_improv": ReadyMade(
        DatasetParams(corpus="msp_improv", classes=msp_improv.CLASSES, num_folds=6),
        per_fold(916, 1328, 1622, 1044, 1407, 1470, slack=11)
        + per_class({"anger": 792, "happy": 2640, "neutral": 3470, "sad": 885}, slack=11),
    ),
    "iemocap": ReadyMade(
        DatasetParams(corpus="iemocap", classes=iemocap.CLASSES, num_folds=5),
        per_class({"anger": 1103, "happy": 1636, "neutral": 1708, "sad": 1084})
        + per_fold(1085, 1023, 1151, 1031, 1241, confirmed=False),
    ),
    "mafw": ReadyMade(
        DatasetParams(corpus="mafw", classes=mafw.SINGLE, num_folds=5, labels="single"),
        per_fold((1836, 1839), (1833, 1837), (1827, 1833), (1829, 1832), 1831) + per_class(_MAFW_COUNTS),
    ),
    "mafw_43": ReadyMade(
        DatasetParams(corpus="mafw", classes=mafw.SINGLE + mafw.COMPOUND, num_folds=5, labels="compound"),
        per_fold(1818, 1809, 1798, 1788, 1783),
    ),
    "dfew": ReadyMade(
        DatasetParams(corpus="dfew", classes=dfew.CLASSES, num_folds=5),
        per_fold(2341, 2341, 2340, 2339, 2336)
        + per_class(dict(zip(dfew.CLASSES, (2445, 1894, 2669, 2173, 1469, 145, 902), strict=True)))
        + per_fold_and_class({name: (count,) for name, count in _DFEW_FOLD_1.items()}),
    ),
    "mer2023": ReadyMade(
        DatasetParams(corpus="mer2023", classes=mer2023.CLASSES, num_folds=1),
        per_fold(411, confirmed=False) + in_all(3784, confirmed=False),
    ),
    "werewolf_xl": ReadyMade(
        DatasetParams(corpus="werewolf_xl", task="regression", targets=werewolf_xl.TARGETS, num_folds=5),
        per_fold(3346, 2747, 3066, 3527, 1771, slack=175),
    ),
    **{
        f"avcaffe_{target}": ReadyMade(
            DatasetParams(corpus="avcaffe", classes=avcaffe.LEVELS, num_folds=1, labels=target), in_all(58_112)
        )
        for target in avcaffe.WORDS
    },
    "avcaffe": ReadyMade(
        DatasetParams(
            corpus="avcaffe",
            task="multi_classification",
            classes=avcaffe.LEVELS,
            targets=tuple(avcaffe.WORDS),
            num_folds=1,
        ),
        in_all(58_112),
    ),
    "voxceleb2": ReadyMade(DatasetParams(corpus="voxceleb2", task="unlabelled"), in_all(1_092_009, confirmed=False)),
}

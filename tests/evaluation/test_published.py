import numpy as np

from hicmae_core.evaluation.published import published_results

DATASETS = ("crema_d", "mafw", "dfew", "ravdess", "msp_improv", "iemocap", "mer2023", "werewolf_xl", "avcaffe")


def test_every_dataset_of_the_paper_starts_with_hicmae():
    for name in DATASETS:
        first = published_results(name)[0]
        assert (first.system, first.modality, first.year) == ("HiCMAE-B", "both", 2024), name


def test_numbers_are_percent_and_have_a_source():
    for name in DATASETS:
        for result in published_results(name):
            assert result.source
            assert result.percent
            assert all(20 < value < 100 for value in result.percent.values()), (name, result)


def test_folds_average_to_the_total():
    for name in ("crema_d", "mafw"):
        result = published_results(name)[0]
        for metric, values in result.folds.items():
            assert abs(np.mean(values) - result.percent[metric]) < 0.06


def test_others_have_none():
    assert published_results("demo") == ()

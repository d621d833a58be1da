import json

import pandas as pd
import pytest
from PIL import Image

from hicmae_core.config import DatasetParams, SummariseParams
from hicmae_core.corpora.registry import READY_MADE
from hicmae_core.evaluation.fold_results import read_alone, write_fold_results
from hicmae_core.evaluation.summary import Summary, summarise
from hicmae_core.reports.markdown import overview_markdown, results_markdown, short_markdown
from hicmae_core.reports.results import results_record, write_reports
from tests.drawings import POINTS, areas

FEW = SummariseParams(bootstrap_samples=100)


def summary_of(name: str, dataset: DatasetParams, predictions_of, num_folds: int = 3) -> Summary:
    folds = {fold: predictions_of(dataset, fold) for fold in range(1, num_folds + 1)}
    return summarise(name, dataset, folds, SummariseParams(bootstrap_samples=100), seed=0)


def test_files_of_a_classification(emotions, predictions_of, tmp_path):
    summary = summary_of("demo", emotions, predictions_of)
    write_reports(summary, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    figures = {"confusion.png", "folds.png", "boxes.png"}
    tables = {"results.md", "results.csv", "results.json", "metrics.json", "confusion.csv"}
    assert names == tables | figures
    assert len(pd.read_csv(tmp_path / "confusion.csv")) == 120
    record = json.loads((tmp_path / "results.json").read_text())
    assert record == json.loads(json.dumps(results_record(summary)))
    assert record["pooled"]["uar"] == summary.pooled["uar"]
    assert sum(map(sum, record["confusion"])) == 120
    table = pd.read_csv(tmp_path / "results.csv", index_col="row")
    assert list(table.index) == ["fold 1", "fold 2", "fold 3", "mean", "std", "pooled", "low", "high"]
    assert table.loc["fold 2", "war"] == pytest.approx(summary.folds[2]["war"], abs=1e-12)
    assert set(json.loads((tmp_path / "metrics.json").read_text())["pooled"]) == set(summary.headline)
    for name in figures:
        image = Image.open(tmp_path / name)
        assert min(image.size) > 300
        assert (tmp_path / name).stat().st_size < 100_000


def test_markdown_says_the_numbers(emotions, predictions_of, tmp_path):
    summary = summary_of("demo", emotions, predictions_of)
    write_reports(summary, tmp_path)
    text = (tmp_path / "results.md").read_text()
    uar, interval = summary.pooled["uar"], summary.intervals["uar"]
    assert f"| pooled | 120 | {100 * uar:.2f} |" in text
    assert f"{100 * interval.low:.2f} – {100 * interval.high:.2f}" in text
    assert "There are no published numbers for `demo`." in text


def test_published_numbers_stand_beside_ours(predictions_of, tmp_path):
    classes = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    dataset = DatasetParams(corpus="csv", classes=classes, num_folds=5)
    summary = summary_of("crema_d", dataset, predictions_of)
    write_reports(summary, tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "in 3 of 5 folds" in text
    assert "| HiCMAE-B | 2024 | both | 81 | 84.91 | 84.89 | Sun et al." in text
    assert "| HiCMAE-B, fold 3 |  |  |  | 87.23 | 87.19 |" in text
    assert f"| ours, pooled |  | both |  | {100 * summary.pooled['uar']:.2f} (" in text


def section(text, heading):
    """The table below a heading."""
    return text.split(f"### {heading}\n\n")[1].split("\n\n")[0].splitlines()[2:]


@pytest.mark.parametrize(
    ("modality", "shown", "heading"),
    [
        ("both", "both", "Self-supervised, audio-visual"),
        ("video", "video", "Video only"),
        ("audio", "audio", "Audio only"),
        ("both", "audio", "Audio only"),
    ],
)
def test_systems_stand_in_their_classes_and_ours_among_its_own(predictions_of, tmp_path, modality, shown, heading):
    dataset = DatasetParams(corpus="csv", classes=tuple("abcdefg"), num_folds=5)
    folds = {1: predictions_of(dataset).assign(modality=modality, shown=shown)}
    summary = summarise("dfew", dataset, folds, SummariseParams(bootstrap_samples=100), seed=0)
    write_reports(summary, tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert ("| ours, pooled |  | both, audio shown |" in text) == (modality != shown)
    headings = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    assert headings == [
        "Self-supervised, audio-visual",
        "Adapters on pre-trained models, audio-visual",
        "CLIP and CLAP",
        "Multimodal language model",
        "Video only",
        "Audio only",
    ]
    assert [name for name in headings if section(text, name)[0].startswith("| ours, pooled |")] == [heading]
    assert text.count("| ours, pooled |") == 1
    systems = [row.split(" | ")[0][2:] for row in section(text, "Video only")]
    assert [name for name in systems if "ours" not in name] == [
        "MiRA-H", "S4D", "MAE-DFER", "SVFAP-B", "HiCMAE-B", "HiCMAE-S", "HiCMAE-T",
    ]  # fmt: skip
    assert "| S4D | 2025 | video | – | – | 76.68 |" in text
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["system_class"].lower() == heading.lower()
    classes = {result["system"]: result["system_class"] for result in record["published"]}
    assert classes["CLAIP-Emo L/14"] == "CLIP and CLAP"
    published = overview_markdown([record]).splitlines()[-1].split(" | ")[-1]
    like = {"Self-supervised, audio-visual": "63.76 / 75.01 (HiCMAE-B)", "Video only": "61.92 / 73.10 (HiCMAE-B)"}
    assert published == like.get(heading, "37.78 / 44.64 (WavLM-Plus)") + " |"


def test_files_of_a_regression(affect, predictions_of, tmp_path):
    write_reports(summary_of("werewolf_xl", affect, predictions_of), tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "| target | PCC | CCC | RMSE | MAE |" in text
    assert "PCC arousal" in text
    assert areas(tmp_path / "confusion.png", POINTS, 4) > 20
    record = json.loads((tmp_path / "results.json").read_text())
    assert "confusion" not in record
    assert {f"{metric}_{name}" for metric in ("pcc", "ccc", "rmse", "mae") for name in affect.targets} <= set(
        record["folds"]["1"]
    )


def test_files_of_several_classified_targets(load, predictions_of, tmp_path):
    summary = summary_of("avcaffe", load, predictions_of, num_folds=1)
    write_reports(summary, tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "| target | weighted F1 | UAR | WAR | macro F1 |" in text
    assert "| actual valence | low | mid | high | recall, % |" in text
    assert "Means over the targets: metrics in %; guessing among 3 classes has a UAR of 33.33." in text
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["confusion_valence"] == summary.confusion[1].tolist()
    width, height = Image.open(tmp_path / "confusion.png").size
    assert height > 0.8 * width  # a row of two panels per target


def test_reports_say_which_labels_and_which_modality(emotions, predictions_of, tmp_path):
    perceived = emotions.model_copy(update={"corpus": "crema_d", "labels": "perceived"})
    folds = {1: predictions_of(emotions).assign(shown="audio")}
    write_reports(summarise("crema_d_4", perceived, folds, SummariseParams(), seed=0), tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "Labels: perceived. Models trained on video and audio, shown the audio alone (zeros in the other's" in text
    assert "The published numbers of `crema_d_4` are on the labels `intended`, ours on `perceived`: another" in text
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["published"] == []
    assert overview_markdown([record]).endswith("| none |\n")
    assert (record["labels"], record["modality"], record["shown"]) == ("perceived", "both", "audio")


def test_one_fold_and_one_subject(emotions, predictions_of, tmp_path):
    folds = {1: predictions_of(emotions).assign(subject="s")}
    write_reports(summarise("demo", emotions, folds, SummariseParams(), seed=0), tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "| mean over folds |" in text
    assert "No interval" in text
    assert set(json.loads((tmp_path / "metrics.json").read_text())) == {"mean", "pooled"}


def test_same_summary_same_bytes(emotions, predictions_of, tmp_path):
    for folder in ("first", "second"):
        write_reports(summary_of("demo", emotions, predictions_of), tmp_path / folder)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_overview(emotions, affect, predictions_of):
    summaries = [summary_of("demo", emotions, predictions_of), summary_of("werewolf_xl", affect, predictions_of)]
    records = [json.loads(json.dumps(results_record(summary))) for summary in summaries]
    rows = overview_markdown(records).splitlines()
    demo = next(row for row in rows if row.startswith("| [demo](reports/demo/results.md)"))
    assert "UAR / WAR" in demo
    assert demo.endswith("| none |")
    assert any("33.74" in row and "HiCMAE-B" in row for row in rows)


def test_the_short_form_begins_with_the_pooled_metrics_and_has_a_row_per_fold(affect, predictions_of):
    record = results_record(summary_of("werewolf_xl", affect, predictions_of))
    text = short_markdown(record)
    assert text.startswith(f"**PCC {100 * record['pooled']['pcc']:.2f} ({100 * record['low']['pcc']:.2f} – ")
    assert f"RMSE {record['pooled']['rmse']:.3f} (" in text.splitlines()[0]
    for fold, metrics in record["folds"].items():
        assert f"| fold {fold} | 40 | {100 * metrics['pcc']:.2f} |" in text


@pytest.mark.parametrize("shown", ["both", "audio"])
def test_drawn_faces_are_named_and_their_voices_alone_are_compared(predictions_of, tmp_path, shown):
    dataset = READY_MADE["ravdess"].params.model_copy(update={"faces": "drawn"})
    folds = {fold: predictions_of(dataset, fold).assign(shown=shown) for fold in (1, 2)}
    summary = summarise("ravdess_drawn", dataset, folds, SummariseParams(bootstrap_samples=100), seed=0)
    write_reports(summary, tmp_path)
    text, record = (tmp_path / "results.md").read_text(), results_record(summary)
    everywhere = (text, text.splitlines()[0], short_markdown(record), overview_markdown([record]).splitlines()[-1])
    if shown == "both":
        assert all("(drawn faces)" in where for where in everywhere)
        assert "The faces are drawn, not filmed" in text
        assert summary.published == ()
        assert "\n| (drawn faces) | clips | UAR |" in text
    else:
        assert not any("drawn faces" in where for where in everywhere[1:2] + everywhere[3:])
        assert "Models trained on video and audio (drawn faces), shown the audio alone" in text
        assert "\n|  | clips | UAR |" in text
        assert "| ours, pooled |  | both (drawn faces), audio shown |" in text
        assert "| HiCMAE-B | 2024 | audio |" in text
        assert {result.modality for result in summary.published} == {"audio"}


def test_one_modality_shown_to_the_same_models_has_lines_of_its_own(emotions, predictions_of, tmp_path):
    whole = {fold: predictions_of(emotions, fold) for fold in (1, 2)}
    right = {fold: table.assign(prediction=table["label"], shown="audio") for fold, table in whole.items()}
    for fold, table in whole.items():
        write_fold_results(
            table, emotions, tmp_path / str(fold), {"audio": right[fold], "video": table.assign(shown="video")}
        )
    alone = {fold: read_alone(tmp_path / str(fold)) for fold in whole}
    assert [list(shown) for shown in alone.values()] == [["audio", "video"]] * 2
    summary = summarise("demo", emotions, whole, SummariseParams(bootstrap_samples=100), 0, alone)
    assert summary.alone["audio"].metrics["uar"] == 1
    record = results_record(summary)
    assert record["alone"]["audio"]["low"]["uar"] == 1
    assert "| the audio alone | 100.00 (100.00 – 100.00) |" in results_markdown(record)
    drawn = results_markdown(record | {"face_source": "drawn"})
    assert [f"| {what} (drawn faces) |" in drawn for what in ("video and audio", "the video alone")] == [True, True]
    assert "| the audio alone | 100.00" in drawn
    assert read_alone(tmp_path) == {}
    write_fold_results(whole[1], emotions, tmp_path / "one")
    assert read_alone(tmp_path / "one") == {}
    assert "alone" not in results_markdown(results_record(summary_of("demo", emotions, predictions_of)))


def test_groups_of_speakers_are_told_apart(emotions, predictions_of):
    plain = predictions_of(emotions)
    assert "By group" not in results_markdown(results_record(summarise("demo", emotions, {1: plain}, FEW, seed=0)))
    folds = {
        fold: (table := predictions_of(emotions, fold)).assign(
            group=table["subject"].str[-1].map({"0": "female", "1": "female", "2": "male", "3": "male"})
        )
        for fold in (1, 2)
    }
    summary = summarise("demo", emotions, folds, FEW, seed=0)
    assert list(summary.by_group) == ["female", "male"]
    rows = pd.concat(folds.values())
    women = rows[rows["group"] == "female"]
    recalls = (women["prediction"] == women["label"]).groupby(women["label"]).mean()
    assert summary.by_group["female"].metrics["uar"] == pytest.approx(recalls.mean())
    low, high = summary.by_group["female"].intervals["uar"]
    text = results_markdown(results_record(summary))
    assert f"| female | {100 * recalls.mean():.2f} ({100 * low:.2f} – {100 * high:.2f}) |" in text

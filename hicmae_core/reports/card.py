"""The card of a model: what it is, what it was trained on, how well it does, for whom, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from hicmae_core.config import DatasetParams
from hicmae_core.data.sampling import FrameStride
from hicmae_core.evaluation.fold_results import by_unit
from hicmae_core.inference.exporting import TOLERANCE, input_shapes
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.reports.markdown import escaped, tested

_PURPOSE = """It tells how an expression looks and sounds in a few seconds of video: the emotion *expressed*, in the
categories of its training data. It does not tell what a person feels, thinks or is. It is for research on affect
and for tools whose users know and want this. It is not for deciding about people: hiring, teaching, policing, border
control, credit, insurance, health. Laws restrict the inference of emotions in some places, as in the European Union at
work and in education: find out which apply before you use it."""

_FACES = {"found": "faces found and cropped", "cropped": "faces cropped already", "drawn": "drawn faces"}
"""By `DatasetParams.faces`."""


def model_card(
    model: Classifier | PretrainingModel,
    metadata: Mapping[str, Any],
    results: Mapping[str, Any] | None,
    calibration: Mapping[str, Any] | None,
    predictions: pd.DataFrame | None,
    files: Mapping[str, str],
) -> str:
    """Markdown, after the YAML that the Hugging Face Hub reads.

    Args:
        model: The model.
        metadata: What its file says of it.
        results: ``reports/<dataset>/results.json`` of the cross-validation that it is a fold of, if there is one.
        calibration: ``reports/<dataset>/calibration.json`` of the same.
        predictions: The test predictions of the clips of all folds, if there are any.
        files: Beside the card: name, and what was found when it was checked.
    """
    name = f"HiCMAE, {metadata.get('size', 'size unknown')}"
    name += f", fine-tuned on {metadata['dataset']}" if "dataset" in metadata else ""
    name += _face_note(metadata)
    sections = {
        "Intended use": _PURPOSE,
        "Model": _model(model, metadata),
        "Training": _training(metadata),
        "Results": _results(results, _face_note(metadata)),
        "Calibration": _calibration(metadata, calibration),
        "Speakers": _speakers(predictions, metadata),
        "Limits": _limits(metadata, results),
        "Files": "\n".join(f"- `{file}`: {found}" for file, found in files.items())
        + f"\n\nOutputs were compared on random inputs; an export that differs by more than {TOLERANCE:g} is refused.",
    }
    return (
        _hub_data(name, model, metadata, results)
        + f"# {name}\n\n"
        + "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
        + "\n"
    )


def _hub_data(
    name: str, model: Classifier | PretrainingModel, metadata: Mapping[str, Any], results: Mapping[str, Any] | None
) -> str:
    """What the Hugging Face Hub lists a model by, in front of the card."""
    task = "video-classification" if isinstance(model, Classifier) else "feature-extraction"
    dataset = str(metadata.get("dataset", ""))
    pooled = results["pooled"] if results and dataset else {}
    measured = [
        EvalResult(
            task_type=task,
            dataset_type=dataset,
            dataset_name=f"{dataset}{_face_note(metadata)}, test clips of all folds",
            metric_type=metric,
            metric_value=round(pooled[metric], 4),
        )
        for metric in (results["headline"] if results and pooled else ())
    ]
    data = ModelCardData(
        library_name="hicmae",
        pipeline_tag=task,
        tags=["hicmae", "emotion-recognition", "audio-visual"],
        datasets=[dataset] if dataset else None,
        model_name=name,
        eval_results=measured or None,
    )
    return f"---\n{data}\n---\n\n"


def _face_note(metadata: Mapping[str, Any]) -> str:
    drawn = metadata.get("face_source") == "drawn" and metadata.get("modality") != "audio"
    return " (drawn faces)" if drawn else ""


def _model(model: Classifier | PretrainingModel, metadata: Mapping[str, Any]) -> str:
    millions = sum(value.numel() for value in model.parameters()) / 1e6
    lines = [
        "Hierarchical contrastive masked autoencoder (Sun et al., Information Fusion 2024, arXiv 2401.05698), "
        f"{millions:.1f} million parameters.",
    ]
    if isinstance(model, Classifier):
        shapes = "; ".join(f"{name} `[clips, {', '.join(map(str, s))}]`" for name, s in input_shapes(model).items())
        lines += [
            f"- Inputs, float32: {shapes}.",
            f"- Video: {_FACES[metadata.get('face_source', 'found')]} (`faces` of the file); {_stride(metadata)}; RGB "
            "in [0, 1], less the ImageNet mean, divided by its std.",
            "- Audio: 16 kHz mono, Kaldi log-mel (128 bins, 25 ms, 10 ms), (x + 4.2677393) / 9.1379948.",
            f"- Outputs: {_outputs(metadata)}; of each window of a clip alone.",
            f"- A clip of several windows, evenly spaced: {_averaging(metadata)}",
        ]
    settings = ", ".join(f"{key} {value}" for key, value in asdict(model.architecture).items())
    return "\n".join([*lines, f"- Architecture: {settings}."])


def _outputs(metadata: Mapping[str, Any]) -> str:
    classes, targets = (", ".join(map(escaped, metadata.get(kind, ()))) for kind in ("classes", "targets"))
    if not classes:
        return f"values of {targets}"
    return f"logits of {classes}" + (f", for each of {targets}" if targets else "")


def _stride(metadata: Mapping[str, Any]) -> str:
    stride = FrameStride.of_model(metadata)
    if stride.unit == "frames":
        return f"one of {stride.frames} frames at any frame rate"
    return f"one of {stride.frames} frames at {stride.usual_fps:g} a second, at other rates those nearest in time"


def _averaging(metadata: Mapping[str, Any]) -> str:
    """What to do with outputs for a clip's windows, as `model.probabilities` does it, in words and in code."""
    lines = ["values = outputs.mean(axis=0)  # outputs: [windows, targets]"]
    words = "average the outputs"
    if metadata.get("classes"):
        shape = f"(-1, {len(metadata.get('targets', ())) or 1}, {len(metadata['classes'])})"
        words = "softmax of each, then average the probabilities, not the logits"
        lines = [
            f"logits = outputs.reshape{shape}  # [windows, targets, classes]",
            "odds = np.exp(logits - logits.max(axis=-1, keepdims=True))",
            "probabilities = (odds / odds.sum(axis=-1, keepdims=True)).mean(axis=0)  # [targets, classes]",
        ]
        if metadata.get("temperatures"):
            words += ", and apply the temperatures last"
            lines += [
                f"probabilities **= 1 / np.array({list(metadata['temperatures'])})[:, None]",
                "probabilities /= probabilities.sum(axis=-1, keepdims=True)",
            ]
    return "\n".join([f"{words}.", "", "```python", *lines, "```", ""])


def _training(metadata: Mapping[str, Any]) -> str:
    known = {
        "dataset": "Data",
        "fold": "Fold that was held out for the test",
        "task": "Task",
        "labels": "Labels",
        "modality": "Modality",
        "selection": "Epoch selected by",
        "epoch": "Epoch, from 0",
        "source": "Source",
    }
    lines = [
        f"- {title}: {escaped(str(metadata[key]))}." for key, title in known.items() if metadata.get(key, "") != ""
    ]
    recipes = {"Fine-tuning": metadata.get("recipe")}
    pretraining = metadata.get("pretraining") or {}
    recipes["Pre-training" + _named(pretraining)] = pretraining.get("recipe")
    lines += [f"- {title}: {_settings(recipe)}." for title, recipe in recipes.items() if recipe]
    if isinstance(pretraining.get("source"), str):
        lines.append(f"- Pre-trained weights: {escaped(pretraining['source'])}.")
    return "\n".join(lines) or "Unknown: the file says nothing of it."


def _named(pretraining: Mapping[str, Any]) -> str:
    return f" on {pretraining['dataset']}" if "dataset" in pretraining else ""


def _settings(recipe: Mapping[str, Any]) -> str:
    flat = {key: f"({_settings(value)})" if isinstance(value, Mapping) else str(value) for key, value in recipe.items()}
    return ", ".join(f"{key} {value}" for key, value in flat.items())


def _calibration(metadata: Mapping[str, Any], calibration: Mapping[str, Any] | None) -> str:
    names = metadata.get("targets") or ["classes"]
    temperatures = metadata.get("temperatures", ())
    lines = [
        f"- {escaped(name)}: divide the logarithm of the clip's probabilities by {value:.3f} and take the softmax "
        "(of a single window: divide its logits). Fitted on speakers held out from training."
        for name, value in zip(names, temperatures, strict=False)
    ] or ["- No temperature was fitted: no speakers were held out for it."]
    for name, numbers in (calibration or {}).items():
        errors = [
            f"{title} {100 * value['expected_calibration_error']:.1f} %"
            for title, value in numbers.items()
            if isinstance(value, Mapping) and "expected_calibration_error" in value
        ]
        if errors:
            lines.append(
                f"- {escaped(name)}, expected calibration error over the test clips of all folds: {', '.join(errors)}."
            )
    return "\n".join(lines)


def _results(results: Mapping[str, Any] | None, faces: str) -> str:
    if results is None:
        return "No evaluation is known here."
    lines = [f"| metric{faces} | all folds pooled | interval | mean over folds | std |", "|---|---:|---:|---:|---:|"]
    for name in results["headline"]:
        ends = [results[end][name] for end in ("low", "high") if results.get(end)]
        interval = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "-"
        std = results["std"][name]
        deviation = "-" if std is None else f"{std:.3f}"
        lines.append(
            f"| {name} | {results['pooled'][name]:.3f} | {interval} | {results['mean'][name]:.3f} | {deviation} |"
        )
    return "\n".join(lines) + (
        f"\n\nOf the {len(results['folds'])} folds that were evaluated, of which this model is one: "
        f"{tested(results)} of {results['num_subjects']} speakers, none of whom was trained on. "
        f"Intervals of {results['confidence']:.0%} by bootstrap over speakers."
    )


def _speakers(predictions: pd.DataFrame | None, metadata: Mapping[str, Any]) -> str:
    if predictions is None or "label" not in predictions or predictions["subject"].isna().all():
        return "The spread over speakers is not known here."
    dataset = DatasetParams(corpus="", classes=tuple(metadata["classes"]), num_folds=1)
    rows = by_unit(predictions, dataset)
    scored = "clips" if len(rows) == len(predictions) else "units"
    right = (rows["label"] == rows["prediction"]).groupby(rows["subject"]).agg(["mean", "size"])
    rates = right["mean"]
    worst, best = (escaped(str(name)) for name in (rates.idxmin(), rates.idxmax()))
    lines = [
        f"{scored.capitalize()} predicted correctly, by speaker, over {len(rates)} speakers: "
        f"worst {rates.min():.0%} ({worst}), median {rates.median():.0%}, best {rates.max():.0%} ({best}). "
        "A mean hides this spread.",
        "",
        f"| speaker | {scored} | predicted correctly |",
        "|---|---:|---:|",
        *(
            f"| {escaped(str(name))} | {int(row['size'])} | {row['mean']:.0%} |"
            for name, row in right.sort_values("mean").iterrows()
        ),
    ]
    return "\n".join(lines) + "\n\nAge, sex, skin tone and language of the speakers are not known to this project."


def _limits(metadata: Mapping[str, Any], results: Mapping[str, Any] | None) -> str:
    lines = [
        "- One face at a time. The audio is that of the whole scene: speakers are not told apart.",
        "- Expressions in the training data may be acted; for other cultures, ages, cameras and rooms it may do worse.",
    ]
    if metadata.get("classes") and not metadata.get("temperatures"):
        lines.append("- The probabilities are not calibrated frequencies.")
    if _face_note(metadata):
        lines.insert(0, "- The faces are drawn, not filmed. **The model is not made for videos of people.**")
    if str(metadata.get("dataset", "")).startswith("demo"):
        lines.insert(0, "- The demo's faces and voices are generated. **This model says nothing about people.**")
    if results is None:
        lines.append("- How well it does is not known here: evaluate it on your data before you lean on it.")
    return "\n".join(lines)

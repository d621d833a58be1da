"""The one door for configuration: ``params.yaml`` as frozen, typed, documented models.

Every field carries its meaning, unit and range; unknown keys are refused; `load_params` reports every
problem of a file at once, before any work starts. Defaults are the published recipe (paper section 4,
and the authors' release); ``params.yaml`` overrides them for the demo.
"""

from __future__ import annotations

import math
import posixpath
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

SAMPLE_RATE_HZ = 16_000
NUM_MEL_BINS = 128
VIDEO_PATCH = (2, 16, 16)
"""Tubelet, as published: frames, rows, columns."""
AUDIO_PATCH = (16, 16)
"""Spectrogram patch, as published: log-mel frames, mel bins."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _each_named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse no name, or one twice."""
    if not names:
        raise ValueError("the list of datasets is empty; name at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{', '.join(twice)} is named twice; name a dataset once, and let dataset_weights say how often it is drawn"
        )
    return names


OneOrMoreNames = Annotated[
    tuple[Name, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    AfterValidator(_each_named_once),
    PlainSerializer(lambda names: names[0] if len(names) == 1 else list(names)),
]
Modality = Literal["both", "video", "audio"]
Task = Literal["classification", "multi_classification", "regression", "unlabelled"]
FacePolicy = Literal["single", "stitch", "all"]
VideoSource = Literal["clips", "frames"]
FaceSource = Literal["found", "cropped", "drawn"]
Precision = Literal["float32", "bfloat16", "float16"]
StrideUnit = Literal["seconds", "frames"]
RegressionLoss = Literal["mse", "l1", "smooth_l1", "ccc", "pcc"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ComputeParams(_Section):
    """Where things run. Not tracked by DVC: none of it changes what is computed, rounding aside."""

    device: str = "auto"
    """``auto`` (CUDA if present), ``cpu``, ``cuda`` or ``cuda:N``."""
    num_workers: int = Field(default=0, ge=0, le=256)
    """Processes that decode clips for training; 0 decodes in the training process."""
    num_processes: int = Field(default=0, ge=0, le=1024)
    """Processes that prepare clips (corpus, faces, audio); 0 means one per CPU core."""
    trainings_per_gpu: int = Field(default=1, ge=1, le=64)
    """Trainings that may share a GPU; further ones wait for a free place, on any GPU."""
    compile: bool = False
    """Compile model and losses with ``torch.compile``."""
    deterministic: bool = False
    """Only operations that give the same bits each time, on a GPU, too, where they are slower."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them: less memory, more time."""
    log_every_steps: int = Field(default=10, ge=1, le=10_000)
    """Optimizer steps between two readings of losses and gradient norms; each one waits for the device."""
    checkpoint_every_minutes: float = Field(default=5, ge=0, le=1440)
    """Minutes between the checkpoints from which a killed training resumes; 0 writes one after every step."""
    num_checkpoints: int = Field(default=2, ge=1, le=100)
    """Newest checkpoints to keep, beside the best weights."""
    engine: Literal["local", "dask"] = "local"
    """Where clips are prepared: in processes of this machine, or on a Dask cluster."""
    cluster: str | None = None
    """Address of a running Dask scheduler, such as ``tcp://host:8786``; null starts a cluster on this machine."""

    @model_validator(mode="after")
    def _check(self) -> ComputeParams:
        if self.cluster is not None and self.engine == "local":
            raise ValueError("`cluster` is for `engine: dask`; set the engine, or remove the cluster")
        return self


class CorpusParams(_Section):
    """The demo corpus: generated talking faces."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the speakers and of what they do; apart from the seed of training, so that one corpus serves several."""
    num_speakers: int = Field(default=24, ge=4, le=99)
    """Speakers with labelled clips."""
    num_takes: int = Field(default=2, ge=1, le=99)
    """Labelled clips of each speaker in each of the 4 emotions."""
    num_unlabelled_speakers: int = Field(default=24, ge=1, le=999)
    """Further speakers, for pre-training only."""
    num_unlabelled_clips: int = Field(default=192, ge=2, le=100_000)
    """Clips of the unlabelled speakers in all."""
    min_seconds: float = Field(default=2.0, ge=1, le=10)
    """Shortest clip, seconds."""
    max_seconds: float = Field(default=4.0, ge=1, le=10)
    """Longest clip, seconds."""

    @model_validator(mode="after")
    def _check(self) -> CorpusParams:
        if self.max_seconds < self.min_seconds:
            raise ValueError(f"max_seconds {self.max_seconds} is below min_seconds {self.min_seconds}")
        return self


_MAX_NAME_LENGTH = 100
TABLE_COLUMNS = {
    "clip_id": "clip_id",
    "video_path": "video",
    "audio_path": "audio",
    "subject": "subject",
    "unit": "unit",
    "group": "group",
    "test_fold": "fold",
    "fps": "fps",
    "label_name": "label",
}
"""The names in a manifest.csv of the manifest's columns; targets have columns of their own names beside them."""
HOP_SECONDS = 1.0
"""Between the windows of a prediction's timeline."""
MODEL_KEY = "model_sha256"
"""Column of predictions and features for the SHA-256 of the model's file: the way back to its training."""
_ANSWER_COLUMNS = (
    *("video", "face", "part", "start_seconds", "end_seconds", "status", "reason", MODEL_KEY, "prediction"),
    *("calibrated", "label", "used"),
)
"""Columns of predictions, beside which there is one for each class, or target of a regression."""


def tracked_name(name: str) -> str:
    """A metric's name as MLflow takes it: all but letters and digits of any script, ``_-.:/`` and space become ``_``.

    So do slashes that would be odd in a path.
    """
    plain = re.sub(r"[^\w.\-:/ ]", "_", name)
    return plain if plain == posixpath.normpath(plain).lstrip("/.") else plain.replace("/", "_")


def _name_problems(kind: str, names: tuple[str, ...]) -> list[str]:
    """What is wrong with the names of classes or targets."""
    problems = []
    for name in names:
        if not name.strip() or name != name.strip() or not name.isprintable():
            problems.append(f"{kind} name {name!r} must have letters, and no outer space or line break")
        elif len(name) > _MAX_NAME_LENGTH:
            problems.append(f"{kind} name {name[:40]!r}... has more than {_MAX_NAME_LENGTH} letters; shorten it")
        elif name in _ANSWER_COLUMNS:
            problems.append(f"{kind} name {name!r} is that of a column of predictions; call it such as '{name}_'")
    return problems + _same(names, _spelling, f"two {kind} names differ in case or in the coding of letters only")


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _same(names: tuple[str, ...], plain: Callable[[str], str], what: str) -> list[str]:
    """A problem for each group of names that are one in plain form."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(plain(name), []).append(name)
    return [f"{what}: {' and '.join(map(repr, same))}; rename one" for same in groups.values() if len(same) > 1]


def _target_problems(targets: tuple[str, ...]) -> list[str]:
    """What is wrong with names of targets as those of columns and metrics."""
    problems = [
        f"a target may not be called {name!r}, as a column of a manifest.csv; call it such as '{name}_score'"
        for name in targets
        if name.casefold() in TABLE_COLUMNS.values()
    ]
    return problems + _same(targets, tracked_name, "two targets would share the name of their metrics in MLflow")


class DatasetParams(_Section):
    """One dataset: how its raw folder, ``data/raw/<name>``, is read, and what is predicted."""

    corpus: str
    """Corpus adapter that reads the raw folder, such as ``csv``."""
    task: Task = "classification"
    """What is predicted; ``unlabelled`` datasets serve pre-training only."""
    classes: tuple[str, ...] = ()
    """Class names in class-id order; of every target, if several are classified."""
    targets: tuple[str, ...] = ()
    """Names of the targets: continuous (regression), or each one of `classes` (multi_classification). In MLflow's
    metrics `tracked_name` stands for them."""
    num_folds: int = Field(default=0, ge=0, le=100)
    """Cross-validation folds; 0 for unlabelled datasets."""
    labels: str = ""
    """Which of the corpus's labellings is read, where it has several, such as ``perceived``; empty means its first."""
    allow_incomplete: bool = False
    """Go on although clips differ from the corpus's published counts, as with a partial download."""
    video: VideoSource | None = None
    """Take the corpus's video files, or its folders of face frames; null takes frames where there are any."""
    fps: float | None = Field(default=None, gt=0, le=500)
    """Frame rate of face frames without a video file that tells it; null takes their number by the length of audio."""
    faces: FaceSource = "found"
    """What videos show: people, whose faces are ``found``; or one face that fills the image, ``cropped`` or
    ``drawn``, for which no detector runs. Results with drawn faces say so wherever they are printed."""
    face_policy: FacePolicy = "single"
    """One main face per clip, the best face of each shot, or each face of 2 s or more as a sample of its own."""
    modality: Modality = "both"
    """What is taken of each clip: the face and the voice; or, of unlabelled datasets, the voice alone (``audio``: audio
    files, or the audio of videos) or the face alone (``video``: silent videos, too)."""

    @model_validator(mode="after")
    def _check(self) -> DatasetParams:
        if self.task in ("classification", "multi_classification") and len(self.classes) < 2:
            raise ValueError("a classification dataset needs `classes`: at least two names in class-id order")
        if self.task in ("regression", "multi_classification") and not self.targets:
            raise ValueError(f"a {self.task} dataset needs `targets`: at least one name")
        if (self.classes and self.task == "regression") or (self.targets and self.task == "classification"):
            raise ValueError(
                "`classes` belong to classification, `targets` to regression; multi_classification has both"
            )
        if self.face_policy == "all" and self.task != "unlabelled":
            raise ValueError("`face_policy: all` makes several samples of one clip, for unlabelled datasets only")
        if self.modality != "both" and self.task != "unlabelled":
            raise ValueError(
                f"`modality: {self.modality}` is for unlabelled datasets; a labelled one needs both, and "
                "`finetune.modality` chooses what is trained on"
            )
        if self.modality == "audio" and self.face_policy != "single":
            raise ValueError(f"`face_policy: {self.face_policy}` has no meaning where `modality` is audio; remove it")
        if self.task != "unlabelled" and self.num_folds < 1:
            raise ValueError("a labelled dataset needs `num_folds` >= 1")
        if len(set(self.classes)) != len(self.classes) or len(set(self.targets)) != len(self.targets):
            raise ValueError("`classes` and `targets` must not repeat a name")
        problems = _name_problems("class", self.classes) + _name_problems("target", self.targets)
        problems += _target_problems(self.targets)
        columns = [f"p{suffix}_{name}" for suffix in self.suffixes for name in self.classes]
        if len(set(columns)) != len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            problems.append(
                f"two pairs of target and class would share the column {twice!r} of predictions; rename one"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What ends the columns and metrics of each target, ``_<target>``; the one label of a classification: nothing.

        So ``label`` and ``uar`` of one label are ``label_arousal`` and ``uar_arousal`` of a target.
        """
        return tuple(f"_{name}" for name in self.targets) or ("",)

    def face_note(self, modality: Modality) -> str:
        """What stands behind results of models trained on `modality`: `` (drawn faces)`` where they saw some."""
        return " (drawn faces)" if self.faces == "drawn" and modality != "audio" else ""

    @property
    def num_outputs(self) -> int:
        """Width of the classifier's head: per target one value, or one logit per class."""
        return len(self.suffixes) * (len(self.classes) or 1)


class PreparationParams(_Section):
    """What manifest, faces and audio share."""

    max_reject_fraction: Fraction = 0.1
    """Share of clips that may be rejected before a preparation stage fails."""
    num_shards: int = Field(default=4, ge=1, le=512)
    """Files that faces and features are spread over; 1 to 4 GB each is comfortable."""
    max_clip_seconds: float = Field(default=600, gt=0, le=36_000)
    """Longer clips are rejected: cut them first."""
    clip_timeout_seconds: float = Field(default=1800, gt=0)
    """A clip that takes longer to prepare is given up and rejected."""


class FacesParams(_Section):
    """Face detection, tracking and cropping."""

    detector: Literal["centerface", "sfd", "retinaface", "scrfd", "yunet", "none"] = "centerface"
    """``centerface`` needs no download; ``none`` takes the whole image, for videos of faces that are cropped
    already; the others are ``face_alignment`` detectors and need `weights`."""
    weights: Path | None = None
    """Weights file of a ``face_alignment`` detector."""
    detect_size: int = Field(default=416, ge=128, le=2048)
    """Long side of the frame shown to the detector, pixels."""
    stride: int = Field(default=4, ge=1, le=25)
    """Detect on every n-th frame; frames between are inspected only where the face moved."""
    min_score: Fraction = 0.5
    """Detections below this confidence are ignored."""
    preset: Literal["voxceleb", "openface"] = "voxceleb"
    """Crop geometry: the detector's square box, or OpenFace's tighter aligned crop."""
    size: int = Field(default=160, ge=32, le=512)
    """Side of the stored face crop, pixels."""
    jpeg_quality: int = Field(default=92, ge=50, le=100)
    """JPEG quality of the stored crops."""
    min_coverage: Fraction = 0.5
    """Clips whose face is seen in a smaller share of frames are flagged ``low_coverage`` (and kept)."""
    min_share: Fraction = 0.5
    """Clips whose main face has a smaller share of all faces seen are flagged ``low_share`` (and kept)."""

    @model_validator(mode="after")
    def _check(self) -> FacesParams:
        if self.detector not in ("centerface", "none") and self.weights is None:
            raise ValueError(f"detector {self.detector} needs `weights`: the path of its weights file")
        return self


def patch_problems(
    image_size: int,
    num_frames: int,
    num_audio_frames: int,
    num_mel_bins: int,
    video_patch: tuple[int, int, int],
    audio_patch: tuple[int, int],
) -> list[str]:
    """Why inputs of these sizes cannot be cut into whole patches."""
    if video_patch[0] != VIDEO_PATCH[0] or min(*video_patch, *audio_patch) < 1:
        return [
            f"video_patch {list(video_patch)} and audio_patch {list(audio_patch)} must be positive sizes, and a video "
            f"patch has {VIDEO_PATCH[0]} frames"
        ]
    cuts = [
        ("num_frames", num_frames, video_patch[0]),
        ("image_size", image_size, math.lcm(*video_patch[1:])),
        ("num_audio_frames", num_audio_frames, audio_patch[0]),
        ("num_mel_bins", num_mel_bins, audio_patch[1]),
    ]
    return [
        f"{name} is {value}, not a positive multiple of {step}, a patch's"
        for name, value, step in cuts
        if value < step or value % step
    ]


class ModelParams(_Section):
    """Model size and input geometry, the same for pre-training and fine-tuning."""

    size: Literal["demo", "tiny", "small", "base"] = "base"
    """Widths and depths (hicmae_core/model/sizes.py)."""
    image_size: int = Field(default=160, ge=32, le=512)
    """Side of the face the model sees, pixels."""
    num_frames: int = Field(default=16, ge=2, le=64)
    """Frames of a clip."""
    frame_stride: int = Field(default=4, ge=1, le=16)
    """Distance between a clip's frames, in video frames."""
    stride_unit: StrideUnit = "seconds"
    """Which frames the stride counts: ``seconds``, those of the dataset's usual rate, so that windows last equally long
    in clips of any rate; ``frames``, each clip's own, as published."""
    num_audio_frames: int = Field(default=256, ge=16, le=2048)
    """Log-mel frames of a clip, 10 ms each."""
    video_patch: tuple[int, int, int] = VIDEO_PATCH
    """Frames (2), rows and columns of a video patch, which divide the clip's."""
    audio_patch: tuple[int, int] = AUDIO_PATCH
    """Log-mel frames and mel bins of a spectrogram patch, which divide the clip's."""

    @model_validator(mode="after")
    def _check(self) -> ModelParams:
        problems = patch_problems(
            self.image_size, self.num_frames, self.num_audio_frames, NUM_MEL_BINS, self.video_patch, self.audio_patch
        )
        if problems:
            raise ValueError("; ".join(problems))
        return self


class _Optimisation(_Section):
    """What both trainings share: AdamW with linear warm-up and cosine decay, per step."""

    epochs: int = Field(default=100, ge=1, le=10_000)
    """Passes over the training clips."""
    warmup_epochs: int = Field(default=5, ge=0, le=1000)
    """Epochs of linear warm-up."""
    batch_size: int = Field(default=160, ge=1, le=65_536)
    """Global batch: clips per optimizer step over all processes."""
    base_lr: float = Field(default=3e-4, gt=0, le=1)
    """Learning rate at a global batch of 256; it scales linearly with the batch."""
    min_lr: float = Field(default=1e-5, ge=0, le=1)
    """Learning rate at the end, at a global batch of 256; it scales likewise."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    """AdamW's betas."""
    weight_decay: float = Field(default=0.05, ge=0, le=1)
    """Decoupled weight decay; none on biases, norms and one-dimensional weights."""
    clip_grad: float | None = Field(default=None, gt=0)
    """Largest gradient norm; null does not clip."""
    precision: Precision = "float32"
    """Autocast type of the forward pass."""
    accumulation_steps: int = Field(default=1, ge=1, le=4096)
    """Parts into which each process cuts its share of a batch, one after the other; pre-training contrasts the clips
    of one part."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights, and validate and save it; null keeps the weights as they
    are."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not finite ends the training before the step is taken, or costs that step alone."""

    @model_validator(mode="after")
    def _check_schedule(self) -> _Optimisation:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be below epochs {self.epochs}")
        if self.min_lr > self.base_lr:
            raise ValueError(f"min_lr {self.min_lr} must not exceed base_lr {self.base_lr}")
        return self


class PretrainParams(_Optimisation):
    """Self-supervised pre-training (paper section 3)."""

    dataset: OneOrMoreNames = ("voxceleb2",)
    """Dataset whose clips are used, or a list of several; their labels are not. At least one has face and voice; of
    the others' single modality the reconstruction learns. After a change from or to a list run `python -m
    pipelines.project.datasets`."""
    dataset_weights: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Of a list, how often each dataset is drawn, in proportion; empty reads each of all clips once an epoch."""
    video_mask_ratio: float = Field(default=0.9, gt=0, lt=1)
    """Share of spatial positions hidden (tube masking)."""
    audio_mask_ratio: float = Field(default=0.8, gt=0, lt=1)
    """Share of spectrogram patches hidden (random masking)."""
    contrastive_weight: float = Field(default=0.0025, ge=0, le=10)
    """Weight of the summed contrastive losses."""
    temperature: float = Field(default=0.07, gt=0, le=10)
    """Temperature of the contrastive logits."""
    frame_difference: bool = True
    """Reconstruct the second frame of each tubelet as its difference to the first."""
    crop_scales: tuple[Fraction, ...] = (1.0, 0.875, 0.75, 0.66)
    """Scales of the multi-scale corner crops."""
    audio_gain: bool = True
    """Random waveform gain Beta(10, 10) + 0.5."""
    skips: bool = True
    """Hierarchical skip connections: decoder blocks look back at the encoder's levels (section 3.3)."""
    gather_negatives: bool = False
    """Contrast the clips of all processes, not only each process's own as the authors did."""

    @model_validator(mode="after")
    def _check_weights(self) -> PretrainParams:
        if self.dataset_weights and len(self.dataset_weights) != len(self.dataset):
            raise ValueError(
                f"there are {len(self.dataset_weights)} dataset_weights for {len(self.dataset)} datasets "
                f"({', '.join(self.dataset)}); give one of each"
            )
        return self


class AugmentationParams(_Section):
    """Augmentation of the fine-tuning clips; never applied in evaluation."""

    randaugment_num_ops: int = Field(default=4, ge=0, le=10)
    """RandAugment operations per clip; 0 turns it off."""
    randaugment_magnitude: float = Field(default=7, ge=0, le=10)
    """RandAugment magnitude."""
    randaugment_std: float = Field(default=0.5, ge=0, le=10)
    """Standard deviation of the magnitude."""
    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """Area range of the random resized crop."""
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    """Aspect range of the random resized crop."""
    flip: bool = True
    """Horizontal flip of half of the clips."""
    erasing: Fraction = 0.25
    """Probability of random erasing."""
    mixup: float = Field(default=0.8, ge=0, le=10)
    """Beta parameter of mixup; 0 turns it off."""
    cutmix: float = Field(default=1.0, ge=0, le=10)
    """Beta parameter of cutmix; 0 turns it off."""
    mix_audio: bool = True
    """Mix the audio with the same lambda; false reproduces the release, which does not."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing."""
    audio_gain: bool = True
    """Random waveform gain Beta(10, 10) + 0.5."""


class FinetuneParams(_Optimisation):
    """Supervised fine-tuning of one fold."""

    epochs: int = Field(default=50, ge=1, le=10_000)
    """Passes over the training clips."""
    batch_size: int = Field(default=56, ge=1, le=65_536)
    """Global batch: clips per optimizer step over all processes."""
    base_lr: float = Field(default=1e-3, gt=0, le=1)
    """Learning rate at a global batch of 256; it scales linearly with the batch."""
    min_lr: float = Field(default=1e-6, ge=0, le=1)
    """Learning rate at the end, at a global batch of 256; it scales likewise."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """AdamW's betas."""
    init: Literal["pretrained", "scratch"] = "pretrained"
    """Start from pre-trained weights, or from random ones."""
    checkpoint: Path = Path("models/pretrain/model.safetensors")
    """Pre-trained weights: a model.safetensors of this project, or a published checkpoint."""
    modality: Modality = "both"
    """Train and evaluate on both modalities or on one alone."""
    modality_dropout: float = Field(default=0, ge=0, lt=1)
    """Probability, per clip and step, that the face or the voice is hidden, each as often, by what `evaluate.modality`
    and predictions of silent or faceless videos put in its place; so one model predicts from either."""
    adaptive_epochs: int = Field(default=0, ge=0, le=10_000)
    """Epochs of pre-training on the fold's own training clips, without their labels, between the weights of `init` and
    fine-tuning; all else is as the section `pretrain` says. 0 does without."""
    layer_decay: float = Field(default=0.75, gt=0, le=1)
    """Factor of the learning rate from each layer to the one below."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Stochastic depth at the last block."""
    fusion: Literal["hierarchical", "last"] = "hierarchical"
    """Features for the head: of all encoder layers, weighted, or of the last layer alone (section 3.5)."""
    pooling: Literal["mean", "statistics"] = "mean"
    """What the head reads of an encoder's tokens: their mean, as published; or ``statistics``, mean and deviation over
    time at every place, standardised. Of a few hundred clips these generalise better (docs/real-people.md)."""
    trainable: Literal["all", "head"] = "all"
    """Train the whole model, or the head on frozen features (linear probe)."""
    label_fraction: float = Field(default=1, gt=0, le=1)
    """Share of each class's training clips that is used."""
    output_activation: Literal["none", "sigmoid", "relu", "tanh"] = "none"
    """Activation after the head (regression)."""
    regression_loss: RegressionLoss = "mse"
    """What regression minimises; ``ccc`` and ``pcc`` are 1 minus the coefficient over the batch, per target."""
    class_balance: Literal["none", "sampler", "loss"] = "none"
    """Against rare classes: draw each class equally often, or weight the loss by the inverse class frequency."""
    selection: Literal["last", "validation"] = "last"
    """Keep the last epoch's weights, or the best on held-out training speakers. Never the test fold."""
    validation_fraction: float = Field(default=0.15, gt=0, lt=0.5)
    """Share of training speakers (or clips, where speakers are unknown) held out when selection is ``validation``."""
    augmentation: AugmentationParams = AugmentationParams()
    """Augmentation of the training clips."""

    @model_validator(mode="after")
    def _check_batches(self) -> FinetuneParams:
        if self.modality_dropout and self.modality != "both":
            raise ValueError(
                f"modality_dropout {self.modality_dropout} hides one of two modalities, but modality is "
                f"{self.modality}; set it to both, or modality_dropout to 0"
            )
        if self.pooling == "statistics" and self.batch_size < 2 * self.accumulation_steps:
            raise ValueError("pooling statistics standardises over a batch's parts: let each have 2 clips or more")
        return self


class EvaluateParams(_Section):
    """The one evaluation of a fold's test clips."""

    num_segments: int = Field(default=2, ge=1, le=20)
    """Temporal segments of a clip; their probabilities are averaged, of a regression their outputs."""
    average: Literal["probabilities"] = "probabilities"
    """What is averaged over a clip's segments, as published: their probabilities (of a regression, its outputs)."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Clips per forward pass."""
    modality: Modality = "both"
    """What an audio-visual model is shown; ``video`` or ``audio`` alone puts zeros in the other's place."""


class SummariseParams(_Section):
    """Aggregation over folds."""

    bootstrap_samples: int = Field(default=2000, ge=100, le=100_000)
    """Bootstrap resamples over subjects."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Level of the intervals."""


class Params(_Section):
    """All of ``params.yaml``."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of everything random but the demo corpus, which has its own."""
    folds: dict[Name, Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]]
    """Datasets that are fine-tuned and evaluated, and in which of their folds, 1-based."""
    compute: ComputeParams = ComputeParams()
    """Where things run."""
    corpus: CorpusParams = CorpusParams()
    """The demo corpus."""
    dataset: dict[Name, DatasetParams]
    """Datasets by name; the clips of each are prepared."""
    preparation: PreparationParams = PreparationParams()
    """What manifest, faces and audio share."""
    faces: FacesParams = FacesParams()
    """Face detection, tracking and cropping."""
    model: ModelParams = ModelParams()
    """Model size and input geometry."""
    pretrain: PretrainParams = PretrainParams()
    """Self-supervised pre-training."""
    finetune: FinetuneParams = FinetuneParams()
    """Supervised fine-tuning of one fold."""
    evaluate: EvaluateParams = EvaluateParams()
    """The one evaluation of a fold's test clips."""
    summarise: SummariseParams = SummariseParams()
    """Aggregation over folds."""

    @model_validator(mode="after")
    def _check(self) -> Params:
        problems = []
        for key, names in (("folds", self.evaluated), ("pretrain.dataset", self.pretrain.dataset)):
            for name in names:
                if name not in self.dataset:
                    problems.append(f"{key} names `{name}`, which is not under `dataset`")
        modalities = {self.dataset[name].modality for name in self.pretrain.dataset if name in self.dataset}
        if modalities and "both" not in modalities:
            problems.append("pretrain.dataset names no dataset with face and voice, which contrast and fusion need")
        elif self.pretrain.gather_negatives and len(modalities) > 1:
            problems.append(
                "pretrain.gather_negatives contrasts equally many clips of each process; with datasets of one modality "
                "set it to false"
            )
        for name, folds in self.folds.items():
            dataset = self.dataset.get(name)
            if dataset is None:
                continue
            refusal = self._balance_refusal(dataset)
            if refusal:
                problems.append(
                    f"finetune.class_balance {self.finetune.class_balance} does not fit `{name}`: {refusal}"
                )
            if dataset.task == "unlabelled":
                problems.append(f"folds names `{name}`, whose task is unlabelled")
            elif max(folds) > dataset.num_folds:
                problems.append(f"folds.{name} goes up to {max(folds)}, but the dataset has {dataset.num_folds} folds")
            if len(set(folds)) != len(folds):
                problems.append(f"folds.{name} repeats a fold")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def evaluated(self) -> tuple[str, ...]:
        """Datasets that are fine-tuned and evaluated."""
        return tuple(self.folds)

    def faces_of(self, name: str) -> FacesParams:
        """`faces` as they are for a dataset: without a detector where its videos show a face alone."""
        if self.dataset[name].faces == "found":
            return self.faces
        return self.faces.model_copy(update={"detector": "none", "weights": None})

    def folds_of(self, name: str) -> tuple[int, ...]:
        """The folds of a dataset that are evaluated.

        Raises:
            ValueError: If there are none.
        """
        if name not in self.folds:
            raise ValueError(
                f"no dataset `{name}` among the `folds` of params.yaml; there are: {', '.join(self.folds)}"
            )
        return self.folds[name]

    def _balance_refusal(self, dataset: DatasetParams) -> str:
        """Why the dataset's classes cannot be balanced as asked; empty if they can."""
        if self.finetune.class_balance != "none" and dataset.task == "regression":
            return "regression has no classes; set it to none"
        if self.finetune.class_balance == "sampler" and dataset.task == "multi_classification":
            return "drawing a clip more often changes the classes of all its targets at once; set it to loss"
        return ""


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a parameter file.

    Args:
        path: A YAML file of the shape of `Params`.

    Raises:
        ValueError: Naming the file and every unknown key, wrong type, value out of range and
            contradiction in it.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run from the project's root, where params.yaml is") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from None
    return parse_params(values, str(path))


def parse_params(values: Any, source: str) -> Params:
    """Check parameters that are already in memory; `source` names them in errors.

    Raises:
        ValueError: As `load_params`.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [f"{source}: {error.error_count()} problem(s)"]
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = "unknown key" + _suggestion(problem["loc"])
            elif problem["type"] != "missing" and not isinstance(problem["input"], dict):
                message += f" (got {problem['input']!r})"
            lines.append(f"  {key}: {message}")
        raise ValueError("\n".join(lines)) from None


def _suggestion(location: tuple[int | str, ...]) -> str:
    """The nearest known key to an unknown one, as `` (did you mean `x`?)``."""
    import difflib

    section: Any = Params
    for part in location[:-1]:
        if section is Params and part == "dataset":
            section = DatasetParams
            continue
        fields = getattr(section, "model_fields", {})
        if part in fields:
            section = fields[part].annotation
    near = difflib.get_close_matches(str(location[-1]), getattr(section, "model_fields", {}), n=1)
    return f" (did you mean `{near[0]}`?)" if near else ""

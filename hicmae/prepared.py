"""The prepared clips of a dataset, as the stages that train and evaluate read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hicmae import layout
from hicmae_core.config import FinetuneParams, Modality, Params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.store.folds import FoldSplit, training_parts
from hicmae_core.store.manifest import USABLE, among, read_manifest
from hicmae_core.store.shards import INDEX_NAME, ClipStore


class PreparedDataset:
    """A dataset's samples, with the labels that the manifest gives their clips, and the stores of faces and audio.

    Attributes:
        dataset: How it is read and what is predicted.
        files: Small files that change when its prepared clips do.
        manifest: A row per sample with a usable face and audio, whichever modality is trained on, so that modalities
            are compared on the same clips; of a dataset of one modality, with that. A sample is a clip, or one of
            several faces of a clip (`face_policy`);
            ``clip_id`` is its id in the store of faces.

    Raises:
        ValueError: If the dataset is not in params.yaml or has not been prepared.
    """

    def __init__(self, params: Params, name: str) -> None:
        if name not in params.dataset:
            raise ValueError(f"no dataset `{name}` in params.yaml; there are: {', '.join(params.dataset)}")
        self.dataset = params.dataset[name]
        self.files = prepared_files(name)
        self._model = params.model
        self._faces = ClipStore(layout.faces_folder(name))
        self._audio = ClipStore(layout.audio_folder(name))
        manifest = read_manifest(layout.manifest_file(name))
        if self.dataset.modality != "video":
            manifest = manifest[among(manifest["clip_id"], self._audio.clip_ids)]
        if self.dataset.modality != "audio":
            samples = self._faces.index.loc[self._faces.index["status"].isin(USABLE), ["clip_id", "source"]]
            by_clip = manifest.rename(columns={"clip_id": "source"}).merge(samples, on="source")
            manifest = by_clip[list(manifest.columns)]
        self.manifest: pd.DataFrame = manifest

    def clips(self, clip_ids: Sequence[str], modality: Modality = "both") -> ClipDataset:
        """These clips, with their labels; of the modality that is not wanted, or that they lack, nothing is read."""
        modality = modality if self.dataset.modality == "both" else self.dataset.modality
        return ClipDataset.from_manifest(
            self.manifest, clip_ids, self._faces, self._audio, self.dataset, self._model, modality
        )

    def training_parts(self, fold: int, recipe: FinetuneParams, seed: int) -> FoldSplit:
        """The clips that a model of a fold is trained and validated on."""
        shares = recipe.validation_fraction, recipe.label_fraction
        return training_parts(self.manifest, fold, self.dataset, recipe.selection, *shares, seed)


def prepared_files(name: str) -> tuple[Path, ...]:
    """Small files that change when a dataset's prepared clips do, for fingerprints."""
    return (
        layout.manifest_file(name),
        layout.faces_folder(name) / INDEX_NAME,
        layout.audio_folder(name) / INDEX_NAME,
    )

"""The prepared clips of a dataset, as the stages that train and evaluate read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hicmae_core.config import Params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.data.manifest import read_manifest
from hicmae_core.data.shards import INDEX_NAME, ClipStore
from stages import layout


class PreparedDataset:
    """A dataset's manifest, narrowed to clips with a usable face and sound, and the stores of both.

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
        prepared = manifest["clip_id"].isin(self._faces.clip_ids) & manifest["clip_id"].isin(self._audio.clip_ids)
        self.manifest: pd.DataFrame = manifest[prepared].reset_index(drop=True)

    def clips(self, clip_ids: Sequence[str]) -> ClipDataset:
        """These clips, with their labels."""
        return ClipDataset.from_manifest(self.manifest, clip_ids, self._faces, self._audio, self.dataset, self._model)


def prepared_files(name: str) -> tuple[Path, ...]:
    """Small files that change when a dataset's prepared clips do, for fingerprints."""
    return (
        layout.manifest_file(name),
        layout.faces_folder(name) / INDEX_NAME,
        layout.audio_folder(name) / INDEX_NAME,
    )

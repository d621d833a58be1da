"""Pre-train under one of the published recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prefect import flow
from prefect.states import State

from pipelines.flows.reproduce import Parallel
from pipelines.flows.stage_tasks import bring_up_to_date
from pipelines.project.configure import apply_presets, preset_names, rewrite

_AS_IT_IS = "as in params.yaml"
if TYPE_CHECKING:
    Preset = str
else:  # Prefect's pages offer the names
    Preset = Literal[_AS_IT_IS, *(name for name in preset_names() if name.startswith("pretrain_"))]


@flow(name="pretrain")
def pretrain(preset: Preset = _AS_IT_IS, max_parallel: Parallel = 1) -> State[None]:
    """Pre-train without labels, and prepare the clips for it.

    Args:
        preset: A recipe of hicmae_core/presets/ that is laid over params.yaml first.
        max_parallel: Stages that may run at the same time.
    """

    def before(root: Path) -> None:
        if preset != _AS_IT_IS:
            rewrite(root, lambda text: apply_presets(text, [preset]))

    return bring_up_to_date(["pretrain"], max_parallel=max_parallel, before=before)

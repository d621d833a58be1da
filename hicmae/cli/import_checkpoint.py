"""`hicmae import`: take in a checkpoint of the authors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hicmae_core.config import FacesParams, StrideUnit
from hicmae_core.data.sampling import USUAL_FPS, FrameStride
from hicmae_core.model.artifact import reference_metadata, save_model
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.reference import load_reference_checkpoint

EXAMPLES = """
hicmae import hicmae_pretrain_base.pth --out models/published/model.safetensors
hicmae import crema_d_fold1.pth --classes anger,disgust,fear,happiness,neutral,sadness --out crema_d.safetensors
"""


def main(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of the authors, or in their names.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The model.safetensors to write.")],
    classes: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Names of a classifier's outputs, in order.", show_default="class 0,..."),
    ] = "",
    frame_stride: Annotated[int, typer.Option(min=1, help="Distance of the model's frames; Werewolf-XL: 3.")] = 4,
    stride_unit: Annotated[
        StrideUnit, typer.Option(help="Whose frames: those of a usual video, or of each (MAFW, DFEW, MER2023).")
    ] = "seconds",
    usual_fps: Annotated[float, typer.Option(min=1, help="Frame rate of most of its training clips.")] = USUAL_FPS,
) -> None:
    """Turn a checkpoint of the authors, pre-trained or fine-tuned, into a model of this project.

    Size and kind are found from the weights. Nothing in the file is executed.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: the model's name ends in .safetensors")
    model = load_reference_checkpoint(checkpoint)
    metadata = reference_metadata(checkpoint, model)
    if isinstance(model, Classifier):
        num_outputs = model.architecture.num_outputs
        names = [name.strip() for name in classes.split(",")] if classes else metadata["classes"]
        if len(set(names)) != num_outputs:
            raise ValueError(f"--classes names {len(set(names))} classes, but the model has {num_outputs} outputs")
        faces = FacesParams().model_dump(mode="json")
        metadata |= {"classes": names, "faces": faces}
        metadata |= FrameStride(frame_stride, stride_unit, usual_fps).metadata
    elif classes:
        raise ValueError(f"{checkpoint}: holds a pre-training model, which has no classes")
    save_model(out, model, metadata)
    print(f"{out}: {metadata['size']} {type(model).__name__}, {out.stat().st_size / 1e6:.0f} MB")

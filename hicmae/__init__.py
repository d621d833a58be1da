"""What people import and type once there is a model, and what is remembered of its making.

>>> import hicmae
>>> model = hicmae.load("models/finetune/demo/1")  # doctest: +SKIP
>>> model.predict("a.mp4")  # doctest: +SKIP
a.mp4: happiness (anger 0.02, happiness 0.91, neutral 0.05, sadness 0.02)
"""

from typing import TYPE_CHECKING, Any

from hicmae import environment

if TYPE_CHECKING:
    from hicmae.library import Clip as Clip
    from hicmae.library import Model as Model
    from hicmae.library import load as load

environment.prepare()
__all__ = ["Clip", "Model", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hicmae' has no attribute {name!r}")
    from hicmae import library  # torch takes seconds to load

    return getattr(library, name)

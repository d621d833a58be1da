"""Stage `audio`: log-mel features of every clip."""

from hicmae import layout
from hicmae.command import DatasetOption, run
from hicmae_core.config import load_params
from hicmae_core.files import write_json
from hicmae_core.preparation.engines import runner_for
from hicmae_core.preparation.preparing import prepare_audio
from hicmae_core.store.manifest import prepared_of, read_manifest


def main(dataset: DatasetOption) -> None:
    """Compute the log-mel features of every clip of a dataset."""
    params = load_params()
    summary = prepare_audio(
        prepared_of(read_manifest(layout.manifest_file(dataset)), params.dataset[dataset], "audio"),
        layout.raw_folder(dataset),
        layout.audio_folder(dataset),
        layout.preparation_cache("audio", dataset),
        preparation=params.preparation,
        run=runner_for(params.compute, params.preparation),
    )
    write_json(layout.preparation_metrics("audio", dataset), summary)


if __name__ == "__main__":
    run(main, "python -m stages.audio --dataset demo")

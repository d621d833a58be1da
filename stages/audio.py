"""Stage `audio`: log-mel features of every clip."""

from hicmae import layout
from hicmae.command import dataset_parser, run
from hicmae_core.config import load_params
from hicmae_core.files import write_json
from hicmae_core.preparation.engines import runner_for
from hicmae_core.preparation.preparing import prepare_audio
from hicmae_core.store.manifest import prepared_of, read_manifest


def main() -> None:
    """Compute the log-mel features of every clip of a dataset."""
    name = dataset_parser("Compute the log-mel features of every clip of a dataset.", "audio").parse_args().dataset
    params = load_params()
    summary = prepare_audio(
        prepared_of(read_manifest(layout.manifest_file(name)), params.dataset[name], "audio"),
        layout.raw_folder(name),
        layout.audio_folder(name),
        layout.preparation_cache("audio", name),
        preparation=params.preparation,
        run=runner_for(params.compute, params.preparation),
    )
    write_json(layout.preparation_metrics("audio", name), summary)


if __name__ == "__main__":
    run(main)

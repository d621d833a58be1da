"""Stage `faces`: find, follow and crop the face of every clip."""

from hicmae import layout
from hicmae.command import dataset_parser, run
from hicmae_core.config import load_params
from hicmae_core.files import write_json
from hicmae_core.preparation.engines import runner_for
from hicmae_core.preparation.preparing import prepare_faces
from hicmae_core.store.manifest import prepared_of, read_manifest


def main() -> None:
    """Find, follow and crop the face of every clip of a dataset."""
    name = dataset_parser("Find, follow and crop the face of every clip of a dataset.", "faces").parse_args().dataset
    params = load_params()
    summary = prepare_faces(
        prepared_of(read_manifest(layout.manifest_file(name)), params.dataset[name], "video"),
        layout.raw_folder(name),
        layout.faces_folder(name),
        layout.preparation_cache("faces", name),
        faces=params.faces_of(name),
        face_policy=params.dataset[name].face_policy,
        preparation=params.preparation,
        device=params.compute.device,
        run=runner_for(params.compute, params.preparation),
    )
    write_json(layout.preparation_metrics("faces", name), summary)


if __name__ == "__main__":
    run(main)

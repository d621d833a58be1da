"""Stage `faces`: find, follow and crop the face of every clip."""

from hicmae_core.config import load_params
from hicmae_core.data.manifest import prepared_of, read_manifest
from hicmae_core.data.preparation import prepare_faces
from hicmae_core.files import write_json
from stages import layout
from stages.command import dataset_parser, run
from stages.engines import runner_for


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

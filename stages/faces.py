"""Stage `faces`: find, follow and crop the face of every clip."""

from hicmae import layout
from hicmae.command import DatasetOption, run
from hicmae_core.config import load_params
from hicmae_core.files import write_json
from hicmae_core.preparation.engines import runner_for
from hicmae_core.preparation.preparing import prepare_faces
from hicmae_core.store.manifest import prepared_of, read_manifest


def main(dataset: DatasetOption) -> None:
    """Find, follow and crop the face of every clip of a dataset."""
    params = load_params()
    summary = prepare_faces(
        prepared_of(read_manifest(layout.manifest_file(dataset)), params.dataset[dataset], "video"),
        layout.raw_folder(dataset),
        layout.faces_folder(dataset),
        layout.preparation_cache("faces", dataset),
        faces=params.faces_of(dataset),
        face_policy=params.dataset[dataset].face_policy,
        preparation=params.preparation,
        device=params.compute.device,
        run=runner_for(params.compute, params.preparation),
    )
    write_json(layout.preparation_metrics("faces", dataset), summary)


if __name__ == "__main__":
    run(main, "python -m stages.faces --dataset demo")

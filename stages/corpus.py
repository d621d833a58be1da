"""Stage `corpus`: generate the demo corpus of talking faces."""

from hicmae import layout
from hicmae.command import run
from hicmae_core.config import load_params
from hicmae_core.demo.corpus import generate_corpus
from hicmae_core.files import write_json


def main() -> None:
    """Write the labelled and the unlabelled demo clips."""
    params = load_params()
    summary = generate_corpus(params.corpus, layout.RAW, params.compute.num_processes)
    write_json(layout.preparation_metrics("corpus", "demo"), summary)


if __name__ == "__main__":
    run(main, "python -m stages.corpus")

"""The generated demo corpus (hicmae_core/demo/corpus.py)."""

from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.csv_table import table_reader

DEMO = Corpus(
    name="demo",
    description="the generated talking faces with labels",
    read=table_reader(
        "labels.csv",
        {
            "clip_id": "clip_id",
            "video_path": "file",
            "subject": "subject",
            "label_name": "emotion",
            "test_fold": "fold",
        },
    ),
)

DEMO_UNLABELLED = Corpus(
    name="demo_unlabelled",
    description="the generated talking faces without labels",
    read=table_reader("unlabelled.csv", {"clip_id": "clip_id", "video_path": "file", "subject": "subject"}),
)

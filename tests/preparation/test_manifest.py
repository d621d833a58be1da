"""A raw folder becomes a manifest; what is wrong with it is an error or a row that says so."""

from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.registry import CORPORA, corpus_named
from hicmae_core.files import sha256_of
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.store.manifest import MANIFEST_COLUMNS, counts_by_status, read_manifest, write_manifest

EMOTIONS = DatasetParams(corpus="csv", classes=("calm", "angry"), num_folds=2)
TWO_BY_TWO = [
    {"clip_id": f"s{s}_{label}", "video": f"v/s{s}_{label}.mp4", "subject": f"s{s}", "label": label, "fold": s}
    for s in (1, 2)
    for label in EMOTIONS.classes
]


def film(path, picture=True, sound=True):
    """Half a second of grey at 10 fps with silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        if picture:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
        if sound:
            audio = container.add_stream("aac", rate=16_000)
        if picture:
            for _ in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        if sound:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            samples.rate, samples.time_base, samples.pts = 16_000, Fraction(1, 16_000), 0
            container.mux(audio.encode(samples))
            container.mux(audio.encode())


def corpus(root, rows=TWO_BY_TWO, content=b"not empty"):
    """A raw folder with a manifest.csv, and a file for each video."""
    root.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    for row in rows:
        path = root / row["video"]
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    return root


def built(root, dataset=EMOTIONS, probe_fn=None, max_reject_fraction=1.0):
    return build_manifest("mine", dataset, root, probe_fn, 2, max_reject_fraction)


def changed(index, **cells):
    """The rows of a good corpus, one of them with other cells, and four more so that no class is missing."""
    rows = [*TWO_BY_TWO, *({**row, "clip_id": f"{row['clip_id']}_b"} for row in TWO_BY_TWO)]
    return [{**row, **cells} if i == index else row for i, row in enumerate(rows)]


def test_a_manifest_is_read_and_written(tmp_path):
    manifest = built(corpus(tmp_path / "raw"))
    assert list(manifest.columns) == list(MANIFEST_COLUMNS)
    assert manifest["status"].tolist() == ["ok"] * 4
    assert manifest["label"].tolist() == [0, 1, 0, 1]
    assert manifest["test_fold"].tolist() == [1, 1, 2, 2]
    assert manifest["audio_path"].tolist() == manifest["video_path"].tolist()
    assert manifest["fps"].isna().all()
    write_manifest(tmp_path / "m.parquet", manifest)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.parquet"), manifest)


def test_probing_fills_the_media_facts(tmp_path):
    root = corpus(tmp_path / "raw")
    for row in TWO_BY_TWO:
        film(root / row["video"])
    manifest = built(root, probe_fn=probe)
    assert manifest["status"].tolist() == ["ok"] * 4
    assert manifest["fps"].tolist() == [10.0] * 4
    assert manifest["num_frames"].tolist() == [5] * 4
    assert manifest["duration_seconds"].between(0.4, 0.7).all()
    assert manifest["sha256"][0] == sha256_of(root / TWO_BY_TWO[0]["video"])


def test_bad_media_files_are_marked(tmp_path):
    rows = [*changed(0), {**TWO_BY_TWO[0], "clip_id": "gone"}]
    rows = [{**row, "video": f"v/{i}.mp4"} for i, row in enumerate(rows)]
    root = corpus(tmp_path / "raw", rows)
    for row in rows:
        film(root / row["video"])
    (root / "v/4.mp4").write_bytes(b"")
    (root / "v/5.mp4").write_bytes(b"this is no video")
    film(root / "v/6.mp4", sound=False)
    film(root / "v/7.mp4", picture=False)
    (root / "v/8.mp4").unlink()
    manifest = built(root, probe_fn=probe)
    assert manifest["status"].tolist() == ["ok"] * 4 + ["zero_byte", "unreadable", "no_sound", "no_video", "missing"]
    assert (manifest["reason"][4:].str.len() > 10).all()
    assert (manifest["reason"][:4] == "").all()
    assert counts_by_status(manifest)["ok"] == 4
    assert next(iter(counts_by_status(manifest))) == "ok"
    without_probing = built(root)
    assert without_probing["status"].tolist() == ["ok"] * 8 + ["missing"]


def test_sound_in_a_file_of_its_own(tmp_path):
    rows = [{**row, "audio": f"a/{row['clip_id']}.wav"} for row in TWO_BY_TWO]
    root = corpus(tmp_path / "raw", rows)
    for row in rows:
        film(root / row["video"], sound=False)
        if row is not rows[3]:
            film(root / "a" / f"{row['clip_id']}.mp4", picture=False)
            (root / "a" / f"{row['clip_id']}.mp4").rename(root / row["audio"])
    manifest = build_manifest("mine", DatasetParams(corpus="csv", task="unlabelled"), root, probe, 1, 1.0)
    assert manifest["status"].tolist() == ["ok", "ok", "ok", "missing"]
    assert "a/s2_angry.wav" in manifest["reason"][3]


def test_voices_alone_and_silent_videos_are_taken_where_the_dataset_says_so(tmp_path):
    """The former as a column `audio` without a column `video`."""
    silent = corpus(tmp_path / "silent")
    for row in TWO_BY_TWO:
        film(silent / row["video"], sound=False)
    voices = corpus(tmp_path / "voices")
    for row in TWO_BY_TWO:
        film(voices / row["video"], picture=False)
    table = pd.read_csv(voices / "manifest.csv").rename(columns={"video": "audio"})
    table.to_csv(voices / "manifest.csv", index=False)
    for root, modality in ((silent, "video"), (voices, "audio")):
        dataset = DatasetParams(corpus="csv", task="unlabelled", modality=modality)
        manifest = build_manifest("mine", dataset, root, probe, 1, 0.0)
        assert manifest["status"].tolist() == ["ok"] * 4
        assert manifest["video_path"].tolist() == [row["video"] for row in TWO_BY_TWO]
        assert manifest["audio_path"].tolist() == manifest["video_path"].tolist()
    table[["clip_id"]].to_csv(voices / "manifest.csv", index=False)
    with pytest.raises(ValueError, match="no column audio, which names the files with the voices"):
        build_manifest("mine", dataset, voices, probe, 1, 0.0)
    table.rename(columns={"audio": "video"}).to_csv(voices / "manifest.csv", index=False)
    assert build_manifest("mine", dataset, voices, probe, 1, 0.0)["status"].tolist() == ["ok"] * 4
    table.to_csv(voices / "manifest.csv", index=False)
    (voices / TWO_BY_TWO[0]["video"]).unlink()
    film(voices / TWO_BY_TWO[0]["video"], sound=False)
    manifest = build_manifest("mine", dataset, voices, probe, 1, 1.0)
    assert manifest["status"].tolist() == ["no_sound", "ok", "ok", "ok"]
    both = DatasetParams(corpus="csv", task="unlabelled")
    with pytest.raises(ValueError, match=r"no column video; there are: .*audio"):
        build_manifest("mine", both, voices, probe, 1, 1.0)


def test_each_clip_is_its_own_unit_unless_the_table_says_otherwise(tmp_path):
    plain = built(corpus(tmp_path / "plain"))
    assert plain["unit"].tolist() == plain["clip_id"].tolist()
    rows = changed(0)
    rows = [{**row, "unit": "" if row["label"] == "angry" else f" {row['subject']}-calm "} for row in rows]
    manifest = built(corpus(tmp_path / "units", rows))
    expected = [row["clip_id"] if row["label"] == "angry" else f"{row['subject']}-calm" for row in rows]
    assert manifest["unit"].tolist() == expected
    unlabelled = build_manifest(
        "mine", DatasetParams(corpus="csv", task="unlabelled"), tmp_path / "plain", None, 1, 0.1
    )
    assert unlabelled["unit"].tolist() == unlabelled["clip_id"].tolist()


def test_units_that_cannot_be_scored_as_one_are_refused(tmp_path):
    def with_units(unit_of, **cells):
        return built(corpus(tmp_path, [{**row, "unit": unit_of(row), **cells} for row in changed(0)]))

    assert with_units(lambda row: f"{row['subject']}-{row['label']}")["unit"].nunique() == 4
    said = "unit s1 has clips that differ in their label: calm of s1_calm, s1_calm_b; angry of s1_angry, s1_angry_b"
    with pytest.raises(ValueError, match=said):
        with_units(lambda row: row["subject"])
    with pytest.raises(
        ValueError,
        match="unit calm has clips that differ in their subject: s1 of s1_calm, s1_calm_b; s2 of s2_calm, s2_calm_b",
    ):
        with_units(lambda row: row["label"])
    with pytest.raises(
        ValueError, match="unit calm has clips that differ in their fold: 1 of s1_calm, s1_calm_b; 2 of s2_calm"
    ):
        with_units(lambda row: row["label"], subject="")
    with pytest.raises(
        ValueError, match=r"clip s1_calm has no unit, but is the unit of s1_calm_b; give clip s1_calm a"
    ):
        with_units(lambda row: "s1_calm" if row["clip_id"] == "s1_calm_b" else "")
    with pytest.raises(ValueError, match=r"manifest.csv, line 2: unit 'none' reads as a missing value"):
        with_units(lambda row: "none")
    with pytest.raises(ValueError, match=r"unit 'a.x07' has control characters"):
        with_units(lambda row: "a\x07")


def test_a_manifest_by_hand_may_leave_units_out(tmp_path):
    manifest = built(corpus(tmp_path / "raw"))
    write_manifest(tmp_path / "m.parquet", manifest.assign(unit=pd.Series([None] * 4, dtype="str")))
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.parquet"), manifest)


def test_an_unknown_label_is_a_reject_that_names_it(tmp_path):
    manifest = built(corpus(tmp_path, changed(0, label="bored")))
    assert manifest["status"].value_counts().to_dict() == {"ok": 7, "unknown_label": 1}
    assert manifest["reason"][0] == "label bored is not among calm, angry"
    assert built(corpus(tmp_path, changed(1, label="")))["status"][1] == "unknown_label"


def test_too_many_rejects_stop_it(tmp_path):
    root = corpus(tmp_path, changed(0, label="bored"))
    assert len(built(root, max_reject_fraction=0.125)) == 8
    with pytest.raises(ValueError, match=r"1 of 8 clips are rejected(.|\n)*1 unknown_label, such as s1_calm"):
        built(root, max_reject_fraction=0.1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(4, clip_id="s1_calm", video="v/other.mp4"), r"s1_calm is v/s1_calm.mp4, v/other.mp4"),
        (changed(0, video="../v.mp4"), r"\.\./v.mp4 lies outside"),
        (changed(0, fold=3), "fold outside 1 to 2, such as s1_calm with fold 3"),
        (changed(0, fold=0), "fold outside 1 to 2, such as s1_calm with fold 0"),
        (changed(0, fold="x"), "folds are whole numbers from 1, not 'x'"),
        (changed(0, fold=2), r"1 speakers are both trained on and tested \(s1\)"),
        (TWO_BY_TWO[:3], "the training part of fold 1 has no clip of class angry"),
        (TWO_BY_TWO[:2], "the training part of fold 1 has no clips"),
        (changed(0, clip_id=""), "1 rows lack an id"),
        ([{"clip_id": "a", "video": "v.mp4"}], "no column label, fold; there are: clip_id, video"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        built(corpus(tmp_path / "raw", rows))


def test_absolute_paths_are_refused(tmp_path):
    root = corpus(tmp_path / "raw", changed(0, audio="/etc/hostname"))
    with pytest.raises(ValueError, match="/etc/hostname lies outside"):
        built(root)


def test_a_missing_folder_table_or_corpus_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no such folder; put the files of dataset mine there"):
        built(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"manifest\.csv: no such file"):
        built(tmp_path)
    (tmp_path / "manifest.csv").write_text("")
    with pytest.raises(ValueError, match="not a CSV file"):
        built(tmp_path)
    (tmp_path / "manifest.csv").write_text("clip_id,video\n")
    with pytest.raises(ValueError, match="has no rows"):
        built(tmp_path)
    with pytest.raises(ValueError, match=r"no corpus adapter `crema`; there are: crema_d \("):
        corpus_named("crema")
    with pytest.raises(ValueError, match=r"python -m stages\.manifest"):
        read_manifest(tmp_path / "m.parquet")


def test_regression_targets(tmp_path):
    dataset = DatasetParams(corpus="csv", task="regression", targets=("arousal", "valence"), num_folds=2)
    rows = [{**row, "arousal": i / 4, "valence": "?" if i == 5 else -i} for i, row in enumerate(changed(0))]
    manifest = built(corpus(tmp_path, rows), dataset)
    assert manifest["target_arousal"].tolist() == [i / 4 for i in range(8)]
    assert manifest["status"].tolist() == ["ok"] * 5 + ["unknown_label"] + ["ok"] * 2
    assert "valence" in manifest["reason"][5]
    assert manifest["label"].isna().all()


def test_the_demo_adapters_read_the_generators_tables(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "unlabelled.csv").write_text("clip_id,file,subject\nA,a.mp4,U01\n")
    unlabelled = built(tmp_path, DatasetParams(corpus="demo_unlabelled", task="unlabelled"))
    assert unlabelled.loc[0, ["clip_id", "video_path", "subject", "status"]].tolist() == ["A", "a.mp4", "U01", "ok"]
    assert unlabelled["test_fold"].isna().all()
    rows = "A,a.mp4,S1,calm,1\nB,a.mp4,S1,angry,1\nC,a.mp4,S2,calm,2\nD,a.mp4,S2,angry,2\n"
    (tmp_path / "labels.csv").write_text("clip_id,file,subject,emotion,fold\n" + rows)
    labelled = built(tmp_path, DatasetParams(corpus="demo", classes=("calm", "angry"), num_folds=2))
    assert labelled["label"].tolist() == [0, 1, 0, 1]
    assert labelled["test_fold"].tolist() == [1, 1, 2, 2]


def test_every_adapter_is_registered_under_its_name():
    assert {name: corpus.name for name, corpus in CORPORA.items()} == {name: name for name in CORPORA}
    assert all(corpus.description for corpus in CORPORA.values())

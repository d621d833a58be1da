"""`hicmae predict`: tables, JSON, CSV, exit codes."""

import csv
import io
import json

import pytest


def test_files_are_answered_in_every_form(hicmae, folder):
    ask = ("predict", "one.mp4", "two [1].mp4", "none.mp4", "--model", "model.safetensors")
    result = hicmae(*ask, "--json", "--csv", "out.csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    records = json.loads(result.stdout)
    assert [record["status"] for record in records] == ["ok", "ok", "missing"]
    assert sum(records[0]["probabilities"].values()) == pytest.approx(1)
    assert records[0]["prediction"] in ("sad", "glad")
    assert len(records[0]["windows"]) == 3
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text())))
    assert [row["part"] for row in rows] == ["clip", "window", "window", "window"] * 2 + ["clip"]
    assert float(rows[1]["glad"]) == pytest.approx(records[0]["windows"][0]["probabilities"]["glad"])
    assert rows[-1]["reason"] == "none.mp4: no such file"


def test_a_table_and_its_exit_codes(hicmae, folder):
    answered = hicmae("predict", ".", "--model", ".", cwd=folder)
    assert answered.returncode == 0, answered.stderr
    assert "two [1].mp4" in answered.stdout
    assert "Traceback" not in answered.stderr
    nothing = hicmae("predict", "none.mp4", "--model", "model.safetensors", cwd=folder)
    assert nothing.returncode == 1
    assert nothing.stdout == "none.mp4: no answer, missing: no such file\n"
    assert hicmae("predict", "one.mp4", "--hop", "-1", cwd=folder).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one.mp4"], "name a model with --model"),
        (["one.mp4", "--model", "none.safetensors"], "none.safetensors: no such file"),
        (["one.mp4", "--json", "--csv", "-"], "would both print"),
        (["*.avi"], "no file fits this pattern"),
    ],
)
def test_mistakes_are_told_in_one_sentence(hicmae, folder, arguments, words):
    result = hicmae("predict", *arguments, cwd=folder)
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr

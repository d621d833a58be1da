"""Checkpoints as people have them: wrapped, nested, with other things beside the weights, or no checkpoints at all."""

import argparse
import collections
import datetime
import gzip
import io
import pathlib
import pickle
import re
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from hicmae_core.model.artifact import load_classifier, load_model, save_model
from hicmae_core.model.reference import load_reference_checkpoint
from hicmae_core.model.sizes import classifier, pretraining_model


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    return classifier("demo", 3)


@pytest.fixture(scope="module")
def weights(source):
    return {key: value.clone() for key, value in source.state_dict().items()}


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


def expect(path, weights):
    loaded, metadata = load_classifier(path)
    assert all(torch.equal(value, weights[key]) for key, value in loaded.state_dict().items())
    assert metadata == {
        "size": "demo", "source": path.name, "classes": ["class 0", "class 1", "class 2"], "targets": [],
    }  # fmt: skip


def refusal(path):
    """The one sentence in which both readers refuse a file."""
    texts = set()
    for read in (load_model, load_reference_checkpoint):
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            read(path)
        texts.add(str(caught.value))
    (text,) = texts
    assert text.startswith(f"{path}: ")
    assert len(text.splitlines()) == 1
    assert len(text) < 900
    return text


def inserted(key, name):
    """A key with a wrapper's name before each of its modules."""
    return "".join(f"{name}.{part}." for part in key.split("."))[:-1]


RENAMED = {
    "DataParallel": lambda key: f"module.{key}",
    "torch.compile": lambda key: f"_orig_mod.{key}",
    "Fabric": lambda key: f"_forward_module.{key}",
    "FSDP": lambda key: f"_fsdp_wrapped_module.{key}",
    "nested": lambda key: f"module._orig_mod.{key}",
    "nested the other way": lambda key: f"_orig_mod.module.{key}",
    "Lightning": lambda key: f"model.{key}",
    "Lightning, compiled": lambda key: f"model._orig_mod.{key}",
    "Lightning under DDP": lambda key: f"_forward_module.module.model.{key}",
    "of a field": lambda key: f"student.backbone.{key}",
    "compiled submodules": lambda key: key.replace("encoder.", "encoder._orig_mod."),
    "compiled blocks": lambda key: key.replace("blocks.1.", "blocks.1._orig_mod."),
    "FSDP of each module": lambda key: inserted(key, "_fsdp_wrapped_module"),
    "activation checkpointing": lambda key: key.replace("blocks.2.", "blocks.2._checkpoint_wrapped_module."),
}


@pytest.mark.parametrize("how", RENAMED)
def test_wrappers_around_the_model_are_stripped_from_keys(weights, tmp_path, how):
    renamed = {RENAMED[how](key): value for key, value in weights.items()}
    expect(saved({"model": renamed, "epoch": 3}, tmp_path / "a.pth"), weights)
    expect(saved(renamed, tmp_path / "bare.ckpt"), weights)
    save_file(renamed, tmp_path / "theirs.safetensors")
    expect(tmp_path / "theirs.safetensors", weights)


NESTED = {
    "bare": lambda w: w,
    "ordered": lambda w: collections.OrderedDict(w),
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "model": lambda w: {"model": w},
    "module": lambda w: {"module": w},
    "model_state_dict": lambda w: {"epoch": 1, "model_state_dict": w, "loss": 0.3},
    "net": lambda w: {"net": w, "acc": 0.9},
    "an unknown name": lambda w: {"classifier": w, "epoch": 3, "rng": {"cpu": torch.get_rng_state()}},
    "twice": lambda w: {"checkpoint": {"state_dict": w}, "meta": {"model": "x"}},
    "parameters": lambda w: {"model": {key: torch.nn.Parameter(value) for key, value in w.items()}},
    "averaged": lambda w: {"model": {"n_averaged": torch.tensor(5)} | {f"module.{k}": v for k, v in w.items()}},
    "with an optimizer": lambda w: {
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}, "param_groups": []},
        "scaler": {"scale": 65536.0, "_growth_tracker": 3},
        "lr_scheduler": {"base_lrs": [0.1]},
        "state_dict": w,
    },
}  # fmt: skip


@pytest.mark.parametrize("how", NESTED)
def test_the_dictionary_of_weights_is_found(weights, tmp_path, how):
    path = saved(NESTED[how](weights), tmp_path / "a.pth")
    expect(path, weights)
    loaded = load_reference_checkpoint(path)
    assert torch.equal(loaded.head.weight, weights["head.weight"])


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a.ckpt", "a", "a.safetensors", "a.tar"])
def test_content_decides_and_not_the_suffix(weights, source, tmp_path, name):
    path = tmp_path / name
    expect(saved({"model": weights}, path), weights)
    expect(saved({"model": weights}, path, _use_new_zipfile_serialization=False), weights)
    path.write_bytes(save(weights))
    expect(path, weights)
    save_model(path, source, {"run": 1})
    loaded, metadata = load_classifier(path)
    assert metadata == {"run": 1}
    assert torch.equal(loaded.head.weight, weights["head.weight"])


def test_averages_are_taken_where_they_are_alone(weights, tmp_path, capsys):
    other = {key: value + 1 for key, value in weights.items()}
    path = tmp_path / "a.pth"
    for name in ("model_ema", "state_dict_ema", "ema"):
        for nothing in ({}, {"model": None}, {"model": {}}):
            expect(saved({**nothing, name: weights}, path), weights)
            assert f"{path}: weights taken from `{name}`" in capsys.readouterr().err
        expect(saved({name: other, "model": weights}, path), weights)
        assert f"{path}: weights taken from `model`, not from {name}" in capsys.readouterr().err
    expect(saved({"model": weights}, path), weights)
    assert capsys.readouterr().err == ""


def test_the_model_is_taken_among_a_trainer_s_fields(weights, tmp_path, capsys):
    fields = {f"ema.{key}": value + 1 for key, value in weights.items()}
    fields |= {f"model.{key}": value for key, value in weights.items()} | {"criterion.weight": torch.ones(3)}
    expect(saved({"state_dict": fields}, tmp_path / "a.ckpt"), weights)
    assert "weights taken from `model.`, not ema." in capsys.readouterr().err


BESIDE = {
    "a scalar of numpy": np.float64(0.8),
    "other scalars": [np.float32(1), np.int64(2), np.bool_(True), np.str_("x"), np.datetime64("2024-01-01")],
    "arrays": [np.zeros((2, 3)), np.arange(3), np.array(["a", "b"]), np.array([None, 1.0], object), np.zeros(())],
    "a path": pathlib.Path("/data/mafw"),
    "pure paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("C:/data")],
    "arguments": argparse.Namespace(lr=0.1, out=pathlib.Path("out"), seed=np.int64(3)),
    "a namespace": types.SimpleNamespace(lr=0.1),
    "times": [
        datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), datetime.date(2024, 1, 2), datetime.timedelta(hours=1),
        datetime.time(3),
    ],
    "containers": [
        collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]), collections.Counter("ab"), {1, 2},
        frozenset([3]), slice(1, 2), range(4), 1j, b"bytes",
    ],
    "things of torch": [torch.Size([2, 3]), torch.float16, torch.device("cuda:0"), torch.get_rng_state()],
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("what", BESIDE)
def test_what_does_nothing_may_lie_beside_the_weights(weights, tmp_path, what, legacy):
    path = tmp_path / "a.pth"
    expect(saved({"beside": BESIDE[what], "model": weights}, path, _use_new_zipfile_serialization=not legacy), weights)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"pathlib\nPosixPath", b"pathlib._local\nPosixPath"),
        (b"pathlib\nPosixPath", b"pathlib\nWindowsPath"),
    ],
)
def test_files_of_other_versions_and_systems_are_read(weights, tmp_path, ours, theirs):
    beside = [np.float64(0.8), np.arange(3), pathlib.Path("/data/mafw")]
    first = saved({"beside": beside, "model": weights}, tmp_path / "first.pth")
    with zipfile.ZipFile(first) as old, zipfile.ZipFile(tmp_path / "a.pth", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            assert not name.endswith("data.pkl") or ours in content
            new.writestr(name, content.replace(ours, theirs) if name.endswith("data.pkl") else content)
    expect(tmp_path / "a.pth", weights)


class Unknown:
    """A class that the reader does not know."""


def test_unknown_classes_are_named_with_a_way_out(weights, tmp_path):
    path = tmp_path / "a.pth"
    for legacy in (False, True):
        saved({"model": weights, "args": Unknown()}, path, _use_new_zipfile_serialization=not legacy)
        text = refusal(path)
        assert "tests.model.test_weights_file.Unknown" in text
        assert "torch.save({'model': model.state_dict()}, 'weights.pth')" in text
        assert "weights_only" not in text
    assert "Linear" in refusal(saved(torch.nn.Linear(2, 2), path))


def test_nothing_is_executed(weights, tmp_path):
    class Touch:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "touched",)

    class Evaluate:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'touched')!r}, 'w')",)

    for trap in (Touch(), Evaluate(), np.array([Touch()], object), argparse.Namespace(a=Touch())):
        for legacy in (False, True):
            path = saved({"model": weights, "a": trap}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
            assert "which could run code and is not read" in refusal(path)
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Touch()))
    assert "a pickle that torch.save has not written" in refusal(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


def tar(weights):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return content.getvalue()


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return content.getvalue()


def torch_file(weights, **options):
    content = io.BytesIO()
    torch.save({"model": weights}, content, **options)
    return content.getvalue()


def script(weights):
    content = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), content)
    return content.getvalue()


def program(weights):
    content = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), content)
    return content.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943\nsize 9\n"
OTHER_FILES = {
    "empty": (lambda w: b"", "it is empty"),
    "text": (lambda w: b"Dear model,\n" * 90, 'it is text, beginning "Dear model,'),
    "text in Chinese": (lambda w: "模型权重".encode() * 200, "it is text, beginning"),
    "JSON": (lambda w: b'{"error": "not found"}', "it is text, beginning"),
    "web page": (lambda w: b"\n<!DOCTYPE html><html>" + b" " * 900, "it is a web page"),
    "LFS pointer": (lambda w: LFS, "git lfs pull"),
    "tar": (tar, "it is a tar archive; unpack it"),
    "gzip": (lambda w: gzip.compress(torch_file(w)), "it is a gzip archive; unpack it"),
    "zip of files": (lambda w: zipped("a/weights.pth", "a/readme.txt"), "it holds a/weights.pth, a/readme.txt"),
    "zip of many": (lambda w: zipped(*map(str, range(99))), "it holds 0, 1, 2, 3, 4 ... and 94 more"),
    "TorchScript": (script, "a program of TorchScript"),
    "torch.export": (program, "a program of torch.export"),
    "ONNX": (lambda w: b"\x08\x0a\x12\x07pytorch\x1a\x05" + bytes(600), "a program of ONNX"),
    "numpy": (lambda w: b"\x93NUMPY\x01\x00" + bytes(600), "neither torch.save nor safetensors has written it"),
    "noise": (lambda w: bytes(range(128, 256)) * 9, "neither torch.save nor safetensors has written it"),
    "half a zip": (lambda w: torch_file(w)[:-9000], "cut short or damaged"),
    "start of a zip": (lambda w: torch_file(w)[:100], "cut short or damaged"),
    "half legacy": (lambda w: torch_file(w, _use_new_zipfile_serialization=False)[:-9000], "cut short or damaged"),
    "start of legacy": (lambda w: torch_file(w, _use_new_zipfile_serialization=False)[:100], "cut short or damaged"),
    "half safetensors": (lambda w: save(w)[:-9000], "cut short"),
    "start of safetensors": (lambda w: save(w)[:100], "cut short"),
    "later pickle protocol": (lambda w: torch_file(w, pickle_protocol=4), "torch cannot read it"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("what", OTHER_FILES)
def test_what_a_file_is_that_holds_no_weights(weights, tmp_path, what, suffix):
    make, expected = OTHER_FILES[what]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make(weights))
    text = refusal(path)
    assert expected in text
    assert f"not a readable {'.safetensors' if suffix == '.safetensors' else 'weights'} file" in text


def test_checkpoints_without_weights(weights, tmp_path):
    path = tmp_path / "a.pth"
    assert "no such file" in refusal(path)
    assert "is a folder, not a file" in refusal(tmp_path)
    assert "`model` in it holds no weights; found model, model_ema" in refusal(
        saved({"model": None, "model_ema": None}, path)
    )
    assert "it holds no weights; found epoch" in refusal(saved({"epoch": 3}, path))
    assert "it holds no weights; found nothing" in refusal(saved({}, path))
    assert "it holds a list, not weights by name" in refusal(saved([1, 2], path))
    assert "it holds a Tensor, not weights by name" in refusal(saved(torch.zeros(3), path))
    assert "none called model: generator, critic" in refusal(saved({"generator": weights, "critic": weights}, path))
    twice = {"encoder.a": torch.zeros(1), "module.encoder.a": torch.zeros(1)}
    assert "two of its weights have one name" in refusal(saved({"model": twice}, path))


def test_no_error_lists_hundreds_of_names(weights, tmp_path):
    path = tmp_path / "a.pth"
    others = {f"layers.{i}.weight": torch.zeros(1) for i in range(700)}
    text = refusal(saved(others, path))
    assert "missing encoder.patch_embed.proj.weight" in text
    assert "layers.4.weight ... and 695 more" in text
    assert text.count("layers.") == 5
    text = refusal(saved({f"key {i}": i for i in range(700)}, path))
    assert "key 4 ... and 695 more" in text
    few = {key: value for key, value in weights.items() if "blocks" not in key}
    text = refusal(saved(few | others, path))
    assert text.count("missing ") == 5
    num_more = len(weights) - len(few) + 700 - 5
    assert text.endswith(f" ... and {num_more} more")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_weights_of_another_precision_become_single(weights, tmp_path, dtype):
    other = {key: value.to(dtype) for key, value in weights.items()}
    single = {key: value.to(torch.float32) for key, value in other.items()}
    expect(saved({"model": other}, tmp_path / "a.pth"), single)
    save_file(other, tmp_path / "b.safetensors")
    expect(tmp_path / "b.safetensors", single)


def bad(weights, key, change):
    return weights | {key: change(weights[key])}


@pytest.mark.parametrize(
    ("key", "change", "expected"),
    [
        ("head.weight", lambda t: torch.full_like(t, torch.nan), "head.weight holds NaN or infinity in 1,536 of 1,536"),
        ("fc_norm.bias", lambda t: t.index_fill(0, torch.tensor([3]), torch.inf), "holds NaN or infinity in 1 of 512"),
        ("head.bias", lambda t: t.double() + 1e300, "head.bias holds NaN or infinity in 3 of 3 values"),
        ("head.bias", lambda t: torch.zeros(9), "head.bias has shape [9] instead of [3]"),
        ("encoder.norm.weight", lambda t: t.to(torch.int8), "encoder.norm.weight is no floating-point tensor"),
        ("encoder.norm.weight", lambda t: "x", "encoder.norm.weight is no floating-point tensor"),
        ("encoder.norm.weight", lambda t: t.to_sparse(), "encoder.norm.weight is a sparse tensor"),
        ("encoder.norm.weight", lambda t: t.to("meta"), "encoder.norm.weight is a sparse tensor or one without values"),
        ("head.weight", lambda t: torch.tensor(3.0), "head.weight is shape [] instead of a tensor of 2 axes"),
        ("head.weight", lambda t: None, "head.weight is a NoneType instead of a tensor of 2 axes"),
        ("encoder.patch_embed.proj.weight", lambda t: t[0], "instead of a tensor of 5 axes"),
    ],
)  # fmt: skip
def test_tensors_that_cannot_be_taken_are_named(weights, tmp_path, key, change, expected):
    assert expected in refusal(saved({"model": bad(weights, key, change)}, tmp_path / "a.pth"))


def test_wrong_shapes_come_before_what_is_missing(weights, tmp_path):
    few = {key: value for key, value in weights.items() if "encoder_fusion" not in key}
    few["head.bias"] = torch.zeros(9)
    text = refusal(saved({"model": few}, tmp_path / "a.pth"))
    assert "do not fit the demo Classifier: head.bias has shape [9] instead of [3], missing encoder_fusion" in text


def blocks(prefix, dim, num):
    return {f"{prefix}blocks.{i}.attn.qkv.weight": torch.zeros(3 * dim, dim) for i in range(num)}


OTHER_MODELS = {
    "VideoMAE": (
        {"encoder.patch_embed.proj.weight": torch.zeros(8, 3, 2, 16, 16), "mask_token": torch.zeros(1, 1, 4)}
        | blocks("encoder.", 8, 12) | blocks("decoder.", 4, 4),
        "a video encoder alone, as those of VideoMAE, MAE-DFER",
    ),
    "VideoMAE, fine-tuned": (
        {"patch_embed.proj.weight": torch.zeros(8, 3, 2, 16, 16), "head.weight": torch.zeros(7, 8)} | blocks("", 8, 12),
        "of a single transformer, as a fine-tuned VideoMAE, MAE-DFER or AudioMAE",
    ),
    "audio alone": (
        {"encoder_audio.patch_embed.proj.weight": torch.zeros(8, 1, 16, 16)} | blocks("encoder_audio.", 8, 12),
        "an audio encoder alone",
    ),
    "another": ({"conv1.weight": torch.zeros(8, 3, 7, 7)}, "found conv1.weight"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_weights_of_other_models_are_told_apart(tmp_path, name):
    content, expected = OTHER_MODELS[name]
    for wrapped in (content, {"model": content}, {f"module.{key}": value for key, value in content.items()}):
        text = refusal(saved(wrapped, tmp_path / "a.pth"))
        assert "so not the weights of HiCMAE" in text
        assert expected in text


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_a_model_of_one_modality_under_the_authors_names_is_refused(tmp_path, modality):
    state_dict = classifier("demo", 3, modality=modality).state_dict()
    assert f"trained on {modality}" in refusal(saved({"model": state_dict}, tmp_path / "a.pth"))


def test_pretraining_weights_are_read_in_the_same_ways(tmp_path):
    source = pretraining_model("demo")
    content = {f"_orig_mod.{key}": value for key, value in source.state_dict().items()}
    loaded, metadata = load_model(saved({"state_dict": content, "x": np.float64(1)}, tmp_path / "a.ckpt"))
    assert metadata == {"size": "demo", "source": "a.ckpt"}
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_a_damaged_header_is_told(weights, tmp_path):
    save_file(weights, tmp_path / "a.safetensors", {"hicmae": "{not JSON"})
    with pytest.raises(ValueError, match=r"a\.safetensors: not a readable \.safetensors file: its header is damaged"):
        load_model(tmp_path / "a.safetensors")


def test_a_model_of_this_project_is_no_checkpoint_of_others(source, tmp_path):
    save_model(tmp_path / "a.pth", source, {})
    with pytest.raises(ValueError, match=r"a\.pth: is a model of this project, not a checkpoint"):
        load_reference_checkpoint(tmp_path / "a.pth")

"""Whatever is wrong with data, settings or checkpoints: one message, exit code 2, and nothing written or overwritten.

The real command line throughout; within this process, but for the cases where a fresh one could behave differently.
"""

import contextlib
import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
import yaml

from helpers.cli import run_cli_in_process, run_cli_subprocess
from helpers.precomp import write_dataset, write_lines, write_precomp
from tangka_match.data.features import RegionFeatures
from tangka_match.training.passport import PASSPORT_KEY

SMALL = ("+experiment=debug", "data=precomp", "data.batch_size=4", "scheduler.warmup_steps=1")
ONE_EPOCH = ("trainer.max_steps=-1", "trainer.max_epochs=1")


def places(folder):
    names = {"paths.runs": "runs", "paths.checkpoints": "checkpoints", "paths.data": "data", "data.root": "set"}
    return tuple(f"{key}={folder / name}" for key, name in names.items())


def contents(folder):
    """Every file and folder, with what is in it; the lock of a run says only who looked at it last."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def assert_one_message(done, *said):
    assert done.code == 2, done
    assert "Traceback" not in done.stdout + done.stderr
    assert re.match(r"[A-Z]\w+Error: ", done.stderr), done.stderr
    assert len(re.findall(r"(?m)^\S*(?:Error|Exception|Warning)\b", done.stderr)) == 1, done.stderr
    for pattern in said:
        assert re.search(pattern, done.stderr), done.stderr


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set")


# ---- data --------------------------------------------------------------------------------------------------------


def change_features(root, where, value):
    array = np.load(root / "train_ims.npy")
    array[where] = value
    np.save(root / "train_ims.npy", array)


def missing_folder(root):
    shutil.rmtree(root)


def missing_features(root):
    (root / "train_ims.npy").unlink()


def missing_captions(root):
    (root / "dev_caps.txt").unlink()


def empty_caption(root):
    write_lines(root / "train_caps.txt", ["狗"] * 6 + [" "] + ["猫"] * 5)


def caption_of_punctuation(root):
    write_lines(root / "train_caps.txt", ["狗"] * 6 + ["。。"] + ["猫"] * 5)


def no_captions(root):
    (root / "train_caps.txt").write_bytes(b"")


def count_that_does_not_fit(root):
    write_lines(root / "train_caps.txt", ["狗"] * 20)


def ragged_captions_of_other_images(root):
    write_lines(root / "train_caps.txt", ["狗"] * 20)
    write_lines(root / "train_ids.txt", [f"image-{n // 2}" for n in range(20)])


def nan_features(root):
    change_features(root, (np.array([7, 5]), 2, 1), np.nan)


def infinite_features(root):
    change_features(root, (3, 0, 0), np.inf)


def wrong_dtype(root):
    np.save(root / "train_ims.npy", np.load(root / "train_ims.npy").astype(np.float64))


def wrong_dimensions(root):
    np.save(root / "train_ims.npy", np.load(root / "train_ims.npy")[:, 0])


def truncated(root):
    os.truncate(root / "train_ims.npy", 500)


def not_an_array(root):
    (root / "train_ims.npy").write_text("绿度母")


def other_dimensions_than_train(root):
    write_precomp(root, "val", images=6, dim=16)


def not_utf8(root):
    (root / "train_caps.txt").write_bytes("绿度母\n".encode() * 5 + "白度母\n".encode("gb18030") * 7)


def ids_that_repeat(root):
    write_lines(root / "train_ids.txt", [f"image-{n % 10}" for n in range(12)])


def ids_that_do_not_match(root):
    write_lines(root / "train_ids.txt", [f"image-{n}" for n in range(9)])


DATA_FAULTS = [
    (missing_folder, r"data\.root must be a folder.*found nothing at .*/set\. Give the folder"),
    (missing_features, r"looked for .*/train_ims\.npy; splits found in this folder: val\. .*write the missing files"),
    (missing_captions, r"/dev_caps\.txt is missing\. Write it as UTF-8, one caption a line"),
    (empty_caption, r"/train_caps\.txt: 1 of 12 lines are empty: 7\..*fill or remove"),
    (caption_of_punctuation, r"/train_caps\.txt: line 7 has no word left after tokenising\. Write a caption"),
    (no_captions, r"/train_caps\.txt: holds no text\. Write one entry a line, UTF-8"),
    (count_that_does_not_fit, r"/train_ims\.npy: 12 rows do not fit 20 captions\. Allowed: N·k captions"),
    (ragged_captions_of_other_images, r"/train_ids\.txt: 20 ids, one a caption, name 10 images; .* 12 rows\. Allowed"),
    (
        nan_features,
        r"/train_ims\.npy: row 5 \(image id '5'\), region 2: NaN or Inf; 2 such .* extract this image again",
    ),
    (infinite_features, r"/train_ims\.npy: row 3 .*region 0: NaN or Inf; 1 such"),
    (wrong_dtype, r"/train_ims\.npy: .* in float16 or float32; found .* dtype <f8\. Convert with np\.save"),
    (wrong_dimensions, r"/train_ims\.npy: .* \(images, regions, dimensions\).* found shape \(12, 8\)"),
    (truncated, r"/train_ims\.npy: .*truncated: 500 bytes found, 896 promised"),
    (not_an_array, r"/train_ims\.npy: "),
    (other_dimensions_than_train, r"train_ims\.npy has \(regions, dimensions\) \(4, 8\), .*dev_ims\.npy has \(4, 16\)"),
    (not_utf8, r"/train_caps\.txt: line 6, byte 1 \(0xb0\) is not UTF-8.*iconv -f GB18030 -t UTF-8"),
    (ids_that_repeat, r"/train_ids\.txt: image id 'image-0' .*line 1 .*line 11"),
    (ids_that_do_not_match, r"/train_ids\.txt: 9 ids for 12 images and 12 captions.* Allowed: 12 ids"),
]


@pytest.mark.parametrize(("spoil", "said"), DATA_FAULTS, ids=[spoil.__name__ for spoil, _ in DATA_FAULTS])
def test_a_fault_of_the_data(root, tmp_path, spoil, said):
    spoil(root)
    before = contents(tmp_path)
    assert_one_message(run_cli_in_process(*SMALL, *places(tmp_path)), said)
    assert contents(tmp_path) == before


def test_a_fault_of_the_data_in_a_fresh_process(root, tmp_path):
    truncated(root)
    before = contents(tmp_path)
    done = run_cli_subprocess(*SMALL, *places(tmp_path), cwd=tmp_path)
    assert_one_message(done, r"/train_ims\.npy: .*truncated: 500 bytes found, 896 promised")
    assert (done.stdout, contents(tmp_path)) == ("", before)


@pytest.mark.parametrize("workers", [0, 2])
def test_nan_outside_the_sample_is_found_in_its_batch(tmp_path, workers):
    root = write_dataset(tmp_path / "set", train=200)
    looked_at = RegionFeatures.open(root / "train_ims.npy").sample().tolist()
    row = next(n for n in range(100, 200) if n not in looked_at)
    change_features(root, (row, 1, 3), np.nan)
    before = contents(root)
    words = (*SMALL, *ONE_EPOCH, *places(tmp_path), "data.batch_size=50", f"data.num_workers={workers}")
    done = run_cli_in_process(*words)
    assert_one_message(done, rf"/train_ims\.npy: row {row} \(image id '{row}'\), region 1: NaN or Inf; 1 such")
    assert contents(root) == before
    assert list(tmp_path.glob("checkpoints/**/*.ckpt")) == []


# ---- settings ----------------------------------------------------------------------------------------------------

SETTING_FAULTS = [
    (("data.batch_szie=4",), r"data\.batch_szie: there is no such setting\. Did you mean data\.batch_size"),
    (("+data.batch_szie=4",), r"data\.batch_szie: .* takes no such argument\. Did you mean batch_size"),
    (("+trainer.max_epoch=4",), r"trainer\.max_epoch: there is no such setting\. Did you mean max_epochs"),
    (("+lerning_rate=4",), r"lerning_rate: there is no such setting"),
    (("model=vsee",), r"model=vsee: there is no conf/model/vsee\.yaml\. Did you mean vse\? Allowed: dual_path"),
    (("optimizer.lr=abc",), r"optimizer\.lr='abc': torch\.optim\.AdamW takes float"),
    (("optimizer.lr=-1",), r"optimizer: torch\.optim\.AdamW refuses .*'lr': -1.*Invalid learning rate: -1"),
    (("loss.margin=-2",), r"loss: margin=-2 is outside \[0, inf\]"),
    (("model.dropout=2",), r"dropout is 2; it must be at least 0 and below 1"),
    (("data.batch_size=5000",), r"data\.batch_size=5000 .* there are 12\. Set data\.batch_size to at most 12"),
    (("scheduler.warmup_steps=99",), r"scheduler\.warmup_steps=99 but the run has 6 optimizer steps: lower"),
    (("trainer.devices=2",), r"devices=2 with strategy='auto': several devices need strategy=ddp"),
    (
        ("trainer.precision=16-mixed",),
        r"precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16-mixed",
    ),
    (
        ("training.early_stopping_patience=9",),
        r"early_stopping_patience=9 .* trainer\.max_epochs=2: lower the patience",
    ),
    (("data=f8kcn_small",), r"/train_ims\.npy: split 'train' has 12 images, but this data config expects 2,910"),
    (("paths.runs=/proc/nowhere",), r"/proc/nowhere.*cannot make the run folder .*set paths\.runs"),
    (("data.vocabulary_path=none.json",), r"none\.json: cannot read the vocabulary \(No such file"),
    (
        ("resume=20260101",),
        r"resume=20260101 goes on with .* own settings, but the command also gives \+experiment=debug",
    ),
]


@pytest.mark.parametrize(("words", "said"), SETTING_FAULTS, ids=[words[0] for words, _ in SETTING_FAULTS])
def test_a_fault_of_the_settings(root, tmp_path, words, said):
    before = contents(tmp_path)
    assert_one_message(run_cli_in_process(*SMALL, *places(tmp_path), *words), said)
    assert contents(tmp_path) == before


def test_a_typo_in_a_fresh_process(tmp_path):
    done = run_cli_subprocess(*SMALL, *places(tmp_path), "optimzer.lr=1", cwd=tmp_path)
    assert_one_message(done, r"optimzer\.lr: there is no such setting\. Did you mean optimizer\.lr")
    assert (done.stdout, contents(tmp_path)) == ("", {})


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(root, tmp_path):
    before = contents(tmp_path)
    done = run_cli_in_process(*SMALL, *places(tmp_path), "trainer=gpu")
    assert_one_message(done, r"trainer\.accelerator='gpu': .* finds no GPU .*use trainer=cpu")
    assert contents(tmp_path) == before


def test_wandb_online_without_a_login(root, tmp_path):
    nobody = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")}
    done = run_cli_subprocess(*SMALL, *places(tmp_path), "logger=wandb_online", env=nobody, cwd=tmp_path)
    assert_one_message(done, r"W&B did not start \(No API key .*run `wandb login` .* or use logger=wandb,")


# ---- runs and checkpoints ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of one epoch, with its data."""
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "set")
    done = run_cli_in_process(*SMALL, *ONE_EPOCH, *places(folder))
    assert done.code == 0, done
    return folder


class Stopped:
    """A run that was killed after its first epoch of two."""

    def __init__(self, folder):
        (self.path,) = folder.glob("runs/*")
        (self.last,) = folder.glob("checkpoints/debug/*/last.ckpt")
        self.folder = folder
        self.change_config(lambda config: config["trainer"].update(max_epochs=2))
        ledger = self.path / "ledger.jsonl"
        events = [line for line in ledger.read_text("utf-8").splitlines() if json.loads(line)["event"] != "end"]
        write_lines(ledger, events)

    def change_config(self, change):
        config = yaml.safe_load((self.path / "config.yaml").read_text("utf-8"))
        change(config)
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")

    def change_checkpoint(self, change):
        checkpoint = torch.load(self.last, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, self.last)

    def resume(self, how=run_cli_in_process):
        return how(f"resume={self.path.name}", *places(self.folder))


@pytest.fixture
def stopped(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return Stopped(tmp_path / "run")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def other_architecture(run):
    run.change_config(lambda config: config["model"].update(embed_dim=32))


def checkpoint_of_another_model(run):
    run.change_checkpoint(lambda checkpoint: checkpoint[PASSPORT_KEY]["model"].update(lstm_dim=48))


def other_vocabulary(run):
    captions = run.folder / "set" / "train_caps.txt"
    captions.write_text(captions.read_text("utf-8").replace("绿度母", "大威德"), encoding="utf-8")


def half_a_checkpoint(run):
    os.truncate(run.last, 1_000)


def empty_checkpoint(run):
    run.last.write_bytes(b"")


def checkpoint_of_another_project(run):
    torch.save({"state_dict": {}}, run.last)


CHECKPOINT_FAULTS = [
    (
        other_architecture,
        r"/last\.ckpt belongs to another model.*\n  model\.embed_dim: 64 in the checkpoint, 32 here\n",
    ),
    (
        checkpoint_of_another_model,
        r"/last\.ckpt belongs to another model.*\n  model\.lstm_dim: 48 in the checkpoint, 32",
    ),
    (
        other_vocabulary,
        r"/last\.ckpt belongs to another .*\n  vocabulary_fingerprint: '\w+' in the checkpoint, '\w+' here",
    ),
    (half_a_checkpoint, r"/last\.ckpt: damaged or half-written, 1,000 bytes .* use the other of best\.ckpt"),
    (empty_checkpoint, r"/last\.ckpt: damaged or half-written, 0 bytes"),
    (checkpoint_of_another_project, r"/last\.ckpt: not a checkpoint of tangka_match"),
]


@pytest.mark.parametrize(("spoil", "said"), CHECKPOINT_FAULTS, ids=[spoil.__name__ for spoil, _ in CHECKPOINT_FAULTS])
def test_a_checkpoint_that_does_not_fit(stopped, spoil, said):
    spoil(stopped)
    before = contents(stopped.folder)
    assert_one_message(stopped.resume(), said)
    assert contents(stopped.folder) == before


def test_a_run_that_has_finished(trained):
    before = contents(trained)
    assert_one_message(
        run_cli_in_process("resume=last", *places(trained)), r"this run has finished; its checkpoints are"
    )
    assert contents(trained) == before


def test_a_run_that_is_not_there(trained):
    before = contents(trained)
    done = run_cli_in_process("resume=20200101", *places(trained))
    assert_one_message(done, r"resume=20200101: no run fits under .*/runs; the newest are:\n  20\d+")
    assert contents(trained) == before


def save_as_zip(bomb, path):
    torch.save({PASSPORT_KEY: bomb}, path)


def save_as_pickle(bomb, path):
    path.write_bytes(pickle.dumps(bomb))


@pytest.mark.parametrize(
    ("save", "how"), [(save_as_zip, run_cli_in_process), (save_as_pickle, run_cli_subprocess)], ids=["zip", "pickle"]
)
def test_a_checkpoint_that_would_run_code(stopped, tmp_path, save, how):
    mark = tmp_path / "it ran"
    save(Bomb(mark), stopped.last)
    with contextlib.suppress(RuntimeError):
        torch.load(stopped.last, weights_only=False)
    mark.rmdir()  # it would have gone off
    before = contents(stopped.folder)
    assert_one_message(
        stopped.resume(how), r"/last\.ckpt: refused, .*nothing in it was run\. Take the file from somebody"
    )
    assert not mark.exists()
    assert contents(stopped.folder) == before


def test_a_vocabulary_that_would_run_code(root, tmp_path):
    mark, path = tmp_path / "it ran", tmp_path / "vocab.pkl"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    pickle.loads(path.read_bytes())
    mark.rmdir()  # it would have gone off
    before = contents(tmp_path)
    done = run_cli_in_process(*SMALL, *places(tmp_path), f"data.vocabulary_path={path}")
    assert_one_message(
        done, r"/vocab\.pkl: the pickle asks for \w+\.mkdir, which a vocabulary never needs; nothing was run"
    )
    assert not mark.exists()
    assert contents(tmp_path) == before


# ---- a full disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True, capture_output=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here to fill it up ({error})")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)  # noqa: S607


@pytest.mark.parametrize(("what", "left"), [("checkpoints", 0), ("everything", 20_000)])
def test_a_full_disk_costs_no_checkpoint(trained, small_disk, tmp_path, what, left):
    shutil.copytree(trained, tmp_path / "run")
    if what == "checkpoints":
        shutil.move(tmp_path / "run" / "checkpoints", small_disk / "checkpoints")
        (tmp_path / "run" / "checkpoints").symlink_to(small_disk / "checkpoints")
    else:
        shutil.move(tmp_path / "run", small_disk / "run")
        (tmp_path / "run").symlink_to(small_disk / "run")
    run = Stopped(tmp_path / "run")
    weights = contents(run.last.parent)
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(small_disk).free - left))
    assert_one_message(
        run.resume(), r"/(best|last)\.ckpt: cannot write .* bytes are free .*the previous one is untouched"
    )
    assert contents(run.last.parent) == weights
    (small_disk / "filler").unlink()
    assert run.resume().code == 0

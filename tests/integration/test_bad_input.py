"""Faulty data and settings: one message, exit code 2, nothing written or overwritten.

Commands run in this process, except where a fresh one could behave differently.
"""

import os
import pickle
import shutil

import numpy as np
import pytest
import torch

from helpers.bad_input import ONE_EPOCH, SMALL, Bomb, assert_one_message, contents, places
from helpers.cli import run_cli_in_process, run_cli_subprocess
from helpers.precomp import write_dataset, write_lines, write_precomp
from tangka_match import demo_data
from tangka_match.data.features import RegionFeatures


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set")


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


def captions_with_keys(root):
    write_lines(root / "train_caps.txt", [f"{n}.jpg 一只狗" for n in range(12)])


def features_of_another_program(root):
    np.savez(root / "train.npz", features=np.load(root / "train_ims.npy"))
    (root / "train_ims.npy").unlink()


def captions_in_utf16(root):
    (root / "train_caps.txt").write_bytes("一只狗\n".encode("utf-16") * 12)


def captions_in_big5(root):
    (root / "train_caps.txt").write_bytes("一個女人和兩隻狗在路上\n".encode("big5") * 12)


def ids_that_repeat(root):
    write_lines(root / "train_ids.txt", [f"image-{n % 10}" for n in range(12)])


def ids_that_do_not_match(root):
    write_lines(root / "train_ids.txt", [f"image-{n}" for n in range(9)])


DATA_FAULTS = [
    (missing_folder, r"data\.root must be a folder.*found nothing at .*/set\. Set it to the folder"),
    (missing_features, r"looked for .*/train_ims\.npy; splits found in this folder: val\. .*write the missing files"),
    (missing_captions, r"/dev_caps\.txt is missing\. Write it as UTF-8, one caption per line"),
    (empty_caption, r"/train_caps\.txt: 1 of 12 lines are empty: 7\..*fill or remove"),
    (
        caption_of_punctuation,
        r"/train_caps\.txt: 1 caption of 12 without a word after tokenising: line 7\. Write captions",
    ),
    (no_captions, r"/train_caps\.txt: the file is empty\. Write one entry per line, UTF-8"),
    (count_that_does_not_fit, r"/train_ims\.npy: 12 rows do not fit 20 captions\. Allowed: k captions per image"),
    (
        ragged_captions_of_other_images,
        r"/train_ids\.txt: 20 ids, one per caption, .*10 images; .* 12 rows\. Allow",
    ),
    (
        nan_features,
        r"/train_ims\.npy: row 5 \(image id '5'\), region 2: NaN or Inf; 2 such .* extract this image again",
    ),
    (infinite_features, r"/train_ims\.npy: row 3 .*region 0: NaN or Inf; 1 such"),
    (wrong_dtype, r"/train_ims\.npy: .* in float16 or float32; found dtype <f8\. Convert with np\.save"),
    (captions_with_keys, r"/train_caps\.txt: the lines begin with an image file: '0\.jpg .*tangka_match\.prepare"),
    (
        features_of_another_program,
        r"/train_ims\.npy; .*python -m tangka_match\.prepare features=.*/train\.npz captions",
    ),
    (captions_in_utf16, r"/train_caps\.txt: line 1, .*Convert the file: iconv -f UTF-16 -t UTF-8 train_caps\.txt"),
    (captions_in_big5, r"/train_caps\.txt: line 1, .*iconv -f BIG5 -t UTF-8"),
    (wrong_dimensions, r"/train_ims\.npy: .* \(images, regions, dimensions\).* found shape \(12, 8\)"),
    (truncated, r"/train_ims\.npy: .*truncated: 500 bytes found, 896 expected"),
    (not_an_array, r"/train_ims\.npy: "),
    (other_dimensions_than_train, r"train_ims\.npy has \(regions, dimensions\) \(4, 8\), .*dev_ims\.npy has \(4, 16\)"),
    (not_utf8, r"/train_caps\.txt: line 6, byte 1 \(0xb0\) is not UTF-8.*iconv -f GB18030 -t UTF-8"),
    (ids_that_repeat, r"/train_ids\.txt: image id 'image-0' .*line 1 .*line 11"),
    (ids_that_do_not_match, r"/train_ids\.txt: 9 ids for 12 images and 12 captions.* Allowed: 12 ids"),
]


@pytest.mark.parametrize(("damage", "message"), DATA_FAULTS, ids=[damage.__name__ for damage, _ in DATA_FAULTS])
def test_exception_faulty_data(root, tmp_path, damage, message):
    damage(root)
    before = contents(tmp_path)
    assert_one_message(run_cli_in_process(*SMALL, *places(tmp_path)), message)
    assert contents(tmp_path) == before


def test_exception_faulty_data_in_a_fresh_process(root, tmp_path):
    truncated(root)
    before = contents(tmp_path)
    done = run_cli_subprocess(*SMALL, *places(tmp_path), cwd=tmp_path)
    assert_one_message(done, r"/train_ims\.npy: .*truncated: 500 bytes found, 896 expected")
    assert (done.stdout, contents(tmp_path)) == ("", before)


@pytest.mark.parametrize("workers", [0, 2])
def test_nan_outside_the_checked_sample_is_found_in_its_batch(tmp_path, workers):
    root = write_dataset(tmp_path / "set", train=200)
    sampled = RegionFeatures.open(root / "train_ims.npy").sample_indices().tolist()
    row = next(n for n in range(100, 200) if n not in sampled)
    change_features(root, (row, 1, 3), np.nan)
    before = contents(root)
    words = (*SMALL, *ONE_EPOCH, *places(tmp_path), "data.batch_size=50", f"data.num_workers={workers}")
    done = run_cli_in_process(*words)
    assert_one_message(done, rf"/train_ims\.npy: row {row} \(image id '{row}'\), region 1: NaN or Inf; 1 such")
    assert contents(root) == before
    assert list(tmp_path.glob("checkpoints/**/*.ckpt")) == []


SETTING_FAULTS = [
    (("data.batch_szie=4",), r"data\.batch_szie: there is no such setting\. Did you mean data\.batch_size"),
    (("+data.batch_szie=4",), r"data\.batch_szie: .* takes no such argument\. Did you mean batch_size"),
    (("+trainer.max_epoch=4",), r"trainer\.max_epoch: there is no such setting\. Did you mean max_epochs"),
    (("+lerning_rate=4",), r"lerning_rate: there is no such setting"),
    (
        ("model=vsee",),
        r"model=vsee: there is no conf/model/vsee\.yaml\. Did you mean vse\? Allowed: bert_vse, bert_vse_inf",
    ),
    (("optimizer.lr=abc",), r"optimizer\.lr='abc': torch\.optim\.AdamW takes float"),
    (("optimizer.lr=-1",), r"optimizer: torch\.optim\.AdamW refuses .*'lr': -1.*Invalid learning rate: -1"),
    (("loss.margin=-2",), r"loss: margin=-2 is outside \[0, inf\]"),
    (("model.dropout=2",), r"dropout is 2; it must be at least 0 and below 1"),
    (("scheduler.warmup_steps=-1",), r"scheduler\.warmup_steps=-1 must be >= 0"),
    (("trainer.devices=2",), r"devices=2 with strategy='auto': several devices need strategy=ddp"),
    (
        ("trainer.precision=16-mixed",),
        r"precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16-mixed",
    ),
    (("data=f8kcn_small",), r"/train_ims\.npy: split 'train' has 12 images, but data.expected_counts expects 2,910"),
    (("paths.runs=/proc/nowhere",), r"/proc/nowhere.*cannot make the run folder .*set paths\.runs"),
    (("data.vocabulary_path=none.json",), r"none\.json: cannot read the vocabulary \(No such file"),
    (
        ("resume=20260101",),
        r"resume=20260101 continues a run with its own settings, but the command also sets \+experiment=debug",
    ),
]


@pytest.mark.parametrize(("words", "message"), SETTING_FAULTS, ids=[words[0] for words, _ in SETTING_FAULTS])
def test_exception_faulty_settings(root, tmp_path, words, message):
    before = contents(tmp_path)
    assert_one_message(run_cli_in_process(*SMALL, *places(tmp_path), *words), message)
    assert contents(tmp_path) == before


def test_exception_misspelt_setting_in_a_fresh_process(tmp_path):
    done = run_cli_subprocess(*SMALL, *places(tmp_path), "optimzer.lr=1", cwd=tmp_path)
    assert_one_message(done, r"optimzer\.lr: there is no such setting\. Did you mean optimizer\.lr")
    assert (done.stdout, contents(tmp_path)) == ("", {})


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_exception_gpu_requested_without_a_gpu(root, tmp_path):
    before = contents(tmp_path)
    done = run_cli_in_process(*SMALL, *places(tmp_path), "trainer=gpu")
    assert_one_message(done, r"trainer\.accelerator='gpu': .* finds no GPU .*use trainer=cpu")
    assert contents(tmp_path) == before


def test_exception_wandb_online_without_login(root, tmp_path):
    logged_out = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")}
    done = run_cli_subprocess(*SMALL, *places(tmp_path), "logger=wandb_online", env=logged_out, cwd=tmp_path)
    assert_one_message(done, r"W&B did not start \(online: No API key .*`wandb login` .* set logger\.offline=true,")


def test_malicious_vocabulary_is_not_run(root, tmp_path):
    mark, path = tmp_path / "it ran", tmp_path / "vocab.pkl"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    pickle.loads(path.read_bytes())
    mark.rmdir()  # the check above shows that the file is malicious
    before = contents(tmp_path)
    done = run_cli_in_process(*SMALL, *places(tmp_path), f"data.vocabulary_path={path}")
    assert_one_message(
        done,
        r"/vocab\.pkl: the pickle refers to \w+\.mkdir, but only .*; nothing was executed",
    )
    assert not mark.exists()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.writer.noise=abc",), r"data\.writer\.noise='abc': .*DemoWriter takes float"),
        (("data.writer.train=-5",), r"data\.writer\.train=-5 must be >= 1"),
        (
            ("data=precomp", "data.root=set"),
            r"data\.writer is not set: this data set cannot be written; use data=demo or data=demo_small",
        ),
    ],
)
def test_exception_faulty_demo_settings(tmp_path, words, message):
    done = run_cli_in_process(f"paths.data={tmp_path}", *words, main=demo_data.main)
    assert_one_message(done, message)
    assert contents(tmp_path) == {}

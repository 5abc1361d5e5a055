import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import wandb
from PIL import Image

from helpers.precomp import write_precomp
from helpers.wandb_files import find_offline_runs
from helpers.wandb_server import wandb_server
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError
from tangka_match.metric_names import HIGHER_IS_BETTER, RANK_STATISTICS
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.answers import Answer, Example, Examples, pick_examples
from tangka_match.training.settings import LoggerSettings
from tangka_match.training.wandb_run import (
    MAX_NAME_LENGTH,
    examples_tables,
    finish_wandb,
    keep_best,
    short_name,
    start_wandb,
)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], ""),
        (["data.root=/data/tk", "logger.project=x", "tags=[a,b]", "resume=last", "seeds=[0,1]", "sweep.retries=2"], ""),
        (["+experiment=targeted", "loss=triplet", "model.embed_dim=64"], "targeted loss=triplet embed_dim=64"),
        (["seed=0", "seed=1"], "seed=1"),
        (["++data.rooted=1", "sweeper=1"], "rooted=1 sweeper=1"),
        (["name=唐卡"], "name=唐卡"),
    ],
)
def test_name_shows_overrides_but_no_paths(overrides, name):
    assert short_name(overrides) == name


def test_long_name_is_shortened_with_an_ellipsis():
    name = short_name([f"setting_{n}=1" for n in range(30)])
    assert len(name) == MAX_NAME_LENGTH
    assert name.endswith("…")


CONFIG = {"seed": 3, "model": {"_target_": "tangka_match.models.VSE", "dim": 8}, "说明": "唐卡"}
OVERRIDES = ["+experiment=targeted", "optimizer.lr=1e-4", "seed=3", "paths.runs=elsewhere"]
WEIGHTS = b"weights" * 100


def make_folder(path, run_id="20260101-000000-aaaaaa-0000"):
    folder = RunFolder(run_id, path / "runs" / run_id, path / "checkpoints" / run_id)
    folder.path.mkdir(parents=True)
    folder.checkpoints.mkdir(parents=True)
    folder.best.write_bytes(WEIGHTS)
    (folder.path / "result.json").write_text(json.dumps({"val_metrics": {"mean_r1": 37.5}, "说明": "唐卡"}))
    return folder


THANGKA = LoggerSettings(kind="wandb", project="thangka")


def start(folder, overrides=OVERRIDES, settings=THANGKA):
    about = {"name": "targeted", "group": "a-sweep", "tags": ("targeted", "seed3"), "overrides": overrides}
    return start_wandb(settings, folder, config=CONFIG, **about)


def keep(service, folder, data):
    split = load_split(data, "val")
    scores = torch.eye(len(split.captions))
    ranks = retrieval_ranks(scores, torch.as_tensor(split.caption_to_image))
    keep_best(service, folder, pick_examples(scores, ranks, split), split)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run twice in one process: one run finishes, the other crashes after its first validation."""
    path = tmp_path_factory.mktemp("wandb")
    write_precomp(path / "data", "dev", images=7)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(path / "home"))
        for run_id, exit_code in (("finished", 0), ("crashed", 1)):
            folder = make_folder(path, run_id)
            service = start(folder)
            for step in range(3 if exit_code == 0 else 1):
                service.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
            service.log_metrics({"val/mean_r1": 40.0, "val/loss": 2.0, "val/i2t_mean_rank": 5.0}, 0)
            service.log_metrics({"val/mean_r1": 30.0, "val/loss": 3.0, "val/i2t_mean_rank": 9.0}, 1)
            if exit_code == 0:
                keep(service, folder, path / "data")
            finish_wandb(service, exit_code=exit_code, summary={"val/mean_r1": 37.5} if exit_code == 0 else {})
        assert os.environ["WANDB_DATA_DIR"] == str(path / "home")
    return path


@pytest.fixture(scope="module")
def offline(folder):
    return {run.run_id: run for run in find_offline_runs(folder)}


def test_exit_code_is_0_for_a_finished_and_1_for_a_crashed_run(offline):
    assert {run_id: run.exit_code for run_id, run in offline.items()} == {"finished": 0, "crashed": 1}


def test_offline_run_has_group_and_tags(offline):
    run = offline["finished"]
    assert (run.project, run.group, run.job_type) == ("thangka", "a-sweep", "train")
    assert (run.name, run.tags) == ("targeted lr=1e-4 seed=3", ["targeted", "seed3"])


def test_run_holds_the_config_and_the_overrides(offline):
    config = CONFIG | {"overrides": OVERRIDES, "recipe": "targeted lr=1e-4"}
    assert offline["finished"].config == config
    assert offline["crashed"].config == config


def test_history_counts_training_steps(offline):
    rows = [row for row in offline["finished"].history if "train/loss" in row]
    assert [row["trainer/global_step"] for row in rows] == [0, 1, 2]
    assert [row["train/loss"] for row in rows] == pytest.approx([1.0, 0.5, 1 / 3])


def test_summary_of_a_finished_run_holds_the_best_metrics(offline):
    assert offline["finished"].summary["val/mean_r1"] == 37.5


def test_summary_of_a_crashed_run_holds_its_best_values(offline):
    summary = offline["crashed"].summary
    assert summary["val/mean_r1"] == {"max": 40.0}
    assert (summary["val/loss"], summary["val/i2t_mean_rank"]) == ({"min": 2.0}, {"min": 5.0})


def test_every_metric_declares_whether_higher_is_better():
    ranks = retrieval_ranks(torch.eye(3), torch.arange(3))
    assert {*HIGHER_IS_BETTER, *RANK_STATISTICS} == {*summarise(ranks)}
    assert not set(HIGHER_IS_BETTER) & set(RANK_STATISTICS)


def test_best_checkpoint_is_an_artifact_with_its_metrics(offline):
    (model,) = (artifact for artifact in offline["finished"].artifacts if artifact.kind == "model")
    assert (model.name, set(model.aliases)) == ("model-finished", {"latest", "best"})
    assert model.metadata == {"val_metrics": {"mean_r1": 37.5}, "说明": "唐卡"}
    assert offline["crashed"].artifacts == []


def test_weights_are_hard_linked_into_the_run_folder(offline, folder):
    (model,) = (artifact for artifact in offline["finished"].artifacts if artifact.kind == "model")
    assert model.files["best.ckpt"].is_relative_to(folder / "runs" / "finished")
    assert model.files["best.ckpt"].samefile(folder / "checkpoints" / "finished" / "best.ckpt")


def test_all_files_to_upload_are_in_the_run_folder(offline, folder):
    files = [file for artifact in offline["finished"].artifacts for file in artifact.files.values()]
    assert len(files) == 3  # the weights and two tables
    assert all(file.is_file() and file.is_relative_to(folder / "runs" / "finished") for file in files)
    assert not (folder / "home" / "artifacts").exists()


def test_wandb_sync_needs_the_run_folder_only(offline, folder, tmp_path):
    (folder / "checkpoints").rename(folder / "moved away")
    (run,) = (folder / "runs" / "finished").glob("wandb/offline-run-*")
    try:
        with wandb_server() as server:
            login = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
            command = [sys.executable, "-m", "wandb", "sync", str(run)]
            done = subprocess.run(command, env=os.environ | login, cwd=tmp_path, capture_output=True, check=False)
    finally:
        (folder / "moved away").rename(folder / "checkpoints")
    assert done.returncode == 0, done.stderr
    assert server.committed == 3  # the weights and two tables
    assert server.uploaded["best.ckpt"] == len(WEIGHTS)
    assert {"examples/i2t.table.json", "examples/t2i.table.json"} <= set(server.uploaded)


def test_examples_are_logged_as_tables(offline, folder):
    for table in ("examples/i2t", "examples/t2i"):
        row = next(row for row in offline["finished"].history if f"{table}._type" in row)
        assert [row[f"{table}.{key}"] for key in ("_type", "nrows", "ncols")] == ["table-file", 7, 7]
        (file,) = (folder / "runs" / "finished").glob(f"**/files/{row[f'{table}.path']}")
        assert json.loads(file.read_text("utf-8"))["columns"][:2] == ["query", "rank"]


def test_second_run_of_a_process_does_not_write_to_the_first(offline):
    assert len([row for row in offline["finished"].history if "train/loss" in row]) == 3
    assert len([row for row in offline["crashed"].history if "train/loss" in row]) == 1
    assert wandb.run is None


def test_wandb_logs_warnings_only(offline):
    assert logging.getLogger("wandb").level == logging.WARNING


def test_weights_on_another_disk_are_uploaded_from_there(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    folder = make_folder(tmp_path)
    write_precomp(tmp_path / "data", "dev", images=3)
    service = start(folder, overrides=())
    keep(service, folder, tmp_path / "data")
    finish_wandb(service, exit_code=0, summary={})
    (run,) = find_offline_runs(tmp_path)
    (model,) = (artifact for artifact in run.artifacts if artifact.kind == "model")
    assert model.files["best.ckpt"] == folder.best
    assert (run.name, run.config["recipe"]) == (folder.run_id, "targeted")


def test_full_disk_at_the_end_loses_the_artifact_only(tmp_path, monkeypatch, caplog):
    def refuse(*args, **settings):
        raise OSError(28, "No space left on device")

    folder = make_folder(tmp_path)
    write_precomp(tmp_path / "data", "dev", images=3)
    service = start(folder)
    monkeypatch.setattr(wandb.Artifact, "add_file", refuse)
    with caplog.at_level(logging.WARNING):
        keep(service, folder, tmp_path / "data")
    finish_wandb(service, exit_code=0, summary={"val/mean_r1": 1.0})
    assert "cannot log the best checkpoint and the examples to W&B: OSError: [Errno 28] No space left" in caplog.text
    (run,) = find_offline_runs(tmp_path)
    assert (run.exit_code, run.summary["val/mean_r1"]) == (0, 1.0)


def test_failed_login_is_reported_in_one_message(tmp_path, monkeypatch):
    def refuse(**settings):
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login`")

    monkeypatch.setattr(wandb, "init", refuse)
    settings = LoggerSettings(kind="wandb", offline=False)
    with pytest.raises(ConfigError, match=r"W&B did not start \(online: No API key configured\.\): run `wandb login`"):
        start(make_folder(tmp_path), settings=settings)
    with pytest.raises(ConfigError, match=r"\(offline: No API key configured\.\): use logger=csv"):
        start(make_folder(tmp_path / "offline"))


def test_environment_names_the_run(tmp_path, monkeypatch):
    named = {"PROJECT": "mine", "RUN_GROUP": "all", "NAME": "first", "TAGS": "gpu, seed3", "JOB_TYPE": "trial"}
    for name, value in named.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    service = start(make_folder(tmp_path), settings=LoggerSettings(kind="wandb"))
    finish_wandb(service, exit_code=0, summary={})
    (run,) = find_offline_runs(tmp_path)
    assert (run.project, run.group, run.name, run.job_type) == ("mine", "all", "first", "trial")
    assert run.tags == ["targeted", "seed3", "gpu"]


EXAMPLES = Examples(
    i2t=[Example(1, 2, (Answer(0, 0.75, False), Answer(1, 0.5, True)))],
    t2i=[Example(0, 1, (Answer(0, 0.75, True), Answer(2, 0.5, False)))],
)


def split_of(root):
    write_precomp(root, "dev", images=3, ids="image")
    return load_split(root, "val")


def test_table_without_thumbnails_has_text_only(tmp_path):
    split = split_of(tmp_path)
    tables = examples_tables(EXAMPLES, split)
    assert tables["examples/i2t"].columns == ["query", "rank", "answer 1", "answer 2"]
    assert tables["examples/i2t"].data == [
        [split.image_ids[1], 2, f"✗ {split.captions[0]} (0.750)", f"✓ {split.captions[1]} (0.500)"]
    ]
    assert tables["examples/t2i"].data == [
        [split.captions[0], 1, f"✓ {split.image_ids[0]} (0.750)", f"✗ {split.image_ids[2]} (0.500)"]
    ]


def test_thumbnails_are_shown_at_reduced_size(tmp_path):
    split = split_of(tmp_path)
    folder = tmp_path / "thumbnails"
    folder.mkdir()
    Image.fromarray(np.zeros((400, 800, 4), np.uint8)).save(folder / f"{split.image_ids[0]}.png")
    (folder / f"{split.image_ids[2]}.jpg").write_bytes(b"not a picture")
    tables = examples_tables(EXAMPLES, split)
    assert tables["examples/t2i"].columns[-2:] == ["picture 1", "picture 2"]
    picture, damaged = tables["examples/t2i"].data[0][-2:]
    assert picture.image.size == (256, 128)
    assert damaged is None
    assert tables["examples/i2t"].columns == ["query", "rank", "answer 1", "answer 2"]

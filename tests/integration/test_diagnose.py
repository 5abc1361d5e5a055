"""``diagnose`` through its command line: clean data, data with planted faults, a trained model, and the HTML pages."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.bad_input import assert_one_message
from helpers.browser import open_page
from helpers.cli import run_cli_in_process
from helpers.precomp import write_precomp
from helpers.small_checkpoints import write_checkpoint
from tangka_match.demo import write_demo_set
from tangka_match.diagnose import main
from tangka_match.train import main as train

VERDICT = {
    "event": "verdict",
    "time": 0.0,
    "code": "collapse",
    "message": "all scores of a batch are equal",
    "step": 40,
}
PLANTED = {
    ("pictures", "empty_images"): ["demo-train-00008"],
    ("pictures", "not_finite"): ["demo-train-00009"],
    ("pictures", "zero_regions"): ["demo-train-00007"],
    ("duplicates", "image_leak"): [
        "demo-val-00005 = train demo-train-00100",
        "demo-val-00006 = train demo-train-00101",
    ],
    ("duplicates", "caption_leak"): ["val caption 51"],
    ("training", "collapse"): [],
}


def diagnose(*words):
    done = run_cli_in_process(*words, main=main)
    assert done.code == 0, done.stderr
    return done


def read(out):
    return json.loads((out / "diagnosis.json").read_text("utf-8"))


def findings(content, *severities):
    return {
        (name, finding["code"]): finding
        for name, section in content["sections"].items()
        for finding in section["findings"]
        if finding["severity"] in (severities or ("fault", "warning", "info"))
    }


@pytest.fixture(scope="module")
def clean_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean") / "demo"
    write_demo_set(root, train=400, val=60, test=60, duplicate_share=0.0, thumbnails=False)
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Create a folder with the records of a run whose model has collapsed."""
    folder = tmp_path_factory.mktemp("runs")
    run = folder / "20260101-000000-abcdef-0123"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump({"loss": {}, "trainer": {"gradient_clip_val": 2.0}}))
    recalls = {f"val/{d}_r{k}": 100 * k / 60 for d in ("i2t", "t2i") for k in (1, 5, 10)}
    lines = [{"event": "start", "time": 0}, VERDICT]
    for step in range(0, 60, 10):
        lines.append(
            {
                "event": "metrics",
                "time": 0,
                "step": step,
                "epoch": 0,
                "values": {"train/loss": 0.4, "train/grad_norm": 0.1},
            }
        )
        lines.append(
            {
                "event": "metrics",
                "time": 0,
                "step": step,
                "epoch": 0,
                "values": {**recalls, "val/mean_r1": 1.7, "val/loss": 0.4},
            }
        )
    lines.append({"event": "end", "time": 0, "status": "finished"})
    (run / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def planted_out(clean_set, runs, tmp_path_factory):
    """Diagnose a data set and a run with all planted faults, and return the output folder."""
    folder = tmp_path_factory.mktemp("planted")
    root = folder / "唐卡"
    shutil.copytree(clean_set, root)
    train, val = np.load(root / "train_ims.npy"), np.load(root / "dev_ims.npy")
    val[5:7] = train[100:102]
    train[7, 3:6], train[8], train[9, 0, 0] = 0, 0, np.nan
    np.save(root / "train_ims.npy", train)
    np.save(root / "dev_ims.npy", val)
    captions = {stem: (root / f"{stem}_caps.txt").read_text("utf-8").splitlines() for stem in ("train", "dev")}
    captions["dev"][50] = captions["train"][200]
    (root / "dev_caps.txt").write_text("\n".join(captions["dev"]) + "\n", "utf-8")
    out = folder / "out"
    done = diagnose(f"data.root='{root}'", f"paths.runs={runs}", "run=20260101", f"out={out}")
    assert "Fault, image_leak" in done.stdout
    return out


TINY = (
    "model=vse_tiny",
    "trainer=cpu",
    "logger=none",
    "loss=curriculum",
    "scheduler.warmup_steps=5",
    "optimizer.lr=0.01",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Write a set with boxes and thumbnails, and train a tiny model on it; return the set and the folder settings."""
    folder = tmp_path_factory.mktemp("trained")
    root = folder / "set"
    for seed, (split, images) in enumerate({"train": 210, "val": 60}.items()):
        write_precomp(root, split, images=images, dim=16, ids="image", boxes=True, seed=seed)
    (root / "thumbnails").mkdir()
    for number in range(60):
        colour = np.full((60, 48, 3), (4 * number, 90, 200 - 3 * number), np.uint8)
        Image.fromarray(colour).save(root / "thumbnails" / f"dev-{number:04}.png")
    places = (f"paths.runs={folder / 'runs'}", f"paths.checkpoints={folder / 'checkpoints'}")
    words = ("+experiment=debug", *TINY, "trainer.max_epochs=14", "trainer.max_steps=-1", "data=precomp")
    limits = ("trainer.log_every_n_steps=2", "data.batch_size=30", "data.drop_last=true")
    done = run_cli_in_process(*words, *limits, f"data.root={root}", *places, main=train)
    assert done.code == 0, done.stderr
    return root, places


@pytest.fixture(scope="module")
def trained_out(trained, tmp_path_factory):
    """Diagnose that run, with the ``best.ckpt`` found by the run id, and return the output folder."""
    root, places = trained
    out = tmp_path_factory.mktemp("diagnosed") / "out"
    diagnose(f"data.root={root}", *places, "run=last", f"out={out}")
    return out


def test_well_trained_model_has_no_faults_or_warnings(trained_out):
    content = read(trained_out)
    assert content["checkpoint"].endswith("best.ckpt")
    problems = {
        key for key in findings(content, "fault", "warning") if key[0] in ("model", "worst_queries", "attention")
    }
    assert problems == set()
    values = content["sections"]["model"]["values"]
    assert values["metrics"]["mean_r1"] > 40
    assert set(values["hubs"]) == {"i2t", "t2i"}
    assert set(values["corrected"]) == {"qb_norm", "nnn"}
    assert 1 < values["space"]["effective_rank"][0] < 64
    assert "VSE" in content["sections"]["attention"]["values"]["note"]


def test_worst_queries_agree_with_the_metrics(trained_out):
    sections = read(trained_out)["sections"]
    r1 = sections["model"]["values"]["metrics"]["t2i_r1"]
    worst = sections["worst_queries"]["values"]["t2i"]
    assert len(worst) == min(50, round(60 * (1 - r1 / 100)))
    for query in worst:
        scores = [answer["score"] for answer in query["answers"]]
        assert scores == sorted(scores, reverse=True)
        assert query["rank"] > 1
        assert query["score"] <= scores[0]


def test_gradient_share_of_each_loss_is_reported(trained_out):
    content = read(trained_out)
    facts = content["sections"]["training"]["values"]["facts"]
    assert facts["share of the gradient: info_nce"].startswith("100 % at first")
    assert facts["share of the gradient: triplet"].startswith("0 % at first")
    assert "share of the gradient, %" in (trained_out / "diagnosis.html").read_text("utf-8")


def test_model_page_renders_in_a_browser(trained_out, tmp_path):
    opened = open_page(trained_out / "diagnosis.html", 1200, tmp_path / "page.png")
    assert opened.errors == []
    assert opened.requests == []
    assert opened.width == 1200
    assert opened.pictures
    assert min(opened.pictures) > 50, "thumbnails are drawn"
    assert opened.boxes
    assert min(opened.boxes) > 0, "regions are drawn on the thumbnails"
    assert open_page(trained_out / "diagnosis.html", 500, tmp_path / "narrow.png").width == 500


@pytest.mark.parametrize("split", ["val", "train"])
def test_checkpoint_setting_selects_the_model(trained, tmp_path, split):
    root, _ = trained
    checkpoint = next(root.parent.glob("checkpoints/*/*/last.ckpt"))
    diagnose(f"data.root={root}", f"checkpoint={checkpoint}", f"split={split}", f"out={tmp_path / 'out'}")
    values = read(tmp_path / "out")["sections"]["model"]["values"]
    assert values["split"] == split
    assert bool(values["corrected"]) == (split == "val"), "training queries are not used on train itself"


def test_collapsed_model_is_reported_without_further_measurements(trained, tmp_path):
    root, _ = trained
    captions = (root / "train_caps.txt").read_text("utf-8").splitlines()
    checkpoint = write_checkpoint(tmp_path / "collapsed.ckpt", captions, dim=16, weight=0.0)
    done = diagnose(f"data.root={root}", f"checkpoint={checkpoint}", f"out={tmp_path / 'out'}")
    content = read(tmp_path / "out")
    (key,) = [key for key in findings(content, "fault") if key[0] == "model"]
    assert key == ("model", "collapsed")
    assert "all 3,600 scores of val are 0.5 " in findings(content)[key]["seen"]
    assert not {"worst_queries", "attention"} & set(content["sections"])
    assert "Fault, collapsed" in done.stdout


def test_model_is_not_run_on_damaged_features(trained, tmp_path):
    root, _ = trained
    shutil.copytree(root, tmp_path / "set")
    features = np.load(tmp_path / "set" / "dev_ims.npy")
    features[3] = 0
    np.save(tmp_path / "set" / "dev_ims.npy", features)
    checkpoint = next(root.parent.glob("checkpoints/*/*/best.ckpt"))
    diagnose(f"data.root={tmp_path / 'set'}", f"checkpoint={checkpoint}", f"out={tmp_path / 'out'}")
    assert ("model", "model_not_measured") in findings(read(tmp_path / "out"), "warning")


def test_exception_checkpoint_that_does_not_fit_the_data(trained, clean_set, tmp_path):
    root, _ = trained
    checkpoint = next(root.parent.glob("checkpoints/*/*/best.ckpt"))
    words = (f"data.root={clean_set}", f"checkpoint={checkpoint}", f"out={tmp_path / 'out'}")
    message = r"dev_ims\.npy has features of 2048 dimensions, but the checkpoint of run \S+ was trained on 16"
    assert_one_message(run_cli_in_process(*words, main=main), message)
    assert not (tmp_path / "out").exists()


def test_exception_file_that_is_not_a_checkpoint(clean_set, tmp_path):
    (tmp_path / "x.ckpt").write_text("weights")
    words = (f"data.root={clean_set}", f"checkpoint={tmp_path / 'x.ckpt'}", f"out={tmp_path / 'out'}")
    assert_one_message(run_cli_in_process(*words, main=main), r"x\.ckpt: (refused|damaged)")


def test_clean_set_has_no_faults_or_warnings(clean_set, tmp_path):
    done = diagnose(f"data.root={clean_set}", f"out={tmp_path / 'out'}")
    content = read(tmp_path / "out")
    assert findings(content, "fault", "warning") == {}
    assert content["sections"]["ceiling"]["values"]["t2i_r1"] == 100.0
    assert content["run"] is None
    assert "No faults and no warnings" in done.stdout.replace("\n", " ")


def test_exactly_the_planted_faults_are_found(planted_out):
    found = findings(read(planted_out), "fault", "warning")
    assert {key: finding["ids"] for key, finding in found.items()} == PLANTED


def test_recall_profile_of_the_run_is_compared_with_the_ceiling(planted_out):
    content = read(planted_out)
    assert content["sections"]["ceiling"]["values"]["profile"] == pytest.approx([1.667, 8.333, 16.667], abs=1e-3)
    assert ("ceiling", "profile_weak_model") in findings(content, "info")


def test_damaged_records_of_the_run_are_named(clean_set, runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    with next((tmp_path / "runs").glob("*/ledger.jsonl")).open("a") as file:
        file.write("damaged\n")
    words = (f"data.root={clean_set}", f"paths.runs={tmp_path / 'runs'}", "run=last", f"out={tmp_path / 'out'}")
    assert "1 unreadable ledger line skipped: 2026" in diagnose(*words).stdout


def test_recall_profile_of_the_run_is_not_used_for_another_split(clean_set, runs, tmp_path):
    diagnose(f"data.root={clean_set}", f"paths.runs={runs}", "run=last", "split=test", f"out={tmp_path / 'out'}")
    values = read(tmp_path / "out")["sections"]["ceiling"]["values"]
    assert values["split"] == "test"
    assert "profile" not in values


def test_page_contains_no_url(planted_out):
    page = (planted_out / "diagnosis.html").read_text("utf-8")
    assert not re.search(r"https?://", page)
    assert "唐卡" in page


@pytest.mark.parametrize("width", [1200, 600])
def test_page_renders_in_a_browser(planted_out, tmp_path, width):
    opened = open_page(planted_out / "diagnosis.html", width, tmp_path / "page.png")
    assert opened.errors == []
    assert opened.requests == []
    assert opened.width == width, "no horizontal overflow"
    assert len(opened.charts) >= 8
    assert min(opened.charts) > 100
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
    assert picture.shape[0] > 2_000
    assert picture.std() > 10


BAD = [
    (("profile=[50,40,60]",), r"profile=\[50\.0, 40\.0, 60\.0\]: expected three rising percentages"),
    (("profile=high",), r"profile='high': Input should be a valid list"),
    (("run=2099",), r"run=2099: no run fits under"),
    (("split=test9",), r"split 'test9' has no features: .*splits found in this folder: test, train, val"),
    (("splt=val",), r"splt: there is no such setting\. Did you mean split"),
    (("data.root=/nowhere",), r"data\.root must be a folder .*found nothing at /nowhere"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words[0] for words, _ in BAD])
def test_user_error_gives_one_message(clean_set, runs, tmp_path, words, message):
    usual = (f"data.root={clean_set}", f"paths.runs={runs}", f"out={tmp_path / 'out'}")
    assert_one_message(run_cli_in_process(*usual, *words, main=main), message)
    assert not (tmp_path / "out").exists()


def test_exception_run_without_a_ledger(clean_set, runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    next((tmp_path / "runs").glob("*/ledger.jsonl")).unlink()
    words = (f"data.root={clean_set}", f"paths.runs={tmp_path / 'runs'}", "run=last", f"out={tmp_path / 'out'}")
    assert_one_message(run_cli_in_process(*words, main=main), r"run=2026\S+: .*ledger\.jsonl cannot be read \(No such")


def test_exception_out_folder_with_other_files(clean_set, tmp_path):
    (tmp_path / "notes.txt").touch()
    done = run_cli_in_process(f"data.root={clean_set}", f"out={tmp_path}", main=main)
    assert_one_message(done, r"out=.* holds notes\.txt; nothing is overwritten")

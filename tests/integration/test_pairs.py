"""The pairs of a cross-validation through the command line: exchanged captions are listed, shown, and left out."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from helpers.bad_input import assert_one_message
from helpers.browser import browsing, visit
from helpers.cli import run_cli_in_process
from helpers.precomp import FIGURES, OBJECTS, SEATS, write_lines
from tangka_match.diagnose import main as diagnose

FOLDS = 2
TRAIN, VAL, REGIONS, DIM = 200, 40, 6, 32
SWAPPED, HALF = 8, 100
"""Number of exchanges, each of line n with line n + HALF: the first ones whose images have no common object."""
SAME, FORMULA = (198, 199), 98
"""Lines with the same caption, and a line that begins with an equals sign."""


def write_set(root):
    """Write images with one object per region, captions that name them, and thumbnails; return the exchanged ids."""
    rng = np.random.default_rng(0)
    objects = (*FIGURES, *SEATS, *OBJECTS)
    prototypes = rng.normal(size=(len(objects), DIM))
    (root / "thumbnails").mkdir(parents=True)
    for stem, images in (("train", TRAIN), ("dev", VAL)):
        chosen = np.stack([rng.permutation(len(objects))[:REGIONS] for _ in range(images)])
        features = prototypes[chosen] + 0.2 * rng.normal(size=(images, REGIONS, DIM))
        np.save(root / f"{stem}_ims.npy", features.astype(np.float16))
        captions = ["画中有" + "、".join(objects[number] for number in row) for row in chosen]
        if stem == "train":
            apart = [n for n in range(HALF) if not set(chosen[n]) & set(chosen[n + HALF])][:SWAPPED]
            for one in apart:
                captions[one], captions[one + HALF] = captions[one + HALF], captions[one]
            swapped = {f"train-{line:03}" for n in apart for line in (n, n + HALF)}
            captions[SAME[1]] = captions[SAME[0]]
            captions[FORMULA] = f"={captions[FORMULA]}"
        ids = [f"{stem}-{number:03}" for number in range(images)]
        write_lines(root / f"{stem}_caps.txt", captions)
        write_lines(root / f"{stem}_ids.txt", ids)
        for number, image_id in enumerate(ids):
            colour = np.full((60, 80, 3), (number, 90, 200 - number), np.uint8)
            Image.fromarray(colour).save(root / "thumbnails" / f"{image_id}.png")
    return swapped


@pytest.fixture(scope="module")
def folder_and_swapped(tmp_path_factory):
    """Write a set with exchanged captions, and train the folds of a recipe; return the folder."""
    folder = tmp_path_factory.mktemp("pairs")
    swapped = write_set(folder / "set")
    done = train(folder, "-m", f"data.folds={FOLDS}", f"data.fold=range({FOLDS})", "sweep.name=folds")
    assert done.code == 0, done.stdout + done.stderr
    return folder, swapped


@pytest.fixture(scope="module")
def trained(folder_and_swapped):
    return folder_and_swapped[0]


def places(folder):
    return (
        "data=precomp",
        f"data.root={folder / 'set'}",
        f"paths.runs={folder / 'runs'}",
        f"paths.checkpoints={folder / 'checkpoints'}",
    )


def train(folder, *words):
    quiet = ("logger=none", "trainer=cpu", "callbacks=none", "data.batch_size=16")
    small = ("model.embed_dim=24", "model.codebook_size=32", "model.num_hashes=64", "model.rank=48")
    return run_cli_in_process(*words, "+experiment=cca", *quiet, *small, *places(folder))


@pytest.fixture(scope="module")
def diagnosed(trained):
    """Diagnose the folds; return the folder of the output, and what was printed."""
    out = trained / "out"
    done = run_cli_in_process(*places(trained), "folds=folds", f"out={out}", main=diagnose)
    assert done.code == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def rows(diagnosed):
    with (diagnosed[0] / "pairs.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_exchanged_captions_are_listed_first(folder_and_swapped, rows):
    _, swapped = folder_and_swapped
    assert len(rows) == TRAIN + VAL
    assert len(swapped) == 2 * SWAPPED
    listed = {row["image"] for row in rows if "probably swapped" in row["reason"]}
    assert len(swapped & listed) >= SWAPPED
    assert len(swapped & listed) >= 0.8 * len(listed)
    assert len(swapped & {row["image"] for row in rows[: 2 * SWAPPED + 2]}) >= 1.5 * SWAPPED
    assert [float(row["probability"]) for row in rows] == sorted((float(r["probability"]) for r in rows), reverse=True)


def test_ranks_are_those_of_the_models_that_did_not_see_the_pair(trained, rows):
    recorded = {}
    for path in (trained / "runs").glob("*/ranks.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            recorded |= {(row["direction"], row["image"]): row["rank"] for row in csv.DictReader(file)}
    assert {("i2t", row["image"]): row["i2t_rank"] for row in rows} | {
        ("t2i", row["image"]): row["t2i_rank"] for row in rows
    } == recorded


def test_texts_that_a_spreadsheet_would_compute_are_neutralised(rows):
    (row,) = (row for row in rows if row["image"] == f"train-{FORMULA:03}")
    assert row["caption"].startswith("'=画中有")


def test_duplicates_name_each_other(rows):
    named = {row["image"]: row["duplicates"].split("; ") for row in rows if "duplicate" in row["reason"]}
    assert {f"train-{line:03}" for line in SAME} <= set(named)
    assert all(image in named[other] for image, others in named.items() for other in others)


def test_findings_say_how_many_are_expected_to_be_wrong(diagnosed, rows):
    content = json.loads((diagnosed[0] / "diagnosis.json").read_text("utf-8"))
    section = content["sections"]["pairs"]
    (finding,) = (found for found in section["findings"] if found["code"] == "swapped_captions")
    listed = [row for row in rows if "probably swapped" in row["reason"]]
    assert finding["ids"] == [row["image"] for row in listed]
    expected = sum(float(row["probability"]) for row in listed)
    assert section["values"]["expected_swapped"] == pytest.approx(expected, abs=0.001 * len(listed))
    assert section["values"]["share"] == pytest.approx(0.05, abs=0.03)
    assert "Warning, swapped_captions" in diagnosed[1]
    assert "pairs.html" in diagnosed[1]


@pytest.mark.parametrize("width", [1200, 390])
def test_list_saved_on_the_page_is_read_by_data_exclude(trained, diagnosed, rows, tmp_path, width):
    struck = [rows[0]["image"], rows[2]["image"]]
    with browsing() as browser:
        seen = visit(browser, diagnosed[0] / "pairs.html", width)
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.get_by_role("button", name="probably swapped").click()
        listed = sum("probably swapped" in row["reason"] for row in rows)
        assert page.locator("article.pair").count() == listed
        for image in struck:
            page.locator(f'article[data-line="{image}"] .strike').click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save list").click()
        download.value.save_as(tmp_path / "exclude.txt")
        assert download.value.suggested_filename == "exclude.txt"
        assert seen.errors == []
        assert [url for url in seen.requests if not url.startswith(("data:", "blob:"))] == []
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 50)")
        page.get_by_role("button", name="中文").click()
        assert "已划去 2 对" in page.locator(".bar .count").inner_text()
    assert (tmp_path / "exclude.txt").read_text("utf-8").split() == struck
    done = train(trained, f"data.exclude={tmp_path / 'exclude.txt'}", f"name=without-{width}", "trainer.max_steps=1")
    assert done.code == 0, done.stderr
    in_train = sum("train" in image for image in struck)
    assert f"train {TRAIN - in_train} captions" in " ".join((done.stdout + done.stderr).split())


def test_pairs_struck_out_before_are_ticked(trained, tmp_path, rows):
    (tmp_path / "exclude.txt").write_text(f"{rows[1]['image']}\n{rows[-1]['image']}\n", "utf-8")
    words = (*places(trained), "folds=folds", f"data.exclude={tmp_path / 'exclude.txt'}", f"out={tmp_path / 'out'}")
    assert run_cli_in_process(*words, main=diagnose).code == 0
    with browsing() as browser:
        page = visit(browser, tmp_path / "out" / "pairs.html", 1200).page
        assert page.locator("article.struck").count() in (1, 2)
        assert "2 struck out" in page.locator(".bar .count").inner_text()


def test_user_errors_give_one_message(trained, tmp_path):
    usual = (*places(trained), f"out={tmp_path / 'out'}")
    runs = sorted(path.parent.name for path in (trained / "runs").glob("*/result.json"))
    assert_one_message(run_cli_in_process(*usual, "folds=none-such", main=diagnose), r"folds=none-such: no run fits")
    done = run_cli_in_process(*usual, f"folds=[{runs[0]},{runs[0]}]", main=diagnose)
    assert_one_message(done, r"folds: runs \S+ and \S+ both hold out fold 0")
    elsewhere = f"paths.checkpoints={tmp_path}"
    config = next((trained / "runs" / runs[0]).glob("config.yaml"))
    text = config.read_text("utf-8")
    try:
        config.write_text(text.replace(str(trained / "checkpoints"), str(tmp_path)), "utf-8")
        done = run_cli_in_process(*usual, "folds=folds", elsewhere, main=diagnose)
    finally:
        config.write_text(text, "utf-8")
    assert_one_message(done, r"folds: run \S+ has no best\.ckpt")
    captions = trained / "set" / "train_caps.txt"
    text = captions.read_text("utf-8")
    try:
        captions.write_text("\n".join(reversed(text.splitlines())) + "\n", "utf-8")
        done = run_cli_in_process(*usual, "folds=folds", main=diagnose)
    finally:
        captions.write_text(text, "utf-8")
    assert_one_message(done, r"ranks that run \S+ recorded differ with these data")
    assert not (tmp_path / "out").exists()

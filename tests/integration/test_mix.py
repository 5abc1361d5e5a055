"""Training on several data sets through the command line."""

import json

from helpers.cli import run_cli_in_process
from helpers.precomp import write_precomp

from .conftest import places


def test_training_on_two_sets(demo_data, train, tmp_path):
    other = write_precomp(tmp_path / "另一个 set", images=50, regions=36, dim=2048, seed=3).root
    done = train("+experiment=debug", f"data.mix=[{{root: {other}, share: 0.5}}]", "logger=csv")
    assert done.code == 0, done.stderr
    (run,) = tmp_path.glob("runs/*")
    log = " ".join((run / "run.log").read_text("utf-8").split())
    assert f"train 160 captions of 160 images and 50 % of each batch from 50 captions of 50 images in {other}" in log
    assert "val 40 of 40; 20 steps per epoch" in log
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert (result["num_images"], result["total_steps"]) == (40, 6)


def test_inconsistent_sets_create_no_run_folder(demo_data, tmp_path):
    small = write_precomp(tmp_path / "small", images=50, regions=7, dim=2048).root
    mix = f"data.mix=[{{root: {small}, share: 0.5}}]"
    done = run_cli_in_process("+experiment=debug", mix, *places(demo_data, tmp_path))
    assert done.code == 2
    assert f"{small}/train_ims.npy has (7, 2048)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()

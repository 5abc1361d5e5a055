import pytest
import yaml

from helpers.planted import planted_split
from tangka_match.analysis.diagnosis.sections import find_best_checkpoint, model_sections, read_run_config
from tangka_match.data.feature_scan import scan_features
from tangka_match.errors import ConfigError, DataFormatError


def make_run(root, checkpoints=None):
    run = root / "runs" / "20260101-000000-abcdef-0123"
    run.mkdir(parents=True)
    config = {"name": "targeted", "paths": {"checkpoints": str(checkpoints)}} if checkpoints else {"name": "targeted"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def write_best(folder, run):
    path = folder / "targeted" / run.name / "best.ckpt"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_best_checkpoint_is_searched_in_the_given_folder_first(tmp_path):
    run = make_run(tmp_path, tmp_path / "of_run")
    assert find_best_checkpoint(run, tmp_path / "given") is None
    of_run = write_best(tmp_path / "of_run", run)
    assert find_best_checkpoint(run, tmp_path / "given") == of_run
    given = write_best(tmp_path / "given", run)
    assert find_best_checkpoint(run, tmp_path / "given") == given


def test_best_checkpoint_without_a_folder_in_the_config_is_none(tmp_path):
    assert find_best_checkpoint(make_run(tmp_path), tmp_path / "given") is None


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_exception_invalid_run_config(tmp_path, text):
    run = make_run(tmp_path)
    (run / "config.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match=r"run=20260101-000000-abcdef-0123: .*config\.yaml is not the config of a run"
    ):
        read_run_config(run)


def test_exception_single_query(tmp_path):
    splits = {
        "train": planted_split(tmp_path, "train", images=4),
        "val": planted_split(tmp_path, "val", images=1),
    }
    scans = {name: scan_features(split) for name, split in splits.items()}
    with pytest.raises(DataFormatError, match=r"dev_caps\.txt: 1 image\(s\) and 1 caption\(s\)"):
        model_sections(None, splits, scans, "val")

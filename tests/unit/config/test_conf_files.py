"""Every file in ``conf/`` is composed and checked; every experiment is built and takes one step."""

import inspect
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from helpers.configs import compose_config, tiny_sizes
from helpers.tiny_pretrained import PIECES, write_bert
from tangka_match import demo
from tangka_match.config.build import build_plan
from tangka_match.config.check import GROUPS, check_config
from tangka_match.config.conf_folder import conf_dir
from tangka_match.losses import LossInputs, positive_mask
from tangka_match.records.setting_names import ADDED_SETTINGS, with_first_names

CONF = Path(conf_dir())
GROUP_FILES = sorted(path for path in CONF.glob("*/*.yaml") if path.parent.name not in ("experiment", "index"))
EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))
NAMES = (
    "compare",
    "config",
    "convert",
    "dashboard",
    "demo_data",
    "diagnose",
    "evaluate",
    "export",
    "extract",
    "prepare",
    "report",
    "runs",
    "search",
)
TOKENIZERS = sorted(CONF.glob("data/tokenizer/*.yaml"))
PRIMARY = {CONF / f"{name}.yaml" for name in NAMES}
INDEXES = sorted(CONF.glob("index/*.yaml"))  # a group of search.yaml only, composed in tests/unit/test_search.py
WANDB_SWEEP = CONF / "wandb_sweep.yaml"  # tests/unit/config/test_wandb_sweep.py
SIZES = {"vocab_size": 20, "feature_dim": 6, "num_regions": 4}


def name_of(path):
    return path.relative_to(CONF).with_suffix("").as_posix()


def header_of(experiment):
    """Return the fields of the header comment; an indented line continues the previous field."""
    fields = {}
    lines = experiment.read_text("utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    for line in lines[1:]:
        if not line.startswith("# "):
            break
        if not line.startswith("#  "):
            field, _, text = line[2:].partition(" ")
            fields[field] = text.strip()
        else:
            fields[field] += " " + line[2:].strip()
    return fields


def test_every_file_is_covered():
    everything = set(CONF.rglob("*.yaml"))
    assert everything == {*GROUP_FILES, *TOKENIZERS, *EXPERIMENTS, *INDEXES, *PRIMARY, WANDB_SWEEP}
    assert {path.parent.name for path in GROUP_FILES} == {*GROUPS, "paths", "sweep"} - {
        "name",
        "tags",
        "seed",
        "init_from",
    }


@pytest.mark.parametrize("path", GROUP_FILES, ids=name_of)
def test_group_file_composes_and_passes_the_checks(path):
    composed = compose_config(f"{path.parent.name}={path.stem}")
    written = yaml.safe_load(path.read_text("utf-8"))
    written.pop("defaults", None)
    group = OmegaConf.create({path.parent.name: written})
    assert OmegaConf.merge(composed, group) == composed
    unset = [
        f"{name}.text_model=x"
        for name in ("model", "distillation")
        if OmegaConf.is_missing(composed[name], "text_model")
    ]
    check_config(compose_config(f"{path.parent.name}={path.stem}", "++data.root=somewhere", *unset))


@pytest.mark.parametrize("name", ADDED_SETTINGS)
def test_defaults_of_added_settings_are_those_of_the_files(name):
    """A config of version 0.1 and the same one of today have one hash."""
    composed = OmegaConf.to_container(compose_config(), resolve=False)
    assert OmegaConf.select(OmegaConf.create(composed), name, default="missing") != "missing"
    assert OmegaConf.select(OmegaConf.create(with_first_names(composed)), name, default="missing") == "missing"


def test_demo_data_config_composes():
    assert compose_config("data=demo_small", config_name="demo_data").data.writer.train == 160


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiment_builds_and_takes_a_step(path, tmp_path):
    overrides, sizes = [f"+experiment={path.stem}", "data.root=somewhere"], SIZES
    config = compose_config(*overrides)
    assert config.name == path.stem
    if OmegaConf.is_missing(config.model, "text_model"):
        overrides += [f"model.text_model={write_bert(tmp_path / 'bert')}"]
        sizes = SIZES | {"vocab_size": len(PIECES)}
    plan = build_plan(compose_config(*overrides, *tiny_sizes(config)))
    torch.manual_seed(0)
    model, loss = plan.build_model(**sizes).train(), plan.build_loss()
    optimizer = plan.optimizer(model.parameters())
    schedule = plan.scheduler(optimizer, total_steps=1_000)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    pairs = torch.arange(5)
    images = model.encode_images(torch.randn(5, 4, 6), torch.ones(5, 4, dtype=torch.bool))
    texts = model.encode_texts(torch.randint(4, 20, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
    total = loss(LossInputs(model.similarity(images, texts), positive_mask(pairs, pairs))).total
    total.backward()
    optimizer.step()
    schedule.step()
    assert torch.isfinite(total)
    assert any((old != new).any() for old, new in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiment_header_has_aim_command_and_expected_numbers(path):
    fields = header_of(path)
    assert list(fields) == ["Aim", "Command", "Expected"]
    assert all(len(text) > 10 for text in fields.values())


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_command_in_an_experiment_header_composes_that_experiment(path):
    python, flag, module, *overrides = shlex.split(header_of(path)["Command"].replace("<folder>", "somewhere"))
    assert (python, flag, module) == ("python", "-m", "tangka_match.train")
    settings, plain = check_config(compose_config(*overrides))
    assert settings.name == path.stem
    assert plain["data"]["root"] in ("somewhere", "data/demo_small")


@pytest.mark.parametrize("setting", ["noise", "duplicate_share", "completeness"])
def test_demo_difficulty_settings_match_the_writer(setting):
    assert compose_config().data.writer[setting] == getattr(demo, f"DEFAULT_{setting.upper()}")


@pytest.mark.parametrize("setting", ["seed", "train", "val", "test", "thumbnails"])
def test_demo_sizes_match_the_writer(setting):
    assert compose_config().data.writer[setting] == inspect.signature(demo.write_demo_set).parameters[setting].default

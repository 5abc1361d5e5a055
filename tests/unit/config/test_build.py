import pytest
import torch
import yaml

from helpers.configs import compose_config, tiny_sizes
from tangka_match.config.build import build_plan
from tangka_match.errors import ConfigError

REFUSED = [
    ("optimizer.lr=-1", r"optimizer: torch\.optim\.AdamW refuses .*'lr': -1.*Invalid learning rate: -1"),
    ("loss.margin=-2", r"loss: margin=-2 is outside \[0, inf\]"),
    ("model.dropout=2", r"model: VSE: dropout is 2; it must be at least 0 and below 1"),
    ("scheduler.final_ratio=2", r"  scheduler\.final_ratio=2: give a share of the peak learning rate"),
    ("data.batch_size=0", r"  data\.batch_size=0; allowed: 1 and more pairs"),
    (
        "training.lr_multipliers={text:0.1}",
        r"  training\.lr_multipliers\.text: nothing that is trained in VSE has this name",
    ),
    ("data.tokenizer.user_dictionaries=[none.txt]", r"data: none\.txt: cannot read the user dictionary"),
]


@pytest.mark.parametrize(("override", "message"), REFUSED, ids=[override for override, _ in REFUSED])
def test_what_a_class_refuses_is_said_in_its_own_words(override, message):
    with pytest.raises(ConfigError, match=message):
        build_plan(compose_config(override))


def test_all_refusals_come_at_once():
    with pytest.raises(ConfigError) as caught:
        build_plan(compose_config(*(override for override, _ in REFUSED[:4])))
    found = [line.strip()[:9] for line in str(caught.value).splitlines()[1:]]
    assert found == ["model: VS", "loss: mar", "optimizer", "scheduler"]


@pytest.mark.parametrize("loss", ["alignment_uniformity", "momentum_queue", "blend"])
@pytest.mark.parametrize("model", ["scan_t2i", "cross_modal_transformer"])
def test_a_loss_on_pooled_vectors_needs_a_model_that_has_them(model, loss):
    with pytest.raises(ConfigError, match=r"  loss: loss \w+ compares one vector per image .* this model has none"):
        build_plan(compose_config(f"model={model}", f"loss={loss}"))
    build_plan(compose_config("model=vse", f"loss={loss}"))


@pytest.mark.parametrize("model", ["scan_i2t", "cross_modal_transformer"])
def test_hard_batches_need_a_model_with_pooled_vectors_before_any_folder_is_made(model):
    with pytest.raises(ConfigError, match=r"  data\.hard_batches=0\.5 compares one vector an image .* has none: take"):
        build_plan(compose_config(f"model={model}", "data.hard_batches=0.5"))
    build_plan(compose_config("model=sgraf_sgr", "data.hard_batches=0.5"))


def test_a_blend_on_scores_alone_takes_any_model():
    plan = build_plan(compose_config("model=scan_t2i", "loss=blend", "loss.weights.uniform=0"))
    assert plan.model["_target_"].endswith(".SCAN")
    assert not plan.build_loss().needs_pooled


def test_a_model_larger_than_memory_is_checked_without_memory():
    assert build_plan(compose_config("model.head_dim=1000000000")).model["head_dim"] == 1_000_000_000


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator='gpu': torch .* finds no GPU .*use trainer=cpu"):
        build_plan(compose_config("trainer=gpu"))


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=3: this machine has 2 GPU\(s\); -1 takes them all"):
        build_plan(compose_config("trainer=ddp", "trainer.devices=3"))
    assert build_plan(compose_config("trainer=ddp")).settings.trainer.devices == -1


@pytest.mark.parametrize("words", [("trainer=ddp_cpu",), ("trainer=auto", "trainer.strategy=ddp")])
def test_every_device_of_a_cpu_is_no_number(monkeypatch, words):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.devices=-1 is every GPU: on a CPU say how many processes"):
        build_plan(compose_config(*words, "trainer.devices=-1"))


def test_several_machines_need_somebody_who_starts_the_processes():
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2: Lightning starts processes on one machine only"):
        build_plan(compose_config("trainer=ddp_cpu", "trainer.num_nodes=2"))


def test_processes_started_together_are_as_many_as_the_settings_say(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"4 processes were started together, and these settings want 2"):
        build_plan(compose_config("trainer=ddp_cpu"))
    assert build_plan(compose_config("trainer=ddp_cpu", "trainer.num_nodes=2")).settings.trainer.num_nodes == 2


def test_values_reach_the_parts():
    tiny = tiny_sizes(compose_config())
    plan = build_plan(
        compose_config(*tiny, "seed=7", "optimizer.lr=0.5", "data.batch_size=3", "loss=triplet", "loss.margin=0.3")
    )
    model = plan.build_model(vocab_size=9, feature_dim=5, num_regions=2)
    assert (plan.data.seed, plan.data.batch_size) == (7, 3)
    assert plan.optimizer(model.parameters()).param_groups[0]["lr"] == 0.5
    assert plan.build_loss().margin == 0.3


def test_each_call_builds_a_new_model():
    plan = build_plan(compose_config(*tiny_sizes(compose_config())))
    sizes = {"vocab_size": 9, "feature_dim": 5, "num_regions": 2}
    assert plan.build_model(**sizes) is not plan.build_model(**sizes)


def test_what_the_records_keep_is_the_whole_config_with_nothing_left_to_resolve():
    plan = build_plan(compose_config("paths.data=there"))
    assert yaml.safe_load(plan.config_yaml) == plan.config
    assert plan.config["data"]["root"] == "there/demo"

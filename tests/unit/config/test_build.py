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
    ("scheduler.final_ratio=2", r"  scheduler\.final_ratio=2 must be in \[0, 1\]"),
    ("data.batch_size=0", r"  data\.batch_size=0 must be >= 1"),
    (
        "training.lr_multipliers={text:0.1}",
        r"  training\.lr_multipliers\.text: no trained parameter of VSE has this name",
    ),
    ("data.tokenizer.user_dictionaries=[none.txt]", r"data: none\.txt: cannot read the user dictionary"),
]


@pytest.mark.parametrize(("override", "message"), REFUSED, ids=[override for override, _ in REFUSED])
def test_error_raised_by_a_class_is_reported_with_its_message(override, message):
    with pytest.raises(ConfigError, match=message):
        build_plan(compose_config(override))


def test_errors_of_all_classes_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        build_plan(compose_config(*(override for override, _ in REFUSED[:4])))
    found = [line.strip()[:9] for line in str(caught.value).splitlines()[1:]]
    assert found == ["model: VS", "loss: mar", "optimizer", "scheduler"]


@pytest.mark.parametrize("loss", ["alignment_uniformity", "momentum_queue", "word_prediction", "blend"])
@pytest.mark.parametrize("model", ["scan_t2i", "cross_modal_transformer"])
def test_loss_on_pooled_embeddings_needs_a_model_with_pooled_embeddings(model, loss):
    with pytest.raises(ConfigError, match=r"  loss: loss \w+ compares one vector per image .* this model has none"):
        build_plan(compose_config(f"model={model}", f"loss={loss}"))
    build_plan(compose_config("model=vse", f"loss={loss}"))


@pytest.mark.parametrize("loss", ["alignment_uniformity", "momentum_queue", "word_prediction", "blend"])
def test_loss_on_pooled_embeddings_needs_scores_that_compare_them(loss):
    with pytest.raises(ConfigError, match=r"  loss: loss \w+ compares one vector .* the scores of SGRAF do not"):
        build_plan(compose_config("model=sgraf_saf", f"loss={loss}"))


@pytest.mark.parametrize("model", ["scan_i2t", "cross_modal_transformer"])
def test_hard_batches_need_a_model_with_pooled_embeddings(model):
    with pytest.raises(ConfigError, match=r"  data\.hard_batches=0\.5 needs one vector per image .* has none: use"):
        build_plan(compose_config(f"model={model}", "data.hard_batches=0.5"))
    build_plan(compose_config("model=sgraf_sgr", "data.hard_batches=0.5"))


def test_blend_of_score_losses_accepts_any_model():
    plan = build_plan(compose_config("model=scan_t2i", "loss=blend", "loss.weights.uniform=0"))
    assert plan.model["_target_"].endswith(".SCAN")
    assert not plan.build_loss().needs_pooled


def test_model_larger_than_memory_is_checked_without_memory():
    assert build_plan(compose_config("model.head_dim=1000000000")).model["head_dim"] == 1_000_000_000


def test_missing_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator='gpu': torch .* finds no GPU .*use trainer=cpu"):
        build_plan(compose_config("trainer=gpu"))


def test_more_gpus_than_available_are_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=3: this machine has 2 GPU\(s\); -1 uses all of them"):
        build_plan(compose_config("trainer=ddp", "trainer.devices=3"))
    assert build_plan(compose_config("trainer=ddp")).settings.trainer.devices == -1


@pytest.mark.parametrize("words", [("trainer=ddp_cpu",), ("trainer=auto", "trainer.strategy=ddp")])
def test_all_devices_of_a_cpu_are_refused(monkeypatch, words):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.devices=-1 means all GPUs: on a CPU set the number of processes"):
        build_plan(compose_config(*words, "trainer.devices=-1"))


def test_several_machines_need_a_launcher():
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2: Lightning starts processes on one machine only"):
        build_plan(compose_config("trainer=ddp_cpu", "trainer.num_nodes=2"))


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}, "srun --nodes=1 --ntasks-per-node=2"),
        ({"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"}, "torchrun --nnodes=1 --nproc-per-node=2"),
    ],
)
def test_a_launcher_that_started_one_process_for_two_devices_is_refused(monkeypatch, variables, advice):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"need 2 processes, but .* started 1.*: start them with {advice}"):
        build_plan(compose_config("trainer=ddp_cpu"))
    assert build_plan(compose_config("trainer=cpu")).settings.trainer.devices == 1


def test_number_of_started_processes_must_match_the_settings(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=1 need 2 processes, but torchrun started 4"):
        build_plan(compose_config("trainer=ddp_cpu"))
    assert build_plan(compose_config("trainer=ddp_cpu", "trainer.num_nodes=2")).settings.trainer.num_nodes == 2


def test_users_callbacks_are_built_after_the_defaults():
    words = ("+callbacks.mine._target_=pytorch_lightning.callbacks.Timer", "+callbacks.mine.duration=01:00:00:00")
    names = [type(callback).__name__ for callback in build_plan(compose_config(*words)).build_callbacks()]
    assert names == ["ValidationLines", "RichProgressBar", "Timer"]
    averaged = build_plan(compose_config("training.ema_decay=0.9", "training.early_stopping_patience=3"))
    assert [type(callback).__name__ for callback in averaged.build_callbacks()[:2]] == [
        "EarlyStopping",
        "MovingAveraging",
    ]


def test_callback_must_derive_from_lightnings_callback():
    words = (
        "+callbacks.mine._target_=torch.nn.Linear",
        "+callbacks.mine.in_features=1",
        "+callbacks.mine.out_features=1",
    )
    with pytest.raises(ConfigError, match=r"  callbacks\.mine: Linear is not a Lightning callback"):
        build_plan(compose_config(*words))


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "none++")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"  training\.compile=true: torch\.compile needs a C\+\+ compiler, and none\+\+"
    ):
        build_plan(compose_config("training.compile=true"))


def test_settings_reach_the_parts():
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


def test_records_keep_the_whole_config_and_only_callbacks_keep_interpolations():
    plan = build_plan(compose_config("paths.data=there"))
    assert yaml.safe_load(plan.config_yaml) == plan.config
    assert "${" not in yaml.safe_dump({name: node for name, node in plan.config.items() if name != "callbacks"})
    assert plan.config["data"]["root"] == "there/demo"


def test_only_one_average_of_the_weights_is_kept():
    third = ("+callbacks.third._target_=tangka_match.training.callbacks.TailAveraging", "+callbacks.third.begin=0.5")
    names = ["callbacks.moving_average", "callbacks.tail_average", "callbacks.third"]
    for overrides, count in (((), 2), (third, 3)):
        with pytest.raises(ConfigError) as caught:
            build_plan(
                compose_config("callbacks.moving_average.decay=0.9", "callbacks.tail_average.begin=0.5", *overrides)
            )
        _, *faults = str(caught.value).splitlines()
        assert [fault.partition(":")[0].strip() for fault in faults] == [" and ".join(names[:count])]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_devices_are_checked_where_the_run_is_to_run():
    config = compose_config("+experiment=debug", "trainer=gpu", "data.root=set")
    with pytest.raises(ConfigError, match=r"finds no GPU on this machine"):
        build_plan(config)
    assert build_plan(config, on_this_machine=False).settings.trainer.accelerator == "gpu"

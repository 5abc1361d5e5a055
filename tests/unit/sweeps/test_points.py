import pytest
from omegaconf import OmegaConf

from helpers.configs import compose_config
from helpers.precomp import write_dataset
from tangka_match.errors import ConfigError
from tangka_match.sweeps.points import check_points, check_seeds, plans_of, read_sweep_settings

SMALL = ("+experiment=debug", "data=precomp", "data.batch_size=4", "scheduler.warmup_steps=1")


@pytest.fixture
def compose(tmp_path):
    write_dataset(tmp_path / "set")

    def compose_(overrides):
        return compose_config(*SMALL, f"data.root={tmp_path / 'set'}", f"paths.runs={tmp_path / 'runs'}", *overrides)

    return compose_


def test_good_points_come_with_plans_and_fingerprint(compose):
    first, second = check_points(compose, [["seed=1"], ["seeds=[2,3]", "sweep.retries=0"]])
    assert [plan.settings.seed for plan in first.plans] == [1]
    assert [plan.settings.seed for plan in second.plans] == [2, 3]
    assert {*first.fingerprints} == {*second.fingerprints} != {""}
    assert [len(point.fingerprints) for point in (first, second)] == [1, 2]
    assert second.shown == ["seeds=[2,3]"]
    assert "sweep" not in first.plans[0].config


def test_a_share_of_the_data_is_another_one_for_each_seed(compose):
    half = ["data.train_share=0.5", "data.batch_size=2"]
    one, both = check_points(compose, [[*half, "seed=1"], [*half, "seeds=[1,2]"]])
    assert one.fingerprints == both.fingerprints[:1] != both.fingerprints[1:]


def test_every_fault_is_listed_with_its_jobs(compose):
    jobs = [[margin, rate, "scheduler.warmup_steps=1"] for margin in ("loss.margin=0.2", "loss.margin=-3")
            for rate in ("optimizer.lr=1e-3", "optimizer.lr=abc")]  # fmt: skip
    jobs.append(["loss.margin=0.2", "optimizer.lr=1e-3", "scheduler.warmup_steps=99"])
    with pytest.raises(ConfigError) as caught:
        check_points(compose, jobs)
    head, *lines = str(caught.value).splitlines()
    assert head == "4 of 5 jobs cannot run, and none was started:"
    assert [line.split(": ", 1)[0].strip() for line in lines] == [
        "job 1 (loss.margin=0.2 optimizer.lr=abc scheduler.warmup_steps=1), "
        "job 3 (loss.margin=-3 optimizer.lr=abc scheduler.warmup_steps=1)",
        "job 2 (loss.margin=-3 optimizer.lr=1e-3 scheduler.warmup_steps=1)",
        "job 4 (loss.margin=0.2 optimizer.lr=1e-3 scheduler.warmup_steps=99)",
    ]
    assert "optimizer.lr='abc'" in lines[0]
    assert "scheduler.warmup_steps=99 but the run has 6 optimizer steps" in lines[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer=ddp_cpu"], r"every job: trainer\.devices=2, .*strategy=ddp: a job of a sweep.* has one device"),
        (["trainer.num_nodes=2"], r"trainer\.num_nodes=2"),
        (["resume=last"], r"resume=last goes on with one run; a sweep goes on when the same command is given"),
        (["seeds=[1,1]"], r"seeds=\[1, 1\]: give different whole numbers"),
        (["model.embed_dm=3"], r"model\.embed_dm: there is no such setting\. Did you mean model\.embed_dim"),
        (["data.root=/nowhere"], r"/nowhere"),
    ],
)
def test_faults_of_every_job(compose, overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_points(compose, [overrides, [*overrides, "seed=1"]])


@pytest.mark.parametrize("seeds", [[], ["a"], [1.5], [True], [-1], [3, 3], "x"])
def test_seeds_must_be_different_whole_numbers(seeds):
    with pytest.raises(ConfigError, match=r"seeds=\[.*\]: give different whole numbers from 0"):
        check_seeds(OmegaConf.create({"s": seeds}).s)


def test_no_seeds_are_no_list():
    assert check_seeds(None) is None
    assert check_seeds(4) == [4]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.retries=-1", r"sweep\.retries=-1: Input should be greater than or equal to 0"),
        ("+sweep.trials=3", r"sweep\.trials: there is no such setting\. Known in sweep: name, any_commit"),
        ("sweep.objectives=[mean]", r"sweep: .*no run reports 'mean'"),
    ],
)
def test_faults_of_the_sweeps_settings(override, message):
    with pytest.raises(ConfigError, match=message):
        read_sweep_settings(compose_config(override))


def test_planning_leaves_the_config_as_it_was(compose):
    config = compose(["seeds=[5]"])
    before = OmegaConf.to_yaml(config)
    assert plans_of(config)[0].config["paths"]["checkpoints"].startswith("/")
    assert OmegaConf.to_yaml(config) == before

import pytest
from omegaconf import OmegaConf

from helpers.configs import compose_config
from helpers.precomp import write_dataset
from tangka_match.errors import ConfigError
from tangka_match.sweeps.points import (
    check_ensemble,
    check_points,
    check_seed_is_used,
    check_seeds,
    plan_runs,
    read_sweep_settings,
)

SMALL = ("+experiment=debug", "data=precomp", "data.batch_size=4", "scheduler.warmup_steps=1")


@pytest.fixture
def compose(tmp_path):
    write_dataset(tmp_path / "set")

    def compose_(overrides):
        return compose_config(*SMALL, f"data.root={tmp_path / 'set'}", f"paths.runs={tmp_path / 'runs'}", *overrides)

    return compose_


def test_points_have_plans_and_fingerprints(compose):
    first, second = check_points(compose, [["seed=1"], ["seeds=[2,3]", "sweep.retries=0"]])
    assert [plan.settings.seed for plan in first.plans] == [1]
    assert [plan.settings.seed for plan in second.plans] == [2, 3]
    assert {*first.fingerprints} == {*second.fingerprints} != {""}
    assert [len(point.fingerprints) for point in (first, second)] == [1, 2]
    assert second.shown == ["seeds=[2,3]"]
    assert "sweep" not in first.plans[0].config


def test_share_of_data_has_a_fingerprint_per_seed(compose):
    half = ["data.train_share=0.5", "data.batch_size=2"]
    one, both = check_points(compose, [[*half, "seed=1"], [*half, "seeds=[1,2]"]])
    assert one.fingerprints == both.fingerprints[:1] != both.fingerprints[1:]


def test_faults_are_listed_with_their_jobs(compose):
    jobs = [[margin, rate, "scheduler.warmup_steps=1"] for margin in ("loss.margin=0.2", "loss.margin=-3")
            for rate in ("optimizer.lr=1e-3", "optimizer.lr=abc")]  # fmt: skip
    jobs.append(["loss.margin=0.2", "optimizer.lr=1e-3", "optimizer.weight_decay=abc"])
    with pytest.raises(ConfigError) as caught:
        check_points(compose, jobs)
    head, *lines = str(caught.value).splitlines()
    assert head == "4 of 5 jobs cannot run, and none was started:"
    assert [line.split(": ", 1)[0].strip() for line in lines] == [
        "job 1 (loss.margin=0.2 optimizer.lr=abc scheduler.warmup_steps=1), "
        "job 3 (loss.margin=-3 optimizer.lr=abc scheduler.warmup_steps=1)",
        "job 2 (loss.margin=-3 optimizer.lr=1e-3 scheduler.warmup_steps=1)",
        "job 4 (loss.margin=0.2 optimizer.lr=1e-3 optimizer.weight_decay=abc)",
    ]
    assert "optimizer.lr='abc'" in lines[0]
    assert "optimizer.weight_decay='abc'" in lines[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer=ddp_cpu"], r"every job: trainer\.devices=2, .*strategy=ddp: each job .* runs on one device"),
        (["trainer.num_nodes=2"], r"trainer\.num_nodes=2"),
        (["resume=last"], r"resume=last continues a single run; to continue a sweep, run its command again"),
        (["seeds=[1,1]"], r"seeds=\[1, 1\] must be distinct integers >= 0"),
        (["model.embed_dm=3"], r"model\.embed_dm: there is no such setting\. Did you mean model\.embed_dim"),
        (["data.root=/nowhere"], r"/nowhere"),
        (["ensemble=true"], r"every job: ensemble=true in a sweep"),
        (["sweep.retries=-1"], r"every job: sweep\.retries=-1"),
    ],
)
def test_fault_of_every_job_is_reported_once(compose, overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_points(compose, [overrides, [*overrides, "seed=1"]])


@pytest.mark.parametrize("seeds", [[], ["a"], [1.5], [True], [-1], [3, 3], "x"])
def test_seeds_that_are_not_distinct_integers_are_refused(seeds):
    with pytest.raises(ConfigError, match=r"seeds=\[.*\] must be distinct integers >= 0"):
        check_seeds(OmegaConf.create({"s": seeds}).s)


def test_seeds_may_be_unset_or_a_single_integer():
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
def test_invalid_sweep_settings_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        read_sweep_settings(compose_config(override))


@pytest.mark.parametrize("given", ["seed=5", "+seed=5"])
def test_exception_seed_beside_seeds(given):
    config = compose_config("seeds=[0,1]")
    check_seed_is_used(config, ["seeds=[0,1]"])
    says = r"seed=5 has no effect beside seeds=\[0, 1\]: remove one of them \(seeds=null removes those of an experiment"
    with pytest.raises(ConfigError, match=says):
        check_seed_is_used(config, [given, "seeds=[0,1]"])


def test_plan_runs_does_not_change_the_config(compose):
    config = compose(["seeds=[5]"])
    before = OmegaConf.to_yaml(config)
    assert plan_runs(config)[0].config["paths"]["checkpoints"].startswith("/")
    assert OmegaConf.to_yaml(config) == before


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [((), False), (("seeds=[0,1]", "ensemble=true"), True), (("+experiment=best_ensemble",), True)],
)
def test_ensemble_setting_is_returned(overrides, expected):
    assert check_ensemble(compose_config(*overrides), in_sweep=False) is expected


@pytest.mark.parametrize(
    ("overrides", "in_sweep", "message"),
    [
        (("ensemble=yes please",), False, r"ensemble='yes please' must be true or false"),
        (("ensemble=true",), False, r"ensemble=true with seeds=None: give at least two seeds"),
        (("ensemble=true", "seeds=[3]"), False, r"seeds=\[3\]: give at least two seeds"),
        (("ensemble=true", "seeds=[0,1]"), True, r"ensemble=true in a sweep: .* set ensemble=false"),
        (("members=[best,cca]",), False, r"with ensemble=false: .* set ensemble=true, or members=null"),
        (("members=[best,cca]", "ensemble=true"), True, r"members=\['best', 'cca'\] in a sweep: .*, without -m"),
        (("members=[best]", "ensemble=true"), False, r"at least two different experiments, with further"),
        (("members=[a,a]", "ensemble=true"), False, r"members=\['a', 'a'\] must be at least two different experiments"),
        (("members=[a,1]", "ensemble=true"), False, r"members=\['a', 1\] must be"),
        (("members=best", "ensemble=true"), False, r"members=\['best'\] must be"),
    ],
)
def test_invalid_ensemble_is_refused(overrides, in_sweep, message):
    with pytest.raises(ConfigError, match=message):
        check_ensemble(compose_config(*overrides), in_sweep=in_sweep)

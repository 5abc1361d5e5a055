import pytest

from helpers.planted import codes
from tangka_match.analysis.diagnosis.training import diagnose_training, profile_of

LOSS = {"learn_temperature": True, "min_temperature": 0.01}


def events(*verdicts, steps=200, status="finished", **series):
    """Return a ledger with metrics every ten steps; each value is a function of the relative step in [0, 1]."""
    usual = {
        "train/loss": lambda t: 5 - 3 * t,
        "train/lr": lambda t: 5e-4 * (1 - t),
        "train/grad_norm": lambda t: 2.0 + t,
        "train/temperature": lambda t: 0.07 - 0.02 * t,
        "val/loss": lambda t: 5 - 2.5 * t,
        "val/mean_r1": lambda t: 30 * t,
        **{f"val/t2i_r{k}": lambda t, k=k: 3 * k * t for k in (1, 5, 10)},
        "val/i2t_r1": lambda t: 31 * t,
    }
    curves = usual | {name.replace("__", "/"): curve for name, curve in series.items()}
    lines = [
        {"event": "metrics", "step": s, "values": {name: curve(s / steps) for name, curve in curves.items()}}
        for s in range(0, steps, 10)
    ]
    ends = [{"event": "end", "status": status}] if status else []
    return [{"event": "start"}, *verdicts, *lines, *ends]


def verdict(code):
    return {"event": "verdict", "code": code, "message": f"message of {code}", "step": 1_200}


def test_healthy_run_has_no_findings():
    section = diagnose_training("run-1", events(), LOSS, 2.5)
    assert section.findings == []
    assert section.values["profile"] == pytest.approx([2.85, 14.25, 28.5])
    assert len(section.charts) == 5
    assert dict(section.facts)["best mean R@1"] == "28.50 % at step 191"
    assert dict(section.facts)["steps with a clipped gradient"] == "45 %"


@pytest.mark.parametrize(
    ("code", "severity"), [("collapse", "fault"), ("short_schedule", "warning"), ("overfitting", "warning")]
)
def test_guard_verdicts_become_findings(code, severity):
    (finding,) = diagnose_training("run-1", events(verdict(code)), LOSS, None).findings
    assert (finding.code, finding.severity) == (code, severity)
    assert finding.seen == f"at step 1,200: message of {code}"


FAULTS = [
    ({"train__temperature": lambda t: 0.07}, "dead_temperature", "stayed at 0.0700"),
    ({"train__temperature": lambda t: max(0.01, 0.07 - t)}, "temperature_at_floor", "at its minimum of 0.01"),
    ({"train__grad_norm": lambda t: 1e-9 if t > 0.5 else 1.0}, "vanishing_gradient", "gradient norm is 1.0e-09"),
    (
        {"train__grad_norm": lambda t: 900.0 if t == 0.5 else 1.0},
        "gradient_spikes",
        "1 gradient spike after the first tenth of the run: norms over 50 times the median of 1, the largest 900, the "
        "first at step 101",
    ),
    ({"status": None}, "unfinished_run", "was killed or is still running"),
    ({"status": "failed"}, "unfinished_run", "ended with status failed"),
]


@pytest.mark.parametrize(("changes", "code", "seen"), FAULTS, ids=[fault[1] for fault in FAULTS])
def test_planted_fault_is_the_only_finding(changes, code, seen):
    (finding,) = diagnose_training("run-1", events(**changes), LOSS, None).findings
    assert finding.code == code
    assert seen in finding.seen


def test_large_gradient_at_the_start_is_not_a_spike():
    assert diagnose_training("run-1", events(train__grad_norm=lambda t: 1.0 if t else 900.0), LOSS, None).findings == []


def test_fixed_temperature_is_not_reported():
    still = events(train__temperature=lambda t: 0.07)
    assert diagnose_training("run-1", still, {"learn_temperature": False}, None).findings == []


def test_constant_temperature_in_a_short_run_is_not_reported():
    still = events(steps=60, train__temperature=lambda t: 0.07)
    assert diagnose_training("run-1", still, LOSS, None).findings == []


def test_run_killed_before_its_first_metrics():
    section = diagnose_training("run-1", [{"event": "start"}], LOSS, None)
    assert codes(section.findings) == ["unfinished_run"]
    assert section.charts == []
    assert profile_of([{"event": "start"}]) is None


def shares(triplet):
    return {"train__grad_share_triplet": triplet, "train__grad_share_info_nce": lambda t: 100 - triplet(t)}


def test_gradient_shares_are_reported_and_plotted():
    section = diagnose_training("run-1", events(**shares(lambda t: 60 * t)), LOSS, None)
    assert section.findings == []
    facts = dict(section.facts)
    assert facts["share of the gradient: triplet"] == "0 % at first, 51 % in the last fifth"
    assert facts["share of the gradient: info_nce"] == "100 % at first, 49 % in the last fifth"
    assert len(section.charts) == 6


def test_inactive_loss_term_is_reported():
    section = diagnose_training("run-1", events(**shares(lambda t: 0.4 * t)), LOSS, None)
    assert codes(section.findings) == ["idle_loss"]
    assert "the triplet term never has more than 0.38 %" in section.findings[0].seen


def test_inactive_loss_term_of_an_unfinished_run_is_not_reported():
    section = diagnose_training("run-1", events(status="interrupted", **shares(lambda t: 0.0)), LOSS, None)
    assert codes(section.findings) == ["unfinished_run"]

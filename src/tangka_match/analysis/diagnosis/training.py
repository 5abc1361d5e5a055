"""A run as a diagnosis looks at it: its ledger's verdicts and curves."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from tangka_match.analysis.diagnosis.charts import Curve, lines
from tangka_match.analysis.diagnosis.finding import Finding, Section, Severity
from tangka_match.errors import count
from tangka_match.records.curves import best_validation, metric_curves

GUARD: Mapping[str, tuple[Severity, str, str]] = {
    "collapse": ("fault", "a model that tells no pair apart ranks as chance does", "see what the guard advises"),
    "short_schedule": (
        "warning",
        "a low recall may be a short run and not the limit of the model or of the data",
        "raise trainer.max_epochs as the guard says, and count schedules in steps",
    ),
    "overfitting": (
        "warning",
        "what it learns by heart does not help on other pictures",
        "a smaller model, augmentation=drop, more dropout, or training.early_stopping_patience",
    ),
}
"""What the guard's verdicts mean, by their code."""

FROZEN = 0.005
"""Relative change over a whole run below which a learnt temperature counts as dead."""
VANISHED = 1e-5
"""Gradient norm below which nothing is learnt."""
SPIKE = 50.0
"""A gradient so many times its median is a spike ..."""
SETTLED = 0.1
"""... after this share of the run: before, weights are random and gradients are large in any run."""
FEWEST_POINTS = 5
FEWEST_STEPS = 100
"""Optimizer steps in which a learnt temperature moves if it can."""
LOSSES = {"training": "train/loss", "validation": "val/loss"}
SHARE = "train/grad_share_"
IDLE = 1.0
"""Percent of the gradient below which a part of the loss counts as idle."""
RECALLS = {"image→text R@1": "val/i2t_r1", "text→image R@1": "val/t2i_r1"}


def diagnose_training(
    run_id: str, events: Iterable[Mapping[str, Any]], loss: Mapping[str, Any], clip: float | None
) -> Section:
    """Steps, collapse, the gap between training and validation, learning rate, gradients, temperature, parts of a loss.

    Args:
        run_id: Of the run.
        events: Of its ledger, in order.
        loss: Settings of its loss.
        clip: Norm at which gradients are clipped; ``None`` or 0 for never.
    """
    events = list(events)
    curves = metric_curves(events)
    facts, findings = [("run", run_id)], _verdicts(events)
    findings += _ending(events)
    findings += _gradients(curves.get("train/grad_norm"))
    findings += _temperature(curves.get("train/temperature"), loss)
    if "train/loss" in curves:
        facts.append(("optimizer steps", f"{curves['train/loss'][0][-1]:,.0f}"))
    if "val/loss" in curves and "train/loss" in curves:
        last_train, last_val = curves["train/loss"][1][-1], curves["val/loss"][1][-1]
        facts.append(("last loss, training / validation", f"{last_train:.3f} / {last_val:.3f}"))
    if "val/mean_r1" in curves:
        steps, recalls = curves["val/mean_r1"]
        best = max(range(len(recalls)), key=recalls.__getitem__)
        facts.append(("best mean R@1", f"{recalls[best]:.2f} % at step {steps[best]:,.0f}"))
    shares = {name.removeprefix(SHARE): curve for name, curve in curves.items() if name.startswith(SHARE)}
    # Of a run that did not end, a schedule may not have brought a part in yet.
    findings += [] if _ending(events) else _idle_losses(shares)
    facts += [
        (f"share of the gradient: {name}", f"{values[0]:.0f} % at first, {_tail(values):.0f} % in the last fifth")
        for name, (_, values) in shares.items()
    ]
    if clip and "train/grad_norm" in curves:
        norms = curves["train/grad_norm"][1]
        facts.append(("steps with a clipped gradient", f"{100 * sum(n > clip for n in norms) / len(norms):.0f} %"))
    values = {"run": run_id, "facts": dict(facts), "profile": profile_of(events)}
    return Section("training", "Training", facts, findings, _charts(curves), values)


def profile_of(events: Iterable[Mapping[str, Any]]) -> list[float] | None:
    """Text→image R@1, R@5 and R@10 of the best validation by ``val/mean_r1``; ``None`` where there was none.

    >>> values = {"val/mean_r1": 9.0, "val/t2i_r1": 9.0, "val/t2i_r5": 20.0, "val/t2i_r10": 30.0}
    >>> profile_of([{"event": "metrics", "step": 1, "values": values}])
    [9.0, 20.0, 30.0]
    """
    best = best_validation(events)
    return None if best is None else [best[1][f"val/t2i_r{k}"] for k in (1, 5, 10)]


def _verdicts(events: Sequence[Mapping[str, Any]]) -> list[Finding]:
    verdicts = {event["code"]: event for event in events if event["event"] == "verdict"}
    findings = []
    for code, event in verdicts.items():
        severity, why, do = GUARD.get(code, ("warning", "the guard of the run noticed it", "see what it advises"))
        findings.append(Finding(code, severity, f"at step {event['step']:,}: {event['message']}", why, do))
    return findings


def _ending(events: Sequence[Mapping[str, Any]]) -> list[Finding]:
    status = next((event["status"] for event in reversed(events) if event["event"] == "end"), "killed")
    if status == "finished":
        return []
    seen = (
        "the run has no end: it was killed, or is still going" if status == "killed" else f"the run ended as {status}"
    )
    return [
        Finding(
            "unfinished_run",
            "warning",
            seen,
            "its recalls are those of a shorter training than was asked for, before the learning rate came down",
            "go on with it: resume=<run id>",
        )
    ]


def _gradients(curve: Curve | None) -> list[Finding]:
    if curve is None or len(curve[1]) < FEWEST_POINTS:
        return []
    steps, norms = curve
    usual, tail = median(norms), _tail(norms)
    if tail < VANISHED:
        return [
            Finding(
                "vanishing_gradient",
                "fault",
                f"the gradient norm is {tail:.1e} in the last fifth of the run",
                "nothing is learnt any more",
                "look for a collapsed loss, a dead temperature, or a learning rate of 0",
            )
        ]
    settled = SETTLED * steps[-1]
    spikes = {step: norm for step, norm in zip(steps, norms, strict=True) if step > settled and norm > SPIKE * usual}
    if not spikes:
        return []
    return [
        Finding(
            "gradient_spikes",
            "warning",
            f"after the first tenth of the run: {count(len(spikes), 'logged gradient')} over {SPIKE:.0f} times the "
            f"median of {usual:.3g}, the largest {max(spikes.values()):.3g}, the first at step {min(spikes):,.0f}",
            "each throws away what Adam had learnt about the scale of the gradients",
            "lower trainer.gradient_clip_val or optimizer.lr, or lengthen scheduler.warmup_steps",
        )
    ]


def _tail(values: Sequence[float]) -> float:
    """Median of the last fifth."""
    return median(values[-max(FEWEST_POINTS, len(values) // 5) :])


def _idle_losses(shares: Mapping[str, Curve]) -> list[Finding]:
    """Parts of the loss that hardly pull at any time of the run."""
    idle = [name for name, (_, values) in shares.items() if len(values) >= FEWEST_POINTS and max(values) < IDLE]
    return [
        Finding(
            "idle_loss",
            "warning",
            f"the {name} part never has more than {max(shares[name][1]):.2f} % of the gradient",
            "the run is one with the other part alone; what this part was put in for does not happen",
            f"raise loss.{name}_weight, or set it to 0",
        )
        for name in idle
    ]


def _temperature(curve: Curve | None, loss: Mapping[str, Any]) -> list[Finding]:
    if curve is None or len(curve[1]) < FEWEST_POINTS or not loss.get("learn_temperature", False):
        return []
    values = curve[1]
    floor = float(loss.get("min_temperature", 0.01))
    if max(values) / min(values) - 1 < FROZEN and curve[0][-1] >= FEWEST_STEPS:
        seen = f"the learnt temperature stayed at {values[-1]:.4f} from the first step to the last"
        why = "it is meant to find the scale of the scores, and has no gradient or too small a learning rate"
        return [
            Finding("dead_temperature", "warning", seen, why, "raise optimizer.lr, or set loss.temperature by hand")
        ]
    if sum(value < 1.01 * floor for value in values) > len(values) / 2:
        seen = f"the learnt temperature lies at its floor of {floor:g} in most of the run"
        why = "training pairs are learnt by heart: scores are made as sharp as is allowed"
        return [Finding("temperature_at_floor", "warning", seen, why, "see to overfitting; raise loss.min_temperature")]
    return []


def _charts(curves: Mapping[str, Curve]) -> list[str]:
    def chosen(names: Mapping[str, str]) -> dict[str, Curve]:
        return {label: curves[name] for label, name in names.items() if name in curves}

    panels = [
        (chosen(LOSSES), "loss", False),
        (chosen(RECALLS), "R@1, %", False),
        (chosen({"learning rate": "train/lr"}), "learning rate", False),
        (chosen({"gradient norm": "train/grad_norm"}), "gradient norm before clipping", True),
        (chosen({"temperature": "train/temperature"}), "temperature", False),
        (
            {n.removeprefix(SHARE): curve for n, curve in curves.items() if n.startswith(SHARE)},
            "share of the gradient, %",
            False,
        ),
    ]
    return [lines(found, "optimizer steps", label, logarithmic=log) for found, label, log in panels if found]

"""Check a training run: the guard's verdicts and the curves of its ledger."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from tangka_match.analysis.diagnosis.charts import Curve, lines
from tangka_match.analysis.diagnosis.finding import Finding, Section, Severity
from tangka_match.errors import count
from tangka_match.metric_names import CUTOFFS, DEFAULT_MONITOR, VAL_PREFIX
from tangka_match.records.curves import best_validation, metric_curves

GUARD: Mapping[str, tuple[Severity, str, str]] = {
    "collapse": ("fault", "a model with constant scores ranks at chance level", "follow the advice of the guard"),
    "short_schedule": (
        "warning",
        "a low recall may be due to the short run, not to the model or the data",
        "raise trainer.max_epochs as the guard advises, and set schedules in steps",
    ),
    "overfitting": (
        "warning",
        "memorising the training pairs does not improve the recall on other images",
        "use a smaller model, augmentation=drop, more dropout, or training.early_stopping_patience",
    ),
}
"""Severity, reason and remedy of each of the guard's verdicts, by code."""

MIN_TEMPERATURE_CHANGE = 0.005
"""Smallest relative change of a learnt temperature over a run that counts as learning."""
MIN_GRADIENT_NORM = 1e-5
"""Gradient norm below which the model no longer learns."""
SPIKE_RATIO = 50.0
"""Ratio of a gradient norm to the median above which it is a spike ..."""
SPIKE_START = 0.1
"""... after this share of the run: at the start, gradients are large in any run."""
MIN_POINTS = 5
"""Fewest logged values that are judged."""
MIN_STEPS = 100
"""Optimizer steps within which a learnt temperature changes if it has a gradient."""
LOSSES = {"training": "train/loss", "validation": "val/loss"}
GRADIENT_SHARE = "train/grad_share_"
MIN_GRADIENT_SHARE = 1.0
"""Percentage of the gradient below which a loss term counts as inactive."""
RECALLS = {"image→text R@1": "val/i2t_r1", "text→image R@1": "val/t2i_r1"}


def diagnose_training(
    run_id: str, events: Iterable[Mapping[str, Any]], loss: Mapping[str, Any], clip: float | None
) -> Section:
    """Check steps, collapse, overfitting, learning rate, gradients, temperature and the terms of the loss.

    Args:
        run_id: Run id.
        events: Ledger events, in order.
        loss: Settings of the loss.
        clip: Gradient norm for clipping; ``None`` or 0 if gradients are not clipped.
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
    if DEFAULT_MONITOR in curves:
        steps, recalls = curves[DEFAULT_MONITOR]
        best = max(range(len(recalls)), key=recalls.__getitem__)
        facts.append(("best mean R@1", f"{recalls[best]:.2f} % at step {steps[best]:,.0f}"))
    shares = _gradient_shares(curves)
    # If the run did not finish, a schedule may not have switched a term on yet.
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
    """Return text→image R@1, R@5 and R@10 of the best validation by ``val/mean_r1``; ``None`` without a validation.

    >>> values = {"val/mean_r1": 9.0, "val/t2i_r1": 9.0, "val/t2i_r5": 20.0, "val/t2i_r10": 30.0}
    >>> profile_of([{"event": "metrics", "step": 1, "values": values}])
    [9.0, 20.0, 30.0]
    """
    best = best_validation(events)
    return None if best is None else [best[1][f"{VAL_PREFIX}t2i_r{k}"] for k in CUTOFFS]


def _verdicts(events: Sequence[Mapping[str, Any]]) -> list[Finding]:
    verdicts = {event["code"]: event for event in events if event["event"] == "verdict"}
    findings = []
    for code, event in verdicts.items():
        severity, why, do = GUARD.get(code, ("warning", "the guard reported it during the run", "follow its advice"))
        findings.append(Finding(code, severity, f"at step {event['step']:,}: {event['message']}", why, do))
    return findings


def _ending(events: Sequence[Mapping[str, Any]]) -> list[Finding]:
    status = next((event["status"] for event in reversed(events) if event["event"] == "end"), "killed")
    if status == "finished":
        return []
    seen = (
        "the run did not finish: it was killed or is still running"
        if status == "killed"
        else f"the run ended with status {status}"
    )
    return [
        Finding(
            "unfinished_run",
            "warning",
            seen,
            "its recalls are those of a shorter training, before the learning rate has decayed",
            "continue it with resume=<run id>",
        )
    ]


def _gradients(curve: Curve | None) -> list[Finding]:
    if curve is None or len(curve[1]) < MIN_POINTS:
        return []
    steps, norms = curve
    usual, tail = median(norms), _tail(norms)
    if tail < MIN_GRADIENT_NORM:
        return [
            Finding(
                "vanishing_gradient",
                "fault",
                f"the gradient norm is {tail:.1e} in the last fifth of the run",
                "the model no longer learns",
                "check for a collapsed loss, a constant temperature, or a learning rate of 0",
            )
        ]
    settled = SPIKE_START * steps[-1]
    late = ((step, norm) for step, norm in zip(steps, norms, strict=True) if step > settled)
    spikes = {step: norm for step, norm in late if norm > SPIKE_RATIO * usual}
    if not spikes:
        return []
    return [
        Finding(
            "gradient_spikes",
            "warning",
            f"{count(len(spikes), 'gradient spike')} after the first tenth of the run: norms over {SPIKE_RATIO:.0f} "
            f"times the median of {usual:.3g}, the largest {max(spikes.values()):.3g}, the first at step "
            f"{min(spikes):,.0f}",
            "a spike distorts Adam's running estimate of the gradient scale",
            "lower trainer.gradient_clip_val or optimizer.lr, or lengthen scheduler.warmup_steps",
        )
    ]


def _tail(values: Sequence[float]) -> float:
    """Return the median of the last fifth."""
    return median(values[-max(MIN_POINTS, len(values) // 5) :])


def _gradient_shares(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Return the gradient share of each term of the loss."""
    return {name.removeprefix(GRADIENT_SHARE): c for name, c in curves.items() if name.startswith(GRADIENT_SHARE)}


def _idle_losses(shares: Mapping[str, Curve]) -> list[Finding]:
    """Report loss terms with hardly any gradient throughout the run."""
    judged = {name: values for name, (_, values) in shares.items() if len(values) >= MIN_POINTS}
    idle = [name for name, values in judged.items() if max(values) < MIN_GRADIENT_SHARE]
    return [
        Finding(
            "idle_loss",
            "warning",
            f"the {name} term never has more than {max(judged[name]):.2f} % of the gradient",
            "the run trains with the other term only, so this term has no effect",
            f"raise loss.{name}_weight, or set it to 0",
        )
        for name in idle
    ]


def _temperature(curve: Curve | None, loss: Mapping[str, Any]) -> list[Finding]:
    if curve is None or len(curve[1]) < MIN_POINTS or not loss.get("learn_temperature", False):
        return []
    values = curve[1]
    floor = float(loss.get("min_temperature", 0.01))
    if max(values) / min(values) - 1 < MIN_TEMPERATURE_CHANGE and curve[0][-1] >= MIN_STEPS:
        seen = f"the learnt temperature stayed at {values[-1]:.4f} throughout the run"
        why = "it should adapt to the scale of the scores, but has no gradient or too small a learning rate"
        return [
            Finding("dead_temperature", "warning", seen, why, "raise optimizer.lr, or set a fixed loss.temperature")
        ]
    if sum(value < 1.01 * floor for value in values) > len(values) / 2:
        seen = f"the learnt temperature is at its minimum of {floor:g} in most of the run"
        why = "the model memorises the training pairs and makes the scores as sharp as allowed"
        return [Finding("temperature_at_floor", "warning", seen, why, "reduce overfitting; raise loss.min_temperature")]
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
        (_gradient_shares(curves), "share of the gradient, %", False),
    ]
    return [lines(found, "optimizer steps", label, logarithmic=log) for found, label, log in panels if found]

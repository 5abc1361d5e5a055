"""Ensembles: the recipes whose runs are averaged, and the metrics of the average on the validation split."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rich
from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from tangka_match import load
from tangka_match.config.composing import check_choices, composing_explained
from tangka_match.config.conf_folder import conf_dir
from tangka_match.config.explain import explain
from tangka_match.errors import ConfigError, TangkaMatchError, count
from tangka_match.records.run_folder import decisive_settings
from tangka_match.records.setting_names import COMMAND_KEYS, SWEEP_PREFIXES
from tangka_match.retrieval.evaluation import choose_weights, evaluate_split
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.tables import recall_table
from tangka_match.sweeps.points import check_members, plan_runs
from tangka_match.training.plan import RunPlan

COMMAND_OVERRIDES = ("experiment", "members", "seeds", "ensemble")
"""Overrides of the command line that do not concern its members."""
NOT_OF_A_MEMBER = (*COMMAND_KEYS, "seed", "experiment")
"""Settings that all members share, or that only the command has."""
DATA_KEYS = ("root", "folds", "fold", "fold_val_share")
"""Settings of ``data`` that determine the validation split and the held-out fold."""


class Recipe(NamedTuple):
    """Recipe that is trained with one or several seeds.

    Args:
        name: Name of the experiment, or the text of the member.
        overrides: Overrides that compose it, without the seed.
        plans: Planned runs, one per seed.
    """

    name: str
    overrides: list[str]
    plans: list[RunPlan]


class Ensemble(NamedTuple):
    """Result of an ensemble on the validation split or the held-out fold.

    Args:
        metrics: Metrics by the names of ``tangka_match.evaluate``.
        weights: Weight of each run, in the order of the runs; ``None`` if all are equal.
    """

    metrics: dict[str, float]
    weights: list[float] | None


def member_recipes(config: DictConfig, overrides: Sequence[str]) -> list[Recipe]:
    """Compose and check the recipe of each member of ``config.members``.

    Args:
        config: Composed config of the command.
        overrides: Overrides of the command line; they are added to those of each member.

    Raises:
        ConfigError: If a member is invalid, equals another one, or is validated on other data than another one.
    """
    shared = [o for o in overrides if _key(o) not in COMMAND_OVERRIDES]
    recipes = [_compose_member(member, shared, config.seeds) for member in check_members(config.members) or []]
    first = recipes[0]
    settings = [recipe.plans[0].config for recipe in recipes]
    for place, recipe in enumerate(recipes):
        for key in DATA_KEYS:
            own, other = settings[place]["data"][key], settings[0]["data"][key]
            if own != other:
                raise ConfigError(
                    f"members: {first.name} has data.{key}={other}, {recipe.name} has {own}: they must be validated on "
                    "the same data; give data=… and data.… for the whole command, as in data=precomp data.root=<folder>"
                )
        equal = [decisive_settings(one) for one in settings[:place]]
        if decisive_settings(settings[place]) in equal:
            raise ConfigError(f"members: {recipe.name} has the same settings as another member; remove one of them")
    return recipes


def _compose_member(member: str, shared: Sequence[str], seeds: Any) -> Recipe:
    try:
        experiment, *own = shlex.split(member)
        refused = [word for word in own if _key(word) in NOT_OF_A_MEMBER or word.startswith(SWEEP_PREFIXES)]
        if refused:
            raise ConfigError(f"{' '.join(refused)} is a setting of the whole command; give it beside members")
        words = [f"+experiment={experiment}", *own, *shared]
        check_choices(Path(conf_dir()), words)
        with composing_explained(words):
            composed = compose("config", words)
        if composed.members is not None:
            raise ConfigError("a member cannot have members itself; list them all in members")
        composed.seeds = seeds
        return Recipe(member, [word for word in words if _key(word) != "seed"], plan_runs(composed))
    except (TangkaMatchError, HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"members: {member}: {explain(error, 'config')}") from error


def _key(override: str) -> str:
    """Return the top-level name that an override sets.

    >>> _key("+sweep.retries=3"), _key("seed=1"), _key("data/tokenizer=pieces")
    ('sweep', 'seed', 'data/tokenizer')
    """
    return override.lstrip("+~").partition("=")[0].partition(".")[0]


def evaluate_ensemble(recipes: Sequence[Recipe], run_ids: Sequence[str]) -> Ensemble:
    """Average the scores of all runs on the validation split or the held-out fold, and print the metrics.

    Seeds of one recipe have equal weights. The weights of several recipes are chosen on the validation split, on which
    the ``best.ckpt`` of each run was selected too. The command to evaluate another split is printed.

    Args:
        recipes: Recipes, the data of the first set up.
        run_ids: Ids of their runs, recipe by recipe, seed by seed.
    """
    settings = [plan.settings for recipe in recipes for plan in recipe.plans]
    paths = [
        one.paths.checkpoints / one.name / run_id / "best.ckpt" for one, run_id in zip(settings, run_ids, strict=True)
    ]
    matchers = [load(path) for path in paths]
    data = recipes[0].plans[0].data
    fusion, weights, how = "mean", None, "mean of their scores"
    if len(recipes) > 1:
        fusion, how = "standardised", "weighted mean of their standardised scores"
        rest = iter(matchers)
        groups = [[next(rest) for _ in recipe.plans] for recipe in recipes]
        weights = choose_weights(groups, data.val, fusion=fusion)
        how += f", weights {weights} chosen on validation"
    split, name = (data.val, "validation") if data.held_out is None else (data.held_out, "the held-out fold")
    protocol = EvaluationProtocol()
    evaluation = evaluate_split(matchers, split, protocol, fusion=fusion, weights=weights)
    title = escape(f"ensemble of {_describe(recipes)}, {how}, on {name}")
    rich.print(recall_table(evaluation.raw.metrics, evaluation.raw.intervals, title=title, caption=protocol.describe()))
    command = _evaluate_command(paths, Path(data.root), fusion, weights)
    # In one line, so that it can be copied.
    rich.get_console().print(escape(f"on another split: {command}"), soft_wrap=True)
    return Ensemble(dict(evaluation.raw.metrics), weights)


def _describe(recipes: Sequence[Recipe]) -> str:
    parts = [count(len(recipe.plans), "seed") for recipe in recipes]
    if len(recipes) > 1:
        parts = [f"{recipe.name} ({part})" for recipe, part in zip(recipes, parts, strict=True)]
    return ", ".join(parts)


def _evaluate_command(paths: Sequence[Path], root: Path, fusion: str, weights: Sequence[float] | None) -> str:
    """Return the command for the models whose weight is not 0."""
    chosen = [(path, weight) for path, weight in zip(paths, weights or [1.0] * len(paths), strict=True) if weight]
    words = [f"checkpoint=[{','.join(str(path) for path, _ in chosen)}]"]
    if weights is not None and len(chosen) > 1:
        words += [f"fusion={fusion}", f"weights=[{','.join(str(weight) for _, weight in chosen)}]"]
    words += [f"data.root={root}", "split=test"]
    return f"python -m tangka_match.evaluate {shlex.join(words)} out=<folder>"

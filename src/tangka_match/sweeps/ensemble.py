"""Ensembles: the recipes whose runs are averaged, and the metrics of the average on the validation split."""

import copy
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import rich
from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from tangka_match import load
from tangka_match.config.explain import explain
from tangka_match.errors import ConfigError, TangkaMatchError
from tangka_match.retrieval.evaluation import choose_weights, evaluate_split
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.tables import recall_table
from tangka_match.sweeps.points import check_members, plan_runs
from tangka_match.training.plan import RunPlan

COMMAND_OVERRIDES = ("experiment", "members", "seeds", "ensemble")
"""Overrides of the command line that do not concern its members."""


class Recipe(NamedTuple):
    """Recipe that is trained with one or several seeds.

    Args:
        overrides: Overrides that compose it, without the seed.
        plans: Planned runs, one per seed.
    """

    overrides: list[str]
    plans: list[RunPlan]

    @property
    def name(self) -> str:
        """Name of its experiment."""
        return self.plans[0].settings.name


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
        ConfigError: If a member is invalid, or has other data than the first.
    """
    shared = [o for o in overrides if o.lstrip("+~").partition("=")[0] not in COMMAND_OVERRIDES]
    recipes = []
    for member in check_members(config.members) or []:
        experiment, *own = shlex.split(member)
        words = [f"+experiment={experiment}", *own, *shared]
        try:
            composed = compose("config", words)
            if composed.members is not None:
                raise ConfigError("a member cannot have members itself; list them all in members")
            with open_dict(composed):
                composed.seeds = copy.deepcopy(config.seeds)
            recipes.append(Recipe(words, plan_runs(composed)))
        except (TangkaMatchError, HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"members: {member}: {explain(error, 'config')}") from error
    roots = [recipe.plans[0].data.root for recipe in recipes]
    if len(set(roots)) > 1:
        raise ConfigError(f"members have different data sets: {', '.join(map(str, roots))}; give one data.root for all")
    return recipes


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
        seeds = len(recipes[0].plans)
        groups = [matchers[start : start + seeds] for start in range(0, len(matchers), seeds)]
        weights = choose_weights(groups, data.val, fusion=fusion)
        how += f", weights {weights} chosen on validation"
    split, name = (data.val, "validation") if data.held_out is None else (data.held_out, "the held-out fold")
    protocol = EvaluationProtocol()
    evaluation = evaluate_split(matchers, split, protocol, fusion=fusion, weights=weights)
    title = f"ensemble of {_describe(recipes)}, {how}, on {name}"
    rich.print(recall_table(evaluation.raw.metrics, evaluation.raw.intervals, title=title, caption=protocol.describe()))
    command = _evaluate_command(paths, Path(data.root), fusion, weights)
    rich.get_console().print(f"on another split: {command}", soft_wrap=True)  # one line, so that it can be copied
    return Ensemble(dict(evaluation.raw.metrics), weights)


def _describe(recipes: Sequence[Recipe]) -> str:
    parts = [f"{len(recipe.plans)} seeds" for recipe in recipes]
    if len(recipes) > 1:
        parts = [f"{recipe.name} ({part})" for recipe, part in zip(recipes, parts, strict=True)]
    return ", ".join(parts)


def _evaluate_command(paths: Sequence[Path], root: Path, fusion: str, weights: Sequence[float] | None) -> str:
    listed = ",".join(map(str, paths))
    words = [rf"'checkpoint=\[{listed}]'", f"data.root={root}", "split=test", "out=<folder>"]
    if weights is not None:
        words[1:1] = [f"fusion={fusion}", rf"'weights=\[{','.join(map(str, weights))}]'"]
    return " ".join(["python -m tangka_match.evaluate", *words])

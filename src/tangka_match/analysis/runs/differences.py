"""Settings that differ between runs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tangka_match.records.run_record import RunRecord
from tangka_match.records.setting_names import NON_DECISIVE_KEYS, SEED_KEYS

TARGET = "_target_"


def differing_keys(runs: Sequence[RunRecord]) -> list[str]:
    """Return the dotted names of the settings that differ between the runs with a config, in config order.

    A setting that only some runs have counts as differing.
    """
    configs = [run.config for run in runs if run.config]
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({_as_text(config.get(name)) for config in configs}) > 1]


def choose_columns(runs: Sequence[RunRecord], keys: Iterable[str]) -> list[str]:
    """Choose the informative ones of the differing settings, the most informative first.

    Swept settings come first, that is, those among the overrides of the commands; then the settings that all runs have;
    then those that depend on a choice such as ``loss=info_nce``.

    Args:
        runs: Runs to compare.
        keys: Differing settings, as returned by `differing_keys`.

    Returns:
        Dotted names, without ignored settings, seeds, the path of the data and the name of the experiment.
    """
    swept = swept_keys(runs)
    left_out = (*NON_DECISIVE_KEYS, *SEED_KEYS)
    # The fingerprint of the data is shown instead of their path.
    informative = [key for key in keys if key.split(".")[0] not in left_out and key not in ("data.root", "name")]
    configs = [run.config for run in runs if run.config]

    def order(key: str) -> tuple[bool, bool, bool]:
        everywhere = all(key in config for config in configs)
        return key not in swept, not everywhere, not key.endswith(TARGET)

    return sorted(informative, key=order)


def swept_keys(runs: Iterable[RunRecord]) -> set[str]:
    """Return the dotted names of the settings changed on the command line; for a choice, its ``_target_``.

    Example:
        ``model=vse`` gives ``model`` and ``model._target_``.
    """
    names = {
        override.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".")
        for run in runs
        for override in run.overrides
    }
    return names | {f"{name}.{TARGET}" for name in names}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Shorten dotted names to their shortest unique endings; a ``_target_`` to its group.

    >>> short_names(["loss.margin", "optimizer.lr", "model._target_", "a.dropout", "b.dropout"])
    {'loss.margin': 'margin', 'optimizer.lr': 'lr', 'model._target_': 'model', 'a.dropout': 'a.dropout', \
'b.dropout': 'b.dropout'}
    """
    plain = {key: key.removesuffix(f".{TARGET}") for key in keys}
    names = {}
    for key, text in plain.items():
        parts = text.split(".")
        endings = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [f".{other}" for name, other in plain.items() if name != key]
        names[key] = next((end for end in endings if not any(o.endswith(f".{end}") for o in others)), text)
    return names


def short_value(value: Any) -> str:
    """Format a setting briefly: classes without their module, numbers to four digits, lists without spaces.

    >>> [short_value(value) for value in ("tangka_match.models.VSE", 0.2154689873, [0.1, 0.2], None, True)]
    ['VSE', '0.2155', '[0.1,0.2]', 'null', 'true']
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value.rpartition(".")[2] if value.startswith(("tangka_match.", "torch.")) else value
    return _as_text(value)


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)

"""Hydra's options and folders on a command line: contradictions are refused before Hydra acts on them."""

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from tangka_match.errors import ConfigError

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.chdir")
"""Settings of Hydra that move its output or its working directory."""
UNCHANGED = {"hydra.run.dir": (".",), "hydra.job.chdir": ("false", "null")}
"""Values that move nothing: Lightning gives ``hydra.run.dir="."`` to the processes that it starts."""
UNUSED_FOLDER = (
    "Hydra's folders are not used. A run is written to paths.runs and paths.checkpoints, a sweep to "
    "<paths.runs>/sweeps/<sweep.name>, other commands write to out, and relative paths begin at the folder in which "
    "the command starts: remove it, and set paths.runs, paths.checkpoints, sweep.name or out"
)
INFO = ("--info", "-i")
COMPLETIONS = ("install=", "uninstall=", "query=")


def checked_words(words: Sequence[str]) -> list[str]:
    """Check the options of a command line, and return its words in an order that Hydra's parser accepts.

    Hydra refuses overrides on both sides of an option, so that options come first; ``--hydra-help`` composes no config,
    so that its overrides are left out.

    Args:
        words: Arguments of the command line.

    Raises:
        ConfigError: If options contradict each other, or an override moves Hydra's folders.
        SystemExit: If an option is unknown or lacks its value; the usage has been printed then.

    >>> checked_words(["seed=1", "--cfg", "job", "model=vse"])
    ['--cfg', 'job', 'seed=1', 'model=vse']
    """
    given = get_args_parser().parse_intermixed_args(list(words))
    overrides = list(given.overrides)
    modes = {
        "--run": given.run,
        "-m": given.multirun,
        "--cfg": given.cfg is not None,
        "--info": given.info is not None,
        "--shell-completion": given.shell_completion,
    }
    chosen = [option for option, is_given in modes.items() if is_given]
    if given.experimental_rerun is not None:
        raise ConfigError(
            f"--experimental-rerun {given.experimental_rerun} reads a pickle, which can run any code, and is not "
            "supported; repeat a run with the command in environment.json of its run folder"
        )
    if given.help or given.hydra_help:
        chosen = []
    elif given.resolve and given.cfg is None:
        raise ConfigError("--resolve shows the values behind interpolations, and needs --cfg job or --help beside it")
    elif given.package is not None and given.cfg is None:
        raise ConfigError(f"--package {given.package} shows a part of the config, and needs --cfg job beside it")
    if chosen == ["-m", "--cfg"]:
        raise ConfigError(
            "-m and --cfg: --cfg shows the config of one run and starts nothing; leave out -m, and give each setting "
            "one value"
        )
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)}: only one of them can be given")
    if chosen == ["--shell-completion"] and sum(word.startswith(COMPLETIONS) for word in overrides) != 1:
        raise ConfigError("--shell-completion needs one of install=<shell>, uninstall=<shell> and query=<shell>")
    moved = [word for word in overrides if _moves_a_folder(word)]
    if moved and not (given.help or given.hydra_help):
        raise ConfigError(f"{' '.join(moved)}: {UNUSED_FOLDER}")
    left, options = list(overrides), []
    for word in words:
        if left and word == left[0]:
            left.pop(0)
        else:
            options.append(word)
    return options if given.hydra_help else [*_info_with_value(options, given.info), *overrides]


def _info_with_value(options: list[str], info: str | None) -> list[str]:
    """Join ``--info`` and its optional value: without one, Hydra would take the next word for it."""
    return [
        f"--info={info}" if word in INFO else word
        for position, word in enumerate(options)
        if not (word == info and position and options[position - 1] in INFO)
    ]


def config_options(words: Sequence[str]) -> list[str]:
    """Return the options that choose another config or another folder of configs.

    Args:
        words: Arguments of the command line.

    >>> config_options(["-m", "seed=1,2", "-cd", "mine", "--config-name=other"])
    ['--config-name=other', '--config-dir=mine']
    """
    given = get_args_parser().parse_intermixed_args(list(words))
    named = {"path": given.config_path, "name": given.config_name, "dir": given.config_dir}
    return [f"--config-{option}={value}" for option, value in named.items() if value is not None]


def _moves_a_folder(override: str) -> bool:
    name, _, value = override.lstrip("+~").partition("=")
    return name in FOLDERS and value.strip("'\"").lower() not in UNCHANGED.get(name, ())


def check_folders(hydra: DictConfig, sweep_root: str | None = None) -> None:
    """Refuse a config file of the user that moves Hydra's folders.

    Args:
        hydra: The composed node ``hydra``.
        sweep_root: Folder of all sweeps, as the config gives it; ``None`` in a single run.

    Raises:
        ConfigError: If it does.
    """
    expected: dict[str, object] = {"run.dir": ".", "job.chdir": None}
    if sweep_root is not None:
        expected |= {"sweep.dir": sweep_root, "sweep.subdir": "jobs"}
    found = {name: OmegaConf.select(hydra, name) for name in expected}
    moved = [f"hydra.{name}={found[name]}" for name, value in expected.items() if (found[name] or None) != value]
    if moved:
        raise ConfigError(f"{' '.join(moved)}: {UNUSED_FOLDER}")

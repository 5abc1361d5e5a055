"""Sweep settings with the defaults of ``conf/sweep/default.yaml``."""

from pathlib import Path
from typing import Any

import yaml

from tangka_match.config.conf_folder import conf_dir
from tangka_match.sweeps.settings import SweepSettings


def sweep_settings(**changed: Any) -> SweepSettings:
    """Return the default settings with some of them changed."""
    defaults = yaml.safe_load((Path(conf_dir()) / "sweep" / "default.yaml").read_text("utf-8"))
    return SweepSettings.model_validate(defaults | changed)

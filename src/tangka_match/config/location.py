"""Where ``conf/`` is: in the checkout, in an editable install, or inside the wheel."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CONF_VARIABLE = "TANGKA_MATCH_CONF"


def conf_dir() -> str:
    """Absolute path of ``conf/``; the environment variable ``TANGKA_MATCH_CONF`` overrides it."""
    if CONF_VARIABLE in os.environ:
        return str(Path(os.environ[CONF_VARIABLE]).resolve())
    checkout = PACKAGE.parents[1]
    if (checkout / "pyproject.toml").is_file() and (checkout / "conf" / "config.yaml").is_file():
        return str(checkout / "conf")
    return str(PACKAGE / "conf")

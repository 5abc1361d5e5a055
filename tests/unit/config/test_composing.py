import hydra
import pytest

from tangka_match.config.composing import composing_explained
from tangka_match.errors import ConfigError


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("hydra", ConfigError), ("hydra/core", ConfigError), ("hydra_plugins", ValueError), ("torch", ValueError)],
)
def test_only_errors_of_hydra_itself_are_explained(folder, expected):
    place = f"{hydra.__path__[0].removesuffix('hydra')}{folder}/raises.py"
    raises = compile("raise ValueError('planted')", place, "exec")
    with pytest.raises(expected, match="planted") as caught, composing_explained(["seed=1"]):
        exec(raises, {})  # noqa: S102 - the error needs a place in that folder
    assert caught.type is expected

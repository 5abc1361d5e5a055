"""What every model demands of its arguments and inputs."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError


def check_sizes(model: str, sizes: dict[str, int]) -> None:
    """Raise ``ConfigError`` unless every size is a whole number of at least 1.

    >>> check_sizes("VSE", {"embed_dim": 0})
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: VSE: embed_dim is 0; it must be a whole number of at least 1
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{model}: {name} is {value!r}; it must be a whole number of at least 1")


def check_dropout(model: str, dropout: float | int) -> None:
    """Raise ``ConfigError`` unless ``dropout`` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise ConfigError(f"{model}: dropout is {dropout!r}; it must be at least 0 and below 1")


def check_choice(model: str, name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise ``ConfigError`` unless a setting is one of the allowed words."""
    if value not in allowed:
        raise ConfigError(f"{model}: {name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_heads(model: str, num_heads: int, width_name: str, width: int) -> None:
    """Raise ``ConfigError`` unless attention heads share out the dimensions that they look at evenly."""
    if width % num_heads:
        raise ConfigError(f"{model}: num_heads is {num_heads}; it must divide {width_name}={width}")


def check_regions(model: str, regions: Float[Tensor, "I R F"], feature_dim: int) -> None:
    """Raise ``ShapeError`` unless region features have the dimensions that the model was built for."""
    if regions.shape[2] != feature_dim:
        raise ShapeError(
            f"{model}: regions have {regions.shape[2]} features, the model was built for feature_dim={feature_dim}; "
            "build it for these data, or extract the features that it was trained on"
        )

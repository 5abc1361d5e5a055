"""From the plain hyper-parameters in a checkpoint back to a model, without running what the file says."""

import inspect
from collections.abc import Mapping

from tangka_match import models
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.types import Matcher

_FROM_DATA = ("vocab_size", "feature_dim", "num_regions")


def build_matcher(spec: Mapping[str, object], *, vocab_size: int, feature_dim: int, num_regions: int) -> Matcher:
    """Build the model that a checkpoint describes.

    Only the classes that ``tangka_match.models`` exports can be named, so a checkpoint cannot make this call anything
    else.

    Args:
        spec: ``{"_target_": "tangka_match.models.SGRAF", ...}``: the class and its arguments, apart from the three
            that come from the data.
        vocab_size: Words in the vocabulary.
        feature_dim: Dimensions of a region feature.
        num_regions: Regions of an image.

    Raises:
        CheckpointError: The class is unknown, an argument is unknown or missing, or a value is not allowed.

    Example:
        >>> spec = {"_target_": "tangka_match.models.SGRAF", "reasoning": "saf", "embed_dim": 8}
        >>> type(build_matcher(spec, vocab_size=50, feature_dim=16, num_regions=3)).__name__
        'SGRAF'
    """
    allowed = {f"{models.__name__}.{name}": getattr(models, name) for name in models.__all__}
    target = spec.get("_target_")
    if not isinstance(target, str) or target not in allowed:
        raise CheckpointError(f"the checkpoint names the model {target!r}; allowed are {', '.join(sorted(allowed))}")
    model = allowed[target]
    arguments = {name: value for name, value in spec.items() if name != "_target_"}
    known = inspect.signature(model).parameters
    settable = [name for name in known if name not in _FROM_DATA]
    unknown = sorted(name for name in arguments if name not in settable)
    if unknown:
        raise CheckpointError(f"the checkpoint gives {target} unknown arguments {unknown}; it knows {settable}")
    missing = [name for name in settable if known[name].default is inspect.Parameter.empty and name not in arguments]
    if missing:
        raise CheckpointError(f"the checkpoint does not give {target} the arguments {missing}")
    try:
        return model(vocab_size=vocab_size, feature_dim=feature_dim, num_regions=num_regions, **arguments)
    except ConfigError as error:
        raise CheckpointError(f"the checkpoint describes an impossible model: {error}") from error

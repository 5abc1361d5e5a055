"""Mappings from the weights and options of other programs to ours, one YAML file each; ``mappings/`` is shipped."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tangka_match.errors import CheckpointError
from tangka_match.retrieval.foreign import names_fit
from tangka_match.settings import Settings

OPTIONS_KEY = "opt"
"""Where training scripts of this field store their command-line options in a checkpoint."""
_SIZES = ("num_regions", "feature_dim")


class WeightMapping(Settings):
    """Content of a mapping file: the model, and where its arguments and weights are in the other checkpoint.

    Attributes:
        model: Our model, with arguments that the other program does not vary.
        weights: Map from their weight names to ours, see `from_foreign`.
        num_regions: Regions per image; ``None`` if an option gives it.
        feature_dim: Dimensions of a region feature; ``None`` if an option gives it.
        options: Option of the checkpoint that gives an argument of our model, ``num_regions`` or ``feature_dim``;
            ``{option: {their value: our value}}`` where the values differ.
        required: Options and the value that our model stands for.
        state: Dotted path of the weights.
        tokenizer: Arguments of ``JiebaTokenizer``.
        max_tokens: Maximum tokens per caption, including ``<start>`` and ``<end>``.
    """

    model: dict[str, Any]
    weights: dict[str, str | None]
    num_regions: Annotated[int, Field(ge=1)] | None = None
    feature_dim: Annotated[int, Field(ge=1)] | None = None
    options: dict[str, str | dict[str, dict[str, Any]]] = Field(default_factory=dict)
    required: dict[str, Any] = Field(default_factory=dict)
    state: str = "model_state_dict"
    tokenizer: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=3)] = 80

    @property
    def needs_text_model(self) -> bool:
        """Whether the model contains a pretrained text encoder."""
        return self.model.get("_target_") == "tangka_match.models.PretrainedText"

    def arguments(self, source: Path, content: object) -> dict[str, Any]:
        """Return the arguments of `from_foreign` for a checkpoint.

        Args:
            source: The checkpoint, for messages.
            content: Its content.

        Raises:
            CheckpointError: If the checkpoint lacks an option, or an option has a value that our model does not stand
                for; the message lists all faults.
        """
        taken, faults = self._take_options(read_options(content))
        sizes = {name: taken.pop(name, getattr(self, name)) for name in _SIZES}
        faults += [f"{name} is missing: set it, or name its option under options" for name in _SIZES if not sizes[name]]
        if faults:
            raise CheckpointError(
                f"{source}: the mapping does not fit the options of the checkpoint:\n  " + "\n  ".join(faults)
            )
        return {
            **self.model_dump(include={"weights", "state", "tokenizer", "max_tokens"}),
            **sizes,
            "model": self.model | taken,
        }

    def option_faults(self, content: object) -> list[str]:
        """List why the options of a checkpoint do not fit this mapping."""
        return self._take_options(read_options(content))[1]

    def _take_options(self, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        taken, faults = {}, []
        for name, wanted in self.required.items():
            if name not in options:
                faults.append(f"{OPTIONS_KEY}.{name} is missing; the mapping is for {wanted!r}")
            elif options[name] != wanted:
                faults.append(f"{OPTIONS_KEY}.{name} is {options[name]!r}; the mapping is for {wanted!r}")
        for ours, rule in self.options.items():
            name, values = (rule, None) if isinstance(rule, str) else next(iter(rule.items()))
            if name not in options:
                faults.append(f"{OPTIONS_KEY}.{name} is missing; write the value of {ours} into the mapping instead")
            elif values is not None and options[name] not in values:
                faults.append(f"{OPTIONS_KEY}.{name} is {options[name]!r}; the mapping knows {', '.join(values)}")
            else:
                taken[ours] = options[name] if values is None else values[options[name]]
        return taken, faults


def read_options(content: object) -> dict[str, Any]:
    """Return the command-line options in a checkpoint; empty if it holds none."""
    found = content.get(OPTIONS_KEY) if isinstance(content, dict) else None
    options = found if isinstance(found, dict) else getattr(found, "__dict__", {})
    return {str(name): value for name, value in options.items()}


def shipped_mappings() -> dict[str, Path]:
    """Return the mapping files that this package ships, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "mappings").glob("*.yaml"))}


def fitting_mappings(content: object, mappings: dict[str, WeightMapping]) -> dict[str, list[str]]:
    """Return the mappings that name exactly the weights of a checkpoint, each with the faults of its options."""
    return {
        name: mapping.option_faults(content)
        for name, mapping in mappings.items()
        if names_fit(content, mapping.state, mapping.weights)
    }

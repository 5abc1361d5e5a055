"""Convert checkpoints of other programs, by a mapping from their weight names to ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tangka_match.data.tokenizer import JiebaTokenizer, PieceTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.hub import read_config
from tangka_match.models import ChineseCLIP
from tangka_match.models.registry import build_matcher
from tangka_match.models.text_tower import read_rows
from tangka_match.retrieval.metadata import as_checkpoint, make_metadata
from tangka_match.retrieval.safe_load import load_with_stand_ins

Weights = dict[str, Tensor]
_WRAPPERS = ("module.", "_orig_mod.")
_PIECE_VECTORS = "embeddings.word_embeddings.weight"
_POSITIONS = "embeddings.position_ids"
"""Constant buffer that transformers before 4.31 saved."""
_COUNTER = "num_batches_tracked"
"""Buffer of batch norm that torch before 0.4.1 did not save, and that scores do not depend on."""


def describe_foreign(source: Path) -> str:
    """Describe a checkpoint: each group of weights with keys and shapes, and the classes that were not loaded.

    Args:
        source: File written by ``torch.save``.

    Raises:
        CheckpointError: If the file is missing, damaged or refused.
    """
    content, replaced = load_with_stand_ins(source)
    groups = weight_groups(content)
    lines = []
    for place, weights in groups.items():
        lines.append(f"{place or '(the file itself)'}: {len(weights)} tensors")
        lines += [f"  {key} {tuple(value.shape)}" for key, value in weights.items()]
    if not groups:
        found = f", only {', '.join(map(str, content))}" if isinstance(content, dict) else f": {type(content).__name__}"
        lines.append(f"no named weights{found}")
    if replaced:
        lines.append(f"named by the file, neither imported nor executed: {', '.join(replaced)}")
    return "\n".join(lines)


def weight_groups(content: object, place: str = "") -> dict[str, Weights]:
    """Find all dictionaries of named tensors in a checkpoint, also those in lists.

    The prefixes ``module.`` of ``DataParallel`` and ``_orig_mod.`` of ``torch.compile`` are removed where all names of
    a dictionary have them.

    Args:
        content: Content of the checkpoint.
        place: Dotted path of ``content`` in the file.

    Returns:
        Tensors by name, for each dotted path.

    Example:
        >>> import torch
        >>> weight_groups({"epoch": 3, "model": [{"module.fc.bias": torch.zeros(2)}]})
        {'model.0': {'fc.bias': tensor([0., 0.])}}
    """
    if isinstance(content, list | tuple):
        named: dict[str, Any] = {str(number): item for number, item in enumerate(content) if isinstance(item, dict)}
    elif isinstance(content, dict):
        named = {key: value for key, value in content.items() if isinstance(key, str)}
    else:
        return {}
    tensors = without_wrapper_prefix({key: value for key, value in named.items() if isinstance(value, Tensor)})
    groups = {place: tensors} if tensors else {}
    for key, value in named.items():
        groups |= weight_groups(value, f"{place}.{key}" if place else key)
    return groups


def without_wrapper_prefix(weights: Weights) -> Weights:
    """Remove ``module.`` and ``_orig_mod.`` from the names if all have them."""
    for prefix in _WRAPPERS:
        if weights and all(name.startswith(prefix) for name in weights):
            return without_wrapper_prefix({name.removeprefix(prefix): value for name, value in weights.items()})
    return weights


def weights_at(content: object, state: str) -> Weights | None:
    """Return the weights at a dotted path of a checkpoint; ``None`` if there are none.

    A list of state dicts, such as ``model`` of SCAN and VSE++, gives names that begin with the position, such as
    ``0.fc.weight``.
    """
    groups = weight_groups(content)
    if state in groups:
        return groups[state]
    start = f"{state}."
    parts = {place.removeprefix(start): weights for place, weights in groups.items() if place.startswith(start)}
    merged = {f"{place}.{name}": value for place, weights in parts.items() for name, value in weights.items()}
    return merged or None


def names_fit(content: object, state: str, weights: Mapping[str, str | None]) -> bool:
    """Whether a mapping names all weights at a place of a checkpoint, and no others."""
    theirs = weights_at(content, state)
    return theirs is not None and not _rename(theirs, weights)[1]


def from_foreign(
    source: Path,
    vocabulary: Vocabulary | None,
    *,
    model: dict[str, Any],
    weights: Mapping[str, str | None],
    num_regions: int,
    feature_dim: int,
    state: str = "model_state_dict",
    tokenizer: Mapping[str, Any] | None = None,
    max_tokens: int = 80,
    text_model: str | None = None,
) -> dict[str, Any]:
    """Convert a checkpoint of another program into one of ours.

    Args:
        source: File written by ``torch.save``.
        vocabulary: Vocabulary that the model was trained with; ``None`` with ``text_model``.
        model: Hyper-parameters of our model, including ``_target_``.
        weights: Map from their weight names to ours, or to ``None`` to drop a weight. A name that ends in ``.*``
            matches all weights with that prefix; exact names take precedence.
        num_regions: Regions per image.
        feature_dim: Dimensions of a region feature.
        state: Dotted path of the weights in the file; empty for the top level. At a list of state dicts, a name begins
            with the position in the list: ``0.fc.weight``.
        tokenizer: Arguments of ``JiebaTokenizer``; the defaults if ``None``.
        max_tokens: Maximum tokens per caption, including ``<start>`` and ``<end>``.
        text_model: Folder or hub name of the pretrained text encoder that was fine-tuned, for its config and pieces.

    Returns:
        Checkpoint dict for ``torch.save``, readable by ``tangka_match.load``.

    Raises:
        ConfigError: If ``text_model`` cannot be read.
        CheckpointError: If the file is missing, damaged or refused, or the mapping does not give every weight of the
            model exactly once in its shape; the message lists all faults.
    """
    theirs = _read_weights(source, state)
    cutter = JiebaTokenizer(**(tokenizer or {})) if text_model is None else PieceTokenizer(text_model)
    if text_model is not None:
        vocabulary, max_tokens = cutter.vocabulary, min(max_tokens, cutter.max_tokens or max_tokens)
        model = {**model, "text_model": None, "text_config": read_config(text_model)}
        theirs = _in_our_order(source, theirs, read_rows(text_model, len(vocabulary or ())))
    assert vocabulary is not None
    matcher = build_matcher(model, vocab_size=len(vocabulary), feature_dim=feature_dim, num_regions=num_regions)
    assert isinstance(matcher, nn.Module)
    taken = _take(source, theirs, ours := matcher.state_dict(), weights)
    metadata = make_metadata(
        name="converted",
        run_id=source.name,
        model=model,
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=cutter.settings(),
        max_tokens=max_tokens,
        num_regions=num_regions,
        feature_dim=feature_dim,
        data_fingerprint="",
    )
    return as_checkpoint({key: taken.get(key, ours[key]) for key in ours}, metadata)


def _read_weights(source: Path, state: str) -> Weights:
    content = load_with_stand_ins(source)[0]
    found = weights_at(content, state)
    if found is None:
        known = ", ".join(name or "''" for name in weight_groups(content)) or "(the file holds none)"
        raise CheckpointError(f"{source}: no weights at state={state!r}; weights are at: {known}")
    return found


def _in_our_order(source: Path, theirs: Weights, rows: Tensor) -> Weights:
    """Order the embeddings of word pieces as our vocabulary does.

    Args:
        source: The checkpoint, for messages.
        theirs: Its weights.
        rows: Row of each of our words, (V,).
    """
    moved = {}
    for name, value in theirs.items():
        if name.endswith(_PIECE_VECTORS):
            if len(value) <= int(rows.max()):
                raise CheckpointError(
                    f"{source}: {name} has {len(value):,} vectors, but text_model numbers its word pieces up to "
                    f"{int(rows.max()):,}; give the text encoder that the checkpoint was fine-tuned from"
                )
            moved[name] = value[rows]
    return theirs | moved


def _take(source: Path, theirs: Weights, ours: Weights, mapping: Mapping[str, str | None]) -> Weights:
    """Rename and check the weights; all faults are listed in one message."""
    renamed, faults = _rename(theirs, mapping)
    for key, target in renamed.items():
        if target is None:
            continue
        if target not in ours:
            faults.append(f"{key} is mapped to {target}, which the model does not have")
        elif theirs[key].shape != ours[target].shape:
            found, wanted = tuple(theirs[key].shape), tuple(ours[target].shape)
            faults.append(f"{key} is {found}, but {target} is {wanted}")
    targets = [target for target in renamed.values() if target is not None]
    faults += [f"{target} is given {targets.count(target)} times" for target in ours if targets.count(target) > 1]
    lacking = [key for key in ours if key not in targets and not key.endswith(_COUNTER)]
    faults += [f"nothing is mapped to {key} {tuple(ours[key].shape)}" for key in lacking]
    if faults:
        raise CheckpointError(f"{source}: the mapping does not fit:\n  " + "\n  ".join(faults))
    return {target: theirs[key].to(ours[target].dtype).clone() for key, target in renamed.items() if target is not None}


def _rename(theirs: Weights, mapping: Mapping[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """Return our name for each of their weights, and the faults of the mapping; exact names precede ``.*``."""
    renamed: dict[str, str | None] = {}
    faults = []
    unused = set(mapping)
    for key, value in theirs.items():
        rules = [rule for rule in mapping if rule == key or (rule.endswith(".*") and key.startswith(rule[:-1]))]
        if key.endswith(_POSITIONS):
            renamed[key] = None
            continue
        if not rules:
            faults.append(f"{key} {tuple(value.shape)} is not mapped; map it to null to drop it")
            continue
        rule = max(rules, key=lambda name: (name == key, len(name)))
        unused.discard(rule)
        target = mapping[rule]
        if target is not None and rule != key:
            target = target.removesuffix("*") + key[len(rule) - 1 :]
        renamed[key] = target
    faults += [f"{rule} is mapped, but the file has no such weight" for rule in mapping if rule in unused]
    return renamed, faults


def zero_shot_checkpoint(source: str, num_regions: int, feature_dim: int) -> dict[str, Any]:
    """Build a checkpoint of a pretrained Chinese-CLIP, for zero-shot matching.

    Args:
        source: Folder of the Chinese-CLIP, or its name on the Hugging Face hub.
        num_regions: Regions per image in the features that its vision tower extracted.
        feature_dim: Dimensions of the joint space.

    Returns:
        Checkpoint dict for ``torch.save``, readable by ``tangka_match.load``.

    Raises:
        ConfigError: If the model cannot be read, or has a joint space of another size.
    """
    tokenizer = PieceTokenizer(source)
    vocabulary = tokenizer.vocabulary
    matcher = ChineseCLIP(
        vocab_size=len(vocabulary), feature_dim=feature_dim, num_regions=num_regions, text_model=source
    )
    metadata = make_metadata(
        name="chinese_clip_zero_shot",
        run_id=Path(source).name,
        model={"_target_": "tangka_match.models.ChineseCLIP", **matcher.checkpoint_arguments()},
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=tokenizer.settings(),
        max_tokens=tokenizer.max_tokens,
        num_regions=num_regions,
        feature_dim=feature_dim,
        data_fingerprint="",
    )
    return as_checkpoint(matcher.state_dict(), metadata)

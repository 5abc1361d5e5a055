"""Weights of the Chinese-CLIP training code (``.pt``) under the names of transformers, as a model folder.

``cn_clip`` saves ``{"epoch", "step", "name", "state_dict", "optimizer"}``: an OpenAI vision transformer ``visual``,
a ``bert``, and two projections that are multiplied from the right.
"""

import re
from pathlib import Path

from torch import Tensor

from tangka_match.errors import CheckpointError
from tangka_match.hub import library, load_model
from tangka_match.hub.source import read
from tangka_match.retrieval.foreign import Weights, describe_foreign, weights_at
from tangka_match.retrieval.safe_load import load_with_stand_ins

STATE = "state_dict"
_LAYER = r"visual\.transformer\.resblocks\.(\d+)\."
_OUR_LAYER = r"vision_model.encoder.layers.\1."
_RENAMED = (
    (r"bert\.(?!pooler\.)", r"text_model."),
    (r"visual\.class_embedding$", r"vision_model.embeddings.class_embedding"),
    (r"visual\.positional_embedding$", r"vision_model.embeddings.position_embedding.weight"),
    (r"visual\.conv1\.", r"vision_model.embeddings.patch_embedding."),
    (r"visual\.ln_pre\.", r"vision_model.pre_layrnorm."),
    (r"visual\.ln_post\.", r"vision_model.post_layernorm."),
    (_LAYER + r"ln_(\d)\.", _OUR_LAYER + r"layer_norm\2."),
    (_LAYER + r"mlp\.c_fc\.", _OUR_LAYER + r"mlp.fc1."),
    (_LAYER + r"mlp\.c_proj\.", _OUR_LAYER + r"mlp.fc2."),
    (_LAYER + r"attn\.out_proj\.", _OUR_LAYER + r"self_attn.out_proj."),
    (r"logit_scale$", r"logit_scale"),
)
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_QUERY_KEY_VALUE = re.compile(_LAYER + r"attn\.in_proj_(weight|bias)$")
_DROPPED = re.compile(r"bert\.pooler\.|.*position_ids$")


def is_chinese_clip(content: object) -> bool:
    """Check whether a file holds weights of the Chinese-CLIP training code."""
    weights = weights_at(content, STATE)
    return weights is not None and {"visual.proj", "text_projection", "logit_scale"} <= weights.keys()


def hub_weights(theirs: Weights) -> Weights:
    """Return the weights under the names of transformers; names that are not known stay as they are.

    Args:
        theirs: Weights by the names of ``cn_clip``.

    Example:
        >>> import torch
        >>> {name: tuple(x.shape) for name, x in hub_weights({"visual.proj": torch.zeros(768, 512)}).items()}
        {'visual_projection.weight': (512, 768)}
    """
    found: Weights = {}
    for name, value in theirs.items():
        if _DROPPED.match(name):
            continue
        if name in _TRANSPOSED:
            found[_TRANSPOSED[name]] = value.T.contiguous()
        elif match := _QUERY_KEY_VALUE.match(name):
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                found[f"vision_model.encoder.layers.{match[1]}.self_attn.{part}_proj.{match[2]}"] = rows.contiguous()
        else:
            found[_renamed(name)] = value
    return found


def write_model_folder(source: Path, clip: str, out: Path) -> None:
    """Write a fine-tuned Chinese-CLIP as a folder for ``clip=`` and ``model.text_model=``.

    Args:
        source: ``.pt`` file of the training code.
        clip: Folder or hub name of a Chinese-CLIP of the same size, from which config and vocabulary are taken.
        out: New folder.

    Raises:
        CheckpointError: If the file is damaged, is not of that code, or has another size; the message lists all faults.
        ConfigError: If ``clip`` cannot be read.
    """
    weights = weights_at(load_with_stand_ins(source)[0], STATE)
    if weights is None:
        raise CheckpointError(f"{source}: no weights at {STATE}; it holds\n{describe_foreign(source)}")
    theirs = hub_weights(weights)
    model = load_model(clip, "ChineseCLIPModel")
    if faults := _faults(theirs, model.state_dict()):
        raise CheckpointError(
            f"{source} does not fit {clip}; give the Chinese-CLIP that it was fine-tuned from (ResNet-50 does not "
            "exist in transformers):\n  " + "\n  ".join(faults)
        )
    model.load_state_dict({**model.state_dict(), **{name: value.float() for name, value in theirs.items()}})
    model.save_pretrained(out)
    read(clip, "vocab.txt", library().AutoTokenizer.from_pretrained).save_pretrained(out)


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", replacement, name)
    return name


def _faults(theirs: Weights, ours: dict[str, Tensor]) -> list[str]:
    faults = []
    for name, value in theirs.items():
        if name not in ours:
            faults.append(f"{name} {tuple(value.shape)} is not a part of the model")
        elif value.shape != ours[name].shape:
            faults.append(f"{name} is {tuple(value.shape)}, there {tuple(ours[name].shape)}")
    absent = [name for name in ours if name not in theirs and not _is_unused(name)]
    return faults + [f"{name} {tuple(ours[name].shape)} is missing" for name in absent]


def _is_unused(name: str) -> bool:
    return name.startswith("text_model.pooler.") or name.endswith("position_ids")

"""Folder with the encoders of a model, for use without this package."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import torch

import tangka_match
from tangka_match.data.split import Split
from tangka_match.errors import CheckpointError
from tangka_match.metrics.ranks import retrieval_ranks
from tangka_match.metrics.recall import summarise
from tangka_match.ops import dot_products
from tangka_match.retrieval.onnx_graphs import IMAGE, TEXT, write_graph
from tangka_match.retrieval.trained_matcher import TrainedMatcher

_TEMPLATES = Path(__file__).parent / "exported"
_WORDS = {"jieba": "words_by_jieba.txt", "pieces": "words_by_pieces.txt"}
_PACKAGES = {"jieba": "jieba", "pieces": "tokenizers"}


@dataclass(frozen=True)
class VectorCost:
    """Metrics of a model whose vectors are only a part of its score.

    Args:
        split: Name of the split.
        whole: Metrics of the whole score, by the names of `metrics.summarise`.
        vectors: Metrics of the product of the vectors, by the same names.
    """

    split: str
    whole: Mapping[str, float]
    vectors: Mapping[str, float]

    @classmethod
    def measure(cls, matcher: TrainedMatcher, split: Split) -> "VectorCost":
        """Evaluate the whole score and the vectors alone on a split.

        Raises:
            CheckpointError: If the split does not fit the model.
        """
        images, texts = matcher.encode_split(split)
        assert images.pooled is not None and texts.pooled is not None
        owners = torch.as_tensor(split.caption_to_image)
        whole, vectors = (
            summarise(retrieval_ranks(scores, owners))
            for scores in (matcher.similarity(images, texts), dot_products(images.pooled, texts.pooled))
        )
        return cls(split.name, whole, vectors)

    def describe(self) -> str:
        """Return a sentence for the terminal and for the README of the folder."""
        pairs = (
            f"{label} {self.whole[name]:.2f} → {self.vectors[name]:.2f}"
            for label, name in (("mean R@1", "mean_r1"), ("rsum", "rsum"))
        )
        return f"whole score → vectors alone, on {self.split}: {', '.join(pairs)}"


def check_tokenizer(matcher: TrainedMatcher) -> None:
    """Refuse a tokenizer of another package, whose code the folder could not replace.

    Raises:
        CheckpointError: If the tokenizer is not one of this package.
    """
    name = matcher.metadata["tokenizer"].get("name")
    if name not in _WORDS:
        raise CheckpointError(
            f"the tokenizer {name!r} is of another package, so the folder could not be used without it; tokenizers "
            f"that can be exported: {', '.join(_WORDS)}"
        )


def write_folder(
    matcher: TrainedMatcher,
    folder: Path,
    *,
    has_whole_score: bool,
    cost: VectorCost | None,
    advance: Callable[[], None],
) -> None:
    """Write the two graphs, tokenizer, vocabulary, limits and README.

    Args:
        matcher: Model with one vector per image and caption, on the CPU.
        folder: Existing folder.
        has_whole_score: Whether the product of the vectors is the whole score of the model.
        cost: What leaving out the rest of the score costs, if it was measured.
        advance: Called after each of the two graphs.

    Raises:
        CheckpointError: If an encoder cannot be written, or computes something else than the model.
        ConfigError: If the packages of the extra ``export`` are not installed.
    """
    for side in (IMAGE, TEXT):
        embed_dim = write_graph(matcher, side, folder)
        advance()
    metadata = matcher.metadata
    _write_json(folder / "tokenizer.json", metadata["tokenizer"])
    _write_json(folder / "vocabulary.json", metadata["vocabulary"])
    about: dict[str, Any] = {
        **{name: metadata[name] for name in ("name", "run_id", "feature_dim", "max_tokens", "data_fingerprint")},
        "model": type(matcher.matcher).__name__,
        "embed_dim": embed_dim,
        "score": "product of the vectors" if has_whole_score else "product of the vectors, a part of the model's score",
        "written_by": f"tangka_match {tangka_match.__version__}",
    }
    if cost is not None:
        about["recalls"] = {"split": cost.split, "whole_score": cost.whole, "vectors": cost.vectors}
    _write_json(folder / "model.json", about)
    (folder / "README.md").write_text(_readme(about, cost, has_whole_score, metadata["tokenizer"]["name"]), "utf-8")


def _readme(about: Mapping[str, Any], cost: VectorCost | None, has_whole_score: bool, tokenizer: str) -> str:
    if has_whole_score:
        score = "This is the whole score of the model."
    else:
        effect = "was not measured; data.root=<folder> measures it"
        if cost is not None:
            effect = f"is, in percent: {cost.describe()}"
        score = (
            "This is a part of the score of the model, which also compares words with regions. The effect of leaving "
            f"that out {effect}."
        )
    template = Template((_TEMPLATES / "README.md").read_text(encoding="utf-8"))
    return template.substitute(
        run_id=about["run_id"],
        model=about["model"],
        feature_dim=about["feature_dim"],
        embed_dim=about["embed_dim"],
        max_tokens=about["max_tokens"],
        version=tangka_match.__version__,
        score=score,
        packages=f"numpy onnxruntime {_PACKAGES[tokenizer]}",
        tokenizer_code=(_TEMPLATES / _WORDS[tokenizer]).read_text(encoding="utf-8").strip(),
    )


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

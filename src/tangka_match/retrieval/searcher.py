"""Search of one trained model over the images and captions of a split."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.retrieval.encode import drop_correction
from tangka_match.retrieval.nearest import Engine, ExactSearch, Hits, best_rows
from tangka_match.retrieval.rescoring import PROBES, Rescorer, Scoring, picture_vectors, scoring_of
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Encoded

Regions = npt.NDArray[np.floating[Any]]
MAX_CAPTIONS = 20_000
"""Captions up to which a model without one vector per caption searches the captions of a picture."""


class Word(NamedTuple):
    """Word of a query, and whether the vocabulary of the model has it."""

    text: str
    known: bool


@dataclass(frozen=True)
class Agreement:
    """Agreement of an approximate or re-ranked search with the exact one, in percent.

    Args:
        first: Queries with the same first image.
        shared: Share of the exact best images that are found.
        top: Number of best images compared.
        queries: Number of queries compared.
    """

    first: float
    shared: float
    top: int
    queries: int

    def describe(self) -> str:
        """Return a sentence for the terminal."""
        return (
            f"same first image as exact search in {self.first:.0f} % of {self.queries} captions, {self.shared:.0f} % "
            f"of its best {self.top} found"
        )


class Searcher:
    """Search of a split with one model, optionally re-ranked by another one.

    Args:
        split: Images and captions.
        base: Model that searches, and its index of the split.
        engine: Search of the nearest vectors; exact if ``None``.
        rerank: Model that scores the best images again, and its index; the same model, if its score is more than the
            product of two vectors.
        rerank_top: Number of best images that are scored again.

    Raises:
        ConfigError: If an index does not hold the images of the split, ``rerank_top`` is below 1, or ``engine`` is
            given for a model without comparable vectors.
    """

    def __init__(
        self,
        split: Split,
        base: Rescorer,
        *,
        engine: Engine | None = None,
        rerank: Rescorer | None = None,
        rerank_top: int = 100,
    ) -> None:
        if rerank_top < 1:
            raise ConfigError(f"rerank_top={rerank_top} must be >= 1")
        for used in (base, rerank):
            if used is not None and used.index.image_ids != split.image_ids:
                raise ConfigError(
                    f"{used.index.folder}: its images are not those of split {split.name}; build it again"
                )
        self.split = split
        self.base = base
        self.scoring: Scoring = scoring_of(base, base.matcher.encode_texts(split.captions[:PROBES]))
        if engine is not None and self.scoring == "whole gallery":
            raise ConfigError(
                "this model compares regions with words and has no vectors to index: use index=exact, or give it as "
                "rerank= to a model with vectors (cca, dual_encoder, vse)"
            )
        self.engine = engine
        self.rerank = rerank or (base if self.scoring == "pooled first" else None)
        self.rerank_top = rerank_top
        self._tokenizing = threading.Lock()  # jieba loads its dictionary on first use

    @property
    def is_exact(self) -> bool:
        """Whether the answers are those of the full score over all images."""
        whole = self.rerank is None or self.rerank_top >= self.split.num_images
        return whole and (self.engine is None or self.engine.is_exact)

    def words(self, query: str) -> list[Word]:
        """Split a query into the words that the model sees."""
        with self._tokenizing:
            words = self.base.matcher.tokenizer(query)
        return [Word(word, self.base.matcher.vocabulary.knows(word)) for word in words]

    def search(self, queries: Sequence[str], top: int) -> Hits:
        """Find the best images of each query.

        Args:
            queries: Texts.
            top: Number of images per query, >= 1.

        Raises:
            DataFormatError: If a query has no words.
        """
        for query in queries:
            if not self.words(query):
                raise DataFormatError(f"query {query!r} has no words: write at least one word")
        texts = self._encode(self.base.matcher, queries)
        wanted = min(top, self.split.num_images)
        if self.rerank is None:
            return self._first(texts, wanted)
        candidates = self._first(texts, min(max(top, self.rerank_top), self.split.num_images)).rows
        others = texts if self.rerank is self.base else self._encode(self.rerank.matcher, queries)
        ranked = [
            _best(self.rerank.score(others[place : place + 1], rows)[0], wanted, rows)
            for place, rows in enumerate(candidates)
        ]
        return Hits(np.stack([rows for rows, _ in ranked]), np.stack([scores for _, scores in ranked]))

    def exact(self, queries: Sequence[str], top: int) -> Hits:
        """Find the best images by scoring all of them with the last model of the chain."""
        last = self.rerank or self.base
        texts = self._encode(last.matcher, queries)
        if self.rerank is None and self.scoring == "product":
            return last.index.search(texts, top)
        return _best_of_each(last.score(texts), top)

    def agreement(self, queries: Sequence[str], top: int = 10) -> Agreement:
        """Compare this search with `exact` on some queries."""
        wanted = min(top, self.split.num_images)
        found, right = self.search(queries, wanted).rows, self.exact(queries, wanted).rows
        shared = [len(set(a) & set(b)) / wanted for a, b in zip(found.tolist(), right.tolist(), strict=True)]
        first = float((found[:, 0] == right[:, 0]).mean())
        return Agreement(100 * first, 100 * float(np.mean(shared)), wanted, len(queries))

    def similar(self, row: int, top: int) -> Hits:
        """Find the images closest to an image, without itself; scores are cosines of image vectors."""
        found = ExactSearch(self._pictures).search(self._pictures[row : row + 1], top + 1)
        others = found.rows[0] != row
        return Hits(found.rows[:, others][:, :top], found.scores[:, others][:, :top])

    def similar_to(self, regions: Regions, top: int) -> Hits:
        """Find the images closest to one that is not in the split, (1, R, F)."""
        return ExactSearch(self._pictures).search(self._picture_vectors(self.base.matcher.encode_images(regions)), top)

    def captions(self, row: int, top: int) -> Hits:
        """Find the captions of the split that fit an image best.

        Raises:
            ConfigError: If the model has no vector per caption and the split has more than ``MAX_CAPTIONS``.
        """
        return self._fitting(self.base.image(row), None if self.rerank is None else self.rerank.image(row), top)

    def captions_of(self, regions: Regions, top: int) -> Hits:
        """Find the captions that fit an image that is not in the split, (1, R, F); see `captions`."""
        again = None if self.rerank is None else self.rerank.matcher.encode_images(regions)
        return self._fitting(self.base.matcher.encode_images(regions), again, top)

    def seconds_per_query(self) -> float:
        """Measure the time of one query, without loading from disk."""
        query = [self.split.captions[0]]
        self.search(query, 1)
        start = time.perf_counter()
        self.search(query, 1)
        return time.perf_counter() - start

    def _fitting(self, image: Encoded, again: Encoded | None, top: int) -> Hits:
        """Rank the captions for an image, encoded by the base model and by the one that re-ranks."""
        if self.scoring == "whole gallery" and self.split.num_captions > MAX_CAPTIONS:
            raise ConfigError(
                f"{self.split.num_captions:,} captions are too many for a model without one vector per caption (at "
                f"most {MAX_CAPTIONS:,}); use it as rerank= of another one"
            )
        count = top if again is None else max(top, self.rerank_top)
        texts = self._captions
        if self.scoring == "whole gallery":
            rows, scores = _best(self.base.score_captions(image, texts), count)
        else:
            assert texts.pooled is not None and image.pooled is not None
            found = ExactSearch(texts.pooled.numpy()).search(image.pooled.numpy(), count)
            rows, scores = found.rows[0], found.scores[0]
        if self.rerank is not None and again is not None:
            chosen = self._encode(self.rerank.matcher, [self.split.captions[place] for place in rows])
            rows, scores = _best(self.rerank.score_captions(again, chosen), top, rows)
        return Hits(rows[None, :top], scores[None, :top])

    def _first(self, texts: Encoded, top: int) -> Hits:
        """Rank the images by the base model."""
        if self.scoring == "whole gallery":
            return _best_of_each(self.base.score(texts), top)
        assert texts.pooled is not None
        vectors = texts.pooled.numpy()
        return self._exact_vectors.search(vectors, top) if self.engine is None else self.engine.search(vectors, top)

    def _encode(self, matcher: TrainedMatcher, texts: Sequence[str]) -> Encoded:
        with self._tokenizing:
            return matcher.encode_texts(texts)

    @cached_property
    def _exact_vectors(self) -> ExactSearch:
        return ExactSearch(self.base.index.vectors)

    @cached_property
    def _pictures(self) -> npt.NDArray[np.float32]:
        return self._picture_vectors(self.base.index.encoded)

    def _picture_vectors(self, images: Encoded) -> npt.NDArray[np.float32]:
        return picture_vectors(drop_correction(self.base.matcher.matcher, images))

    @cached_property
    def _captions(self) -> Encoded:
        texts = self._encode(self.base.matcher, self.split.captions)
        return texts if self.scoring == "whole gallery" else Encoded(pooled=texts.pooled)


def _best(
    scores: npt.NDArray[np.float32], top: int, rows: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the best of these rows and their scores."""
    places = best_rows(scores, top, rows)
    return (places if rows is None else rows[places]), scores[places]


def _best_of_each(scores: npt.NDArray[np.float32], top: int) -> Hits:
    places = np.stack([best_rows(row, top) for row in scores])
    return Hits(places, np.take_along_axis(scores, places, axis=1))

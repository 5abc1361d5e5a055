"""Answers of the API, computed from the searchers; no HTTP here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.retrieval.answer_files import list_results
from tangka_match.retrieval.attention import weigh_regions
from tangka_match.retrieval.nearest import Hits
from tangka_match.retrieval.own_pictures import PictureEncoder
from tangka_match.retrieval.searcher import Searcher
from tangka_match.serving.pictures import Pictures
from tangka_match.serving.schemas import (
    About,
    Answer,
    Attention,
    FoundCaption,
    Image,
    Model,
    QueryWord,
    Similar,
    WordWeights,
)
from tangka_match.types import Attentive

SAMPLES = 10
"""Images on the start page."""
EXAMPLES = 4
"""Example queries on the page."""
LONGEST_EXAMPLE = 16
"""Characters of an example query."""


@dataclass(frozen=True)
class SearchDesk:
    """Answers queries with one or several models of the same split.

    Args:
        searchers: Searchers by the name of their model.
        split: Split that they search.
        pictures: Thumbnails of the data set.
        top: Images per query that the page shows.
        encoder: Encoder of uploaded pictures; ``None`` if it is not known.
    """

    searchers: Mapping[str, Searcher]
    split: Split
    pictures: Pictures
    top: int
    encoder: PictureEncoder | None = None

    def about(self) -> About:
        """Describe the data set and the models."""
        split = self.split
        return About(
            data=split.captions_path.absolute().parent.name,
            split=split.name,
            images=split.num_images,
            captions=split.num_captions,
            top=self.top,
            models=[Model(name=n, scoring=s.scoring, exact=s.is_exact) for n, s in self.searchers.items()],
            pictures=self.pictures.has_any(split.image_ids),
            thumbnail_folder=str(self.pictures.folder),
            uploads=self.encoder is not None,
            examples=_examples(split.captions),
            samples=self._samples(),
        )

    def search(self, queries: Sequence[str], top: int, model: int) -> list[Answer]:
        """Search the images that fit each query.

        Raises:
            ConfigError: If there is no such model.
            DataFormatError: If a query has no words.
        """
        searcher = self._searcher(model)
        found = searcher.search(queries, top)
        words = [[QueryWord(text=w.text, known=w.known) for w in searcher.words(query)] for query in queries]
        images = self._images(found)
        return [Answer(query=q, words=w, results=r) for q, w, r in zip(queries, words, images, strict=True)]

    def similar(self, image_id: str, top: int, model: int) -> Similar:
        """Search images and captions that are close to an image of the split.

        Raises:
            ConfigError: If there is no such image or model.
        """
        row, searcher = self._row(image_id), self._searcher(model)
        own = [self.split.captions[place] for place in (self.split.caption_to_image == row).nonzero()[0]]
        return Similar(
            image=self._image(image_id, score=1.0, rank=0, caption=own[0]),
            own_captions=own,
            results=self._images(searcher.similar(row, top))[0],
            captions=self._captions(searcher.captions(row, top)),
        )

    def similar_to(self, content: bytes, top: int, model: int) -> Similar:
        """Search images and captions that are close to an uploaded picture.

        Raises:
            ConfigError: If the encoder of the data set is not known, or there is no such model.
            DataFormatError: If ``content`` is not a picture.
        """
        if self.encoder is None:
            raise ConfigError("pictures of your own need a data set written by `python -m tangka_match.extract`")
        regions, searcher = self.encoder.encode(content), self._searcher(model)
        return Similar(
            image=None,
            own_captions=[],
            results=self._images(searcher.similar_to(regions, top))[0],
            captions=self._captions(searcher.captions_of(regions, top)),
        )

    def attention(self, query: str, image_id: str, model: int) -> Attention:
        """Find the regions that the words of a query refer to.

        Raises:
            ConfigError: If there is no such image or model.
            DataFormatError: If the query has no words.
        """
        row, searcher = self._row(image_id), self._searcher(model)
        last = searcher.rerank
        shown = last if last is not None and isinstance(last.matcher.matcher, Attentive) else searcher.base
        found = weigh_regions(shown, self.split, row, query)
        vocabulary = shown.matcher.vocabulary
        words = [
            WordWeights(
                text=word,
                known=vocabulary.knows(word),
                weights=[round(float(weight), 5) for weight in found.weights[place]],
                effect=None if found.effects is None else float(found.effects[place]),
            )
            for place, word in enumerate(found.words)
        ]
        return Attention(words=words, boxes=self._boxes(row), note=found.note)

    def thumbnail(self, image_id: str) -> Path | None:
        """Find the thumbnail of an image of the split."""
        return self.pictures.find(image_id) if image_id in self._rows else None

    def _searcher(self, model: int) -> Searcher:
        if not 0 <= model < len(self.searchers):
            raise ConfigError(f"model={model}: there are {len(self.searchers)} models; the first is 0")
        return list(self.searchers.values())[model]

    def _row(self, image_id: str) -> int:
        row = self._rows.get(image_id)
        if row is None:
            raise ConfigError(f"image_id={image_id[:100]!r}: there is no such image in split {self.split.name}")
        return row

    def _samples(self) -> list[Image]:
        """Evenly spaced images for the start page."""
        rows = np.unique(np.linspace(0, self.split.num_images - 1, SAMPLES).astype(np.int64))
        return self._images(Hits(rows[None], np.zeros((1, len(rows)), np.float32)))[0]

    def _images(self, hits: Hits) -> list[list[Image]]:
        return [[self._image(*result) for result in results] for results in list_results(self.split, hits)]

    def _captions(self, hits: Hits) -> list[FoundCaption]:
        found = zip(hits.rows[0].tolist(), hits.scores[0].tolist(), strict=True)
        return [
            FoundCaption(
                caption=self.split.captions[place],
                image_id=self.split.image_ids[int(self.split.caption_to_image[place])],
                score=score,
                rank=rank,
            )
            for rank, (place, score) in enumerate(found, 1)
        ]

    def _image(self, image_id: str, score: float, rank: int, caption: str) -> Image:
        has_picture = self.pictures.find(image_id) is not None
        boxes = None if has_picture else self._boxes(self._rows[image_id])
        return Image(image_id=image_id, score=score, rank=rank, caption=caption, picture=has_picture, boxes=boxes)

    def _boxes(self, row: int) -> list[list[float]] | None:
        if self.split.boxes is None:
            return None
        return [[round(float(edge), 4) for edge in box] for box in self.split.boxes[row]]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.split.image_ids)}


def _examples(captions: Sequence[str]) -> list[str]:
    """Take a short clause of a few captions.

    >>> _examples(["唐卡主像是绿度母，二臂。"])
    ['唐卡主像是绿度母']
    """
    step = max(1, len(captions) // EXAMPLES)
    clauses = [caption.replace(",", "，").split("，")[0].strip("。. ") for caption in captions[::step][:EXAMPLES]]
    return list(dict.fromkeys(clause[:LONGEST_EXAMPLE] for clause in clauses))

"""Requests and answers of the API, and their limits."""

from typing import Annotated

from pydantic import BaseModel, Field

MAX_QUERY = 500
"""Characters of a query."""
MAX_BATCH = 64
"""Queries of a request."""
MAX_TOP = 100
"""Images per query."""
MAX_BYTES = 20 * 2**20
"""Bytes of a request, such as an uploaded picture."""

Query = Annotated[str, Field(min_length=1, max_length=MAX_QUERY)]
Top = Annotated[int, Field(ge=1, le=MAX_TOP)]


class Batch(BaseModel):
    """Queries of one request."""

    queries: Annotated[list[Query], Field(min_length=1, max_length=MAX_BATCH)]
    top: Top = 5
    model: int = 0


class Image(BaseModel):
    """Image of an answer.

    Attributes:
        image_id: Id of the image.
        score: Score, higher = closer.
        rank: Rank, from 1.
        caption: First caption of the image.
        picture: Whether it has a thumbnail, at ``/api/picture?image_id=``.
        boxes: Region boxes (left, top, right, bottom) in [0, 1], for images without a thumbnail.
    """

    image_id: str
    score: float
    rank: int
    caption: str
    picture: bool
    boxes: list[list[float]] | None = None


class QueryWord(BaseModel):
    """Word of a query, and whether the model knows it."""

    text: str
    known: bool


class Answer(BaseModel):
    """Images found by a query, best first."""

    query: str
    words: list[QueryWord]
    results: list[Image]


class Answers(BaseModel):
    """Answers to the queries of a batch."""

    answers: list[Answer]


class FoundCaption(BaseModel):
    """Caption of the data set, found by an image."""

    caption: str
    image_id: str
    score: float
    rank: int


class Similar(BaseModel):
    """Images and captions close to an image; ``image`` is missing for an uploaded picture."""

    image: Image | None
    own_captions: list[str]
    results: list[Image]
    captions: list[FoundCaption]


class WordWeights(BaseModel):
    """Weights of the regions for one word; their sum is 1, or 0 for a word without effect.

    Attributes:
        text: Word.
        known: Whether the model knows it.
        weights: Weights of the regions.
        effect: Largest decrease of the score of the word without a region; ``None`` for attention weights.
    """

    text: str
    known: bool
    weights: list[float]
    effect: float | None


class Attention(BaseModel):
    """Regions that the words of a query refer to in an image."""

    words: list[WordWeights]
    boxes: list[list[float]] | None
    note: str


class Model(BaseModel):
    """Model of the server."""

    name: str
    scoring: str
    exact: bool


class About(BaseModel):
    """What the server searches."""

    data: str
    split: str
    images: int
    captions: int
    top: int
    models: list[Model]
    pictures: bool
    thumbnail_folder: str
    uploads: bool
    examples: list[str]
    samples: list[Image]

"""Search images by a sentence, on a page or in the terminal.

    python -m tangka_match.search checkpoint=CHECKPOINT data.root=FOLDER [split=test] [query=SENTENCE]

Without ``query`` and ``queries`` it serves a page on http://127.0.0.1:7860.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from omegaconf import DictConfig
from pydantic import AfterValidator, Field, model_validator

from tangka_match.cli import (
    check_is_new,
    command,
    open_split,
    read_settings,
    say,
    usable_device,
    write_missing_data,
)
from tangka_match.files import written_completely
from tangka_match.settings import OneOrMore, Settings, Text

if TYPE_CHECKING:
    from tangka_match.data.split import Split
    from tangka_match.retrieval.index import Index
    from tangka_match.retrieval.nearest import Engine
    from tangka_match.retrieval.rescoring import Rescorer
    from tangka_match.retrieval.searcher import Searcher

MANY_IMAGES = 1_000_000
"""Images from which the command suggests an approximate index."""
COMPARED = 20
"""Captions for which an approximate or re-ranked search is compared with the exact one."""


class ExactSettings(Settings):
    """Exact search; see ``conf/index/exact.yaml``."""

    engine: Literal["exact"]
    folder: Path | None


class HNSWSettings(Settings):
    """Approximate search with FAISS; see ``conf/index/hnsw.yaml``."""

    engine: Literal["hnsw"]
    folder: Path | None
    links: Annotated[int, Field(ge=2)]
    construction: Annotated[int, Field(ge=1)]
    effort: Annotated[int, Field(ge=1)]


class MilvusSettings(Settings):
    """Search in Milvus; see ``conf/index/milvus.yaml``."""

    engine: Literal["milvus"]
    folder: Path | None
    uri: Text
    token: Text | None
    timeout: Annotated[float, Field(gt=0)]


class SearchSettings(Settings):
    """Settings of a search; see ``conf/search.yaml``."""

    checkpoint: Annotated[list[Path], OneOrMore, Field(min_length=1, max_length=2)]
    split: str
    query: Text | None
    queries: Path | None
    out: Path | None
    top: Annotated[int, Field(ge=1, le=1000)]
    rerank: Path | None
    rerank_top: Annotated[int, Field(ge=1)]
    device: Annotated[str, AfterValidator(usable_device)]
    index: Annotated[ExactSettings | HNSWSettings | MilvusSettings, Field(discriminator="engine")]
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    allowed_hosts: Annotated[list[str], OneOrMore]
    open: bool

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if self.query is not None and self.queries is not None:
            raise ValueError("query and queries exclude each other: remove one of them")
        if (self.queries is None) != (self.out is None):
            raise ValueError("queries and out belong together: queries=queries.txt out=answers.csv")
        if len({path.absolute() for path in self.checkpoint}) < len(self.checkpoint):
            raise ValueError(
                f"checkpoint={list(map(str, self.checkpoint))}: the same file twice; give two models, or one"
            )
        if len(self.checkpoint) > 1 and (self.query is not None or self.queries is not None):
            raise ValueError(
                f"checkpoint has {len(self.checkpoint)} models; only the page compares models, so give one"
            )
        return self


def search(config: DictConfig) -> None:
    """Encode the images if that has not been done yet, then answer the queries or serve the page.

    Raises:
        TangkaMatchError: On invalid settings, data, checkpoints or queries, or if the port is in use.
    """
    settings = read_settings(config, SearchSettings)
    if settings.out is not None:
        check_is_new(settings.out)
    listener = None
    if settings.query is None and settings.queries is None:
        from tangka_match.serving.address import open_socket

        listener = open_socket(settings.host, settings.port)
    write_missing_data(config.data)
    split = open_split(config.data, settings.split)
    searchers = _open_searchers(settings, split, config.data.eval_batch_size)
    if listener is not None:
        from tangka_match.serving.server import serve

        serve(
            dict(zip(_names(settings.checkpoint), searchers, strict=True)),
            split,
            listener=listener,
            host=settings.host,
            allowed_hosts=settings.allowed_hosts,
            top=settings.top,
            opens=settings.open,
            announce=say,
        )
    elif settings.query is not None:
        _print_answers(searchers[0], settings.query, settings.top)
    else:
        assert settings.queries is not None and settings.out is not None
        _write_answers(searchers[0], settings.queries, settings.out, settings.top)


def _open_searchers(settings: SearchSettings, split: "Split", batch_size: int) -> "list[Searcher]":
    """Load the models and build or update their indices."""
    from tangka_match.retrieval.searcher import Searcher

    slow = None if settings.rerank is None else _encode(settings.rerank, settings, split, batch_size)
    searchers = []
    for path in settings.checkpoint:
        fast = _encode(path, settings, split, batch_size)
        engine = _engine(settings, fast.index)
        searchers.append(Searcher(split, fast, engine=engine, rerank=slow, rerank_top=settings.rerank_top))
    for path, searcher in zip(settings.checkpoint, searchers, strict=True):
        _describe(path, searcher)
    return searchers


def _encode(path: Path, settings: SearchSettings, split: "Split", batch_size: int) -> "Rescorer":
    from tangka_match import Index, load
    from tangka_match.retrieval.rescoring import Rescorer

    matcher = load(path, device=settings.device, batch_size=batch_size)
    place = split.captions_path.absolute()
    # One folder per data set and split, so that several can be searched in turn.
    name = f"{place.parent.name}-{split.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    folder = settings.index.folder or path.with_name(f"{path.name}.index")
    chosen = folder / name if settings.index.folder is None else folder / path.absolute().parent.name / path.stem
    return Rescorer(matcher, Index.build(matcher, split, chosen))


def _engine(settings: SearchSettings, index: "Index") -> "Engine | None":
    if isinstance(settings.index, HNSWSettings):
        from tangka_match.retrieval.hnsw import HNSWSearch

        return HNSWSearch(index, **settings.index.model_dump(exclude={"engine", "folder"}))
    if isinstance(settings.index, MilvusSettings):
        from tangka_match.retrieval.milvus import MilvusSearch

        return MilvusSearch(index, **settings.index.model_dump(exclude={"engine", "folder"}))
    if len(index) > MANY_IMAGES:
        say(f"{len(index):,} images are searched exactly; index=hnsw is faster beyond a million")
    return None


def _describe(path: Path, searcher: "Searcher") -> None:
    """Report time and memory of a query, and what is approximate."""
    from tangka_match.retrieval.costs import describe_costs

    say(f"{path}: {describe_costs(1, searcher.split.num_images, searcher.seconds_per_query())}")
    if searcher.scoring == "whole gallery":
        say(
            f"{path}: this model has no vectors to search; it scores all {searcher.split.num_images:,} images with "
            "every query; give it as rerank= to a fast model"
        )
    if not searcher.is_exact:
        step = max(1, searcher.split.num_captions // COMPARED)
        compared = searcher.agreement(searcher.split.captions[::step][:COMPARED])
        say(f"{path}: {compared.describe()}")


def _names(checkpoints: list[Path]) -> list[str]:
    """Name checkpoints for the page by the shortest end of their paths that differs."""
    paths = [path.absolute() for path in checkpoints]
    longest = max(len(path.parts) for path in paths)
    candidates = (["/".join(path.parts[-length:]) for path in paths] for length in range(2, longest + 1))
    return next(names for names in candidates if len(set(names)) == len(names))


def _print_answers(searcher: "Searcher", query: str, top: int) -> None:
    import rich

    from tangka_match.retrieval.answer_files import list_results, results_table

    unknown = [word.text for word in searcher.words(query) if not word.known]
    (results,) = list_results(searcher.split, searcher.search([query], top))
    rich.get_console().print(results_table(query, results))
    if unknown:
        say(f"unknown to the model, which reads them as <unk>: {'、'.join(unknown)}")


def _write_answers(searcher: "Searcher", queries: Path, out: Path, top: int) -> None:
    from rich.progress import track

    from tangka_match.data.captions import read_lines
    from tangka_match.retrieval.answer_files import list_results, write_answers

    texts = read_lines(queries)
    step = 16
    answers = [
        results
        for start in track(range(0, len(texts), step), "searching", transient=True)
        for results in list_results(searcher.split, searcher.search(texts[start : start + step], top))
    ]
    with written_completely(out) as partial:
        write_answers(partial, texts, answers)
    say(f"written to   {out}")


main = command("search", search, verbatim=("query",))

if __name__ == "__main__":
    main()

"""Sections about the model: hubs, joint space, failing captions, worst queries, attention."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tangka_match.analysis.comparison import signed
from tangka_match.analysis.diagnosis.charts import histogram, lines
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.analysis.diagnosis.model.attention import measure_attention
from tangka_match.analysis.diagnosis.model.chance import is_at_chance, judge_collapse, judge_direction
from tangka_match.analysis.diagnosis.model.drawing import Album, draw_attention, draw_hubs, draw_slices, draw_worst
from tangka_match.analysis.diagnosis.model.failures import (
    MIN_FAILURES,
    Slice,
    by_kind,
    by_length,
    judge_slices,
    to_dict,
    worst_queries,
    worst_words,
)
from tangka_match.analysis.diagnosis.model.hubs import NOUNS, Hubs, count_hubs, judge_hubs, name_of
from tangka_match.analysis.diagnosis.model.scored import Scored, ScoredByModel
from tangka_match.analysis.diagnosis.model.space import Space, judge_space, measure_space
from tangka_match.analysis.diagnosis.power import format_interval
from tangka_match.analysis.significance import Difference
from tangka_match.errors import count
from tangka_match.metric_names import CUTOFFS, PRIMARY_METRIC
from tangka_match.metric_names import DIRECTION_LABELS as DIRECTIONS
from tangka_match.metrics import confidence_intervals, summarise
from tangka_match.retrieval.encode import drop_correction
from tangka_match.retrieval.trained_matcher import TrainedMatcher

MAX_PLOTTED = 50_000
"""Most scores of non-matching pairs in the histogram."""


def diagnose_model(
    matcher: TrainedMatcher, scored: ScoredByModel, train_words: Sequence[Sequence[str]]
) -> list[Section]:
    """Diagnose hubs, the joint space, failing captions, the worst queries and attention.

    For a model at chance level in both directions, the result contains only that finding.

    Args:
        matcher: Model.
        scored: Scores and ranks of a split.
        train_words: Words of each training caption, by the tokenizer of the model.
    """
    recalls = summarise(scored.ranks)
    facts = [
        (f"{words} R@1 / R@5 / R@10 on {scored.split.name}", _percent(recalls, direction))
        for direction, words in DIRECTIONS.items()
    ]
    space = _measure_space(matcher, scored)
    values: dict[str, Any] = {"split": scored.split.name, "metrics": recalls}
    collapsed = judge_collapse(scored)
    if collapsed is not None:
        facts += [] if space is None else _space_facts(space)[:2]
        return [Section("model", "Model", facts, [collapsed], values=values)]
    album = Album(scored.split)
    hubs = count_hubs(scored)
    findings, gains = _judge(scored, hubs)
    facts += _hub_facts(scored, hubs)
    facts += [
        (f"mean R@1 with hubness correction {name}", f"{gain.b:.2f} % ({signed(gain.difference, 2)})")
        for name, gain in gains.items()
    ]
    charts = [_score_chart(scored)]
    if space is not None:
        facts += _space_facts(space)
        findings += judge_space(space, min(scored.similarity.shape) - 1)
        charts.append(_spectrum_chart(space))
        values["space"] = {"gap": space.gap, "effective_rank": space.ranks, "mean_r1": space.mean_r1}
    lengths, kinds, words = _slices(matcher, scored, train_words)
    findings += _slice_findings(lengths, kinds, scored.split.num_captions)
    if lengths and not words:
        facts.append(("words that fail most often", f"none: no frequent word has {MIN_FAILURES} failures or more"))
    blocks = [
        draw_hubs(scored, album, hubs),
        draw_slices("Captions by length", lengths),
        draw_slices("Captions by kind of word, the worst first", kinds),
        draw_slices("Words whose captions fail most often", words),
    ]
    values |= {
        "hubs": {direction: _hub_values(scored, direction, counted) for direction, counted in hubs.items()},
        "corrected": {name: gain._asdict() for name, gain in gains.items()},
        "slices": {
            name: [made.__dict__ for made in slices]
            for name, slices in (("length", lengths), ("kind", kinds), ("word", words))
        },
    }
    worst = _worst_section(scored, album)
    attention = _attention_section(matcher, scored, album)
    # SVG symbols must precede their use, but which thumbnails are used is known only after all other blocks are drawn.
    blocks.insert(0, album.symbols())
    return [Section("model", "Model", facts, findings, charts, values, blocks), worst, attention]


def _measure_space(matcher: TrainedMatcher, scored: ScoredByModel) -> Space | None:
    images, texts = (drop_correction(matcher.matcher, encoded) for encoded in (scored.images, scored.texts))
    return measure_space(images, texts, scored.similarity, scored.owners)


def diagnose_scores(scored: Scored) -> list[Section]:
    """Diagnose hubs and the worst queries of scores whose model is not at hand.

    For scores at chance level in both directions, the result contains only that finding.

    Args:
        scored: Scores and ranks.
    """
    recalls, intervals = summarise(scored.ranks), confidence_intervals(scored.ranks, scored.owners)
    facts = [(f"{words} R@1 / R@5 / R@10", _percent(recalls, direction)) for direction, words in DIRECTIONS.items()]
    facts += [
        (f"{words} (95 % interval)", f"{recalls[key]:.2f} % ({format_interval(intervals[key])})")
        for words, key in (("image→text R@1", "i2t_r1"), ("text→image R@1", "t2i_r1"), ("mean R@1", PRIMARY_METRIC))
    ]
    values: dict[str, Any] = {"split": scored.split.name, "metrics": recalls, "intervals": intervals}
    collapsed = judge_collapse(scored)
    if collapsed is not None:
        return [Section("model", "Scores", facts, [collapsed], values=values)]
    album, hubs = Album(scored.split), count_hubs(scored)
    findings, _ = _judge(scored, hubs)
    facts += _hub_facts(scored, hubs)
    values["hubs"] = {direction: _hub_values(scored, direction, counted) for direction, counted in hubs.items()}
    blocks = [draw_hubs(scored, album, hubs)]
    worst = _worst_section(scored, album)
    blocks.insert(0, album.symbols())
    return [Section("model", "Scores", facts, findings, [_score_chart(scored)], values, blocks), worst]


def not_measured(name: str, damaged: int) -> Section:
    """Return the section of a model that was not run because features are damaged.

    Args:
        name: Name of the split.
        damaged: Number of images with NaN, Inf or zero features only.
    """
    finding = Finding(
        "model_not_measured",
        "warning",
        f"{count(damaged, 'damaged image')} in {name}, so the model was not run",
        "the scores of such images are NaN or meaningless",
        "fix the images listed in the findings about features, and run the diagnosis again",
    )
    return Section("model", "Model", [], [finding])


def _judge(scored: Scored, hubs: dict[str, Hubs]) -> tuple[list[Finding], dict[str, Difference]]:
    """Report hubs and a direction at chance level; also return the gain of each hubness correction."""
    findings, gains = judge_hubs(scored, hubs)
    one_sided = judge_direction(scored, hubs)
    return findings + ([] if one_sided is None else [one_sided]), gains


def _percent(recalls: Mapping[str, float], direction: str) -> str:
    return " / ".join(f"{recalls[f'{direction}_r{k}']:.2f}" for k in CUTOFFS) + " %"


def _hub_facts(scored: Scored, hubs: Mapping[str, Hubs]) -> list[tuple[str, str]]:
    facts = []
    for direction, counted in hubs.items():
        top = counted.strongest(1)[0]
        queries = count(int(counted.first[top]), NOUNS[direction][1].removesuffix("s"))
        facts.append(
            (
                f"{DIRECTIONS[direction]}: hubness of the top ten",
                f"skewness {counted.skewness:.2f}; {name_of(scored, direction, top)} is the first answer of "
                f"{queries}; {counted.unanswered:.0f} % of the items are never the first",
            )
        )
    return facts


def _hub_values(scored: Scored, direction: str, counted: Hubs) -> dict[str, Any]:
    return {
        "skewness": counted.skewness,
        "never_first_percent": counted.unanswered,
        "strongest": [
            {
                "item": name_of(scored, direction, item),
                "first": int(counted.first[item]),
                "among_ten": int(counted.among[item]),
            }
            for item in counted.strongest()
        ],
    }


def _space_facts(space: Space) -> list[tuple[str, str]]:
    return [
        (
            f"effective rank of the {space.of}, images / captions",
            f"{space.ranks[0]:.1f} / {space.ranks[1]:.1f} of {space.dims:,} dimensions",
        ),
        ("modality gap", f"{space.gap:.2f} (0 to 2; CLIP: 0.82)"),
        (
            f"cosine of the {space.of}",
            f"explains {space.explained:.0f} % of the variance of the scores; its own mean R@1 is "
            f"{space.mean_r1[0]:.1f} %, {space.mean_r1[1]:.1f} % with the modality gap closed",
        ),
    ]


def _slices(
    matcher: TrainedMatcher, scored: ScoredByModel, train_words: Sequence[Sequence[str]]
) -> tuple[list[Slice], list[Slice], list[Slice]]:
    if is_at_chance(scored, "t2i"):
        # The recall of any slice would be that of chance.
        return [], [], []
    found, owners = (scored.ranks.t2i == 1).numpy(), scored.owners.numpy()
    seen = Counter(word for caption in train_words for word in caption)
    return (
        by_length(scored.words, found, owners),
        by_kind(scored.words, found, owners, matcher.vocabulary, seen),
        worst_words(scored.words, found, owners),
    )


def _slice_findings(lengths: Sequence[Slice], kinds: Sequence[Slice], captions: int) -> list[Finding]:
    length = "write more detailed short captions, or several captions per image; train with captions of this length"
    words = "add training captions with such words, or use the wording of training; inspect the worst queries"
    return judge_slices("caption_length", lengths, captions, length) + judge_slices("word_kind", kinds, captions, words)


def _score_chart(scored: Scored) -> str:
    own = scored.direction("i2t")[1]
    wrong = scored.similarity[~own]
    shown = wrong[:: -(-len(wrong) // MAX_PLOTTED)]
    return histogram(
        {"matching pairs": scored.similarity[own].tolist(), "other pairs": shown.tolist()}, "score", "% of pairs", 40
    )


def _spectrum_chart(space: Space) -> str:
    curves = {}
    for name, values in zip(("images", "captions"), space.spectra, strict=True):
        kept = [100 * value for value in values if value > 0]
        curves[name] = (range(1, len(kept) + 1), kept)
    return lines(curves, "dimension, by singular value", "singular value, % of sum", logarithmic=True)


def _worst_section(scored: Scored, album: Album) -> Section:
    queries = {direction: worst_queries(scored, direction) for direction in ("t2i", "i2t")}
    facts = []
    for direction, found in queries.items():
        ranks = [query.rank for query in found]
        if ranks:
            facts.append((f"{DIRECTIONS[direction]}: the worst {len(ranks)}", _ranks(ranks[-1], ranks[0])))
    if not facts:
        facts.append(("worst queries", "none: every query ranks a correct answer first"))
    blocks = [draw_worst(scored, album, direction, found) for direction, found in queries.items()]
    values = {direction: [to_dict(scored, query) for query in found] for direction, found in queries.items()}
    return Section("worst_queries", "Worst queries and their answers", facts, [], values=values, blocks=blocks)


def _ranks(best: int, worst: int) -> str:
    return f"rank {best:,}" if best == worst else f"ranks {best:,} to {worst:,}"


def _attention_section(matcher: TrainedMatcher, scored: ScoredByModel, album: Album) -> Section:
    attention = measure_attention(matcher, scored)
    facts = [("weights", attention.note)]
    if attention.regions is not None:
        regions = scored.split.features.num_regions
        facts.append(
            ("attended regions per word", f"{attention.regions:.1f} of {regions} on average (exp of the entropy)")
        )
    blocks = []
    if scored.split.boxes is None:
        facts.append(("images", "not drawn: the set has no region boxes (<split>_boxes.npy)"))
    else:
        blocks.append(draw_attention(scored, album, scored.split.boxes, attention.examples))
    values = {"note": attention.note, "regions": attention.regions}
    return Section("attention", "Word-to-region attention", facts, [], values=values, blocks=blocks)

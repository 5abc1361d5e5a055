"""Check the captions: lengths, out-of-vocabulary words, segmentation."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tangka_match.analysis.diagnosis.charts import histogram
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.data.feature_scan import track_progress
from tangka_match.data.split import Split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import count

MAX_UNKNOWN = 5.0
"""Percentage of out-of-vocabulary words in a held-out split above which a warning is reported."""
MAX_CUT_TERMS = 1.0
"""Percentage of captions with a wrongly segmented dictionary term above which a warning is reported."""
MAX_SINGLE_CHARACTERS = 8.0
"""Percentage of captions with a run of single characters above which a warning is reported."""
MAX_LENGTH_DRIFT = 0.5
"""Difference of the mean caption lengths of two splits (standard deviations) above which a warning is reported."""
MIN_RUN = 3
"""Fewest single-character words that form a run."""
FUNCTION_WORDS = frozenset("的是在于和与有着了为以及等之其上下中里外前后左右旁边内间个这那也都而一二三四五六七八九十")
"""Single-character words that end a run."""
MAX_LISTED = 8
"""Most words listed in a message."""


@dataclass(frozen=True)
class Texts:
    """Tokenized captions of a split.

    Args:
        split: Split of C captions.
        cleaned: (C) normalised captions, as the tokenizer reads them.
        words: (C) words of each caption.
    """

    split: Split
    cleaned: Sequence[str]
    words: Sequence[Sequence[str]]


def diagnose_texts(
    texts: Mapping[str, Texts], vocabulary: Vocabulary, terms: Sequence[str], max_tokens: int
) -> Section:
    """Check lengths, vocabulary coverage and segmentation of all splits.

    Args:
        texts: Captions by split; ``train`` first, if present.
        vocabulary: Vocabulary of the model.
        terms: Words that the tokenizer should not split.
        max_tokens: Maximum caption length, ``<start>`` and ``<end>`` included; longer captions are truncated.
    """
    lengths = {name: [len(words) for words in text.words] for name, text in texts.items()}
    unknown = {name: vocabulary.unknown_share(text.words) for name, text in texts.items()}
    facts = [("vocabulary", f"{len(vocabulary):,} words, including four special tokens")]
    findings: list[Finding] = []
    for name, text in texts.items():
        mean = sum(lengths[name]) / len(lengths[name])
        facts.append((f"{name}: words per caption", f"{mean:.1f} (from {min(lengths[name])} to {max(lengths[name])})"))
        if name != "train":
            facts.append((f"{name}: out-of-vocabulary words", f"{unknown[name]:.2f} %"))
            findings += _unknown_words(name, text, vocabulary, unknown[name])
        findings += _wordless(name, text)
        findings += _too_long(name, [len(vocabulary.encode(words)) for words in text.words], max_tokens)
        findings += _cut_terms(name, text, terms)
        findings += _single_characters(name, text)
    findings += _length_drift(lengths)
    charts = [histogram(lengths, "words per caption", "% of captions")]
    values = {
        "vocabulary": len(vocabulary),
        "mean_words": {name: sum(counts) / len(counts) for name, counts in lengths.items()},
        "unknown_percent": unknown,
    }
    return Section("texts", "Captions and words", facts, findings, charts, values)


def broken_terms(text: str, words: Sequence[str], terms: Sequence[str]) -> list[str]:
    """Find terms of a caption that the tokenizer split into several words.

    A term counts as split if several words make it up exactly. If a word extends beyond the term (红|唐卡 for the term
    红唐), the characters are adjacent only by coincidence. A term inside a longer term of the caption is ignored.

    Args:
        text: Caption as the tokenizer read it.
        words: Its words, in order.
        terms: Terms, longest first.

    >>> broken_terms("持嘎巴拉碗", ["持", "嘎巴", "拉碗"], ["嘎巴拉碗", "嘎巴拉"])
    ['嘎巴拉碗']
    >>> broken_terms("持嘎巴拉碗", ["持", "嘎巴拉碗"], ["嘎巴拉碗", "嘎巴拉"])
    []
    """
    cuts, at = {0, len(text)}, 0
    for word in words:
        at = text.find(word, at)
        cuts |= {at, at + len(word)}
        at += len(word)
    broken: list[str] = []
    taken: list[tuple[int, int]] = []
    for term in terms:
        start = text.find(term)
        while start >= 0:
            end = start + len(term)
            if not any(low <= start and end <= high for low, high in taken):
                taken.append((start, end))
                if {start, end} <= cuts and any(start < cut < end for cut in cuts):
                    broken.append(term)
            start = text.find(term, end)
    return broken


def single_character_runs(text: str, words: Sequence[str]) -> list[str]:
    """Find runs of at least three adjacent single-character Chinese words, except function words.

    >>> single_character_runs("手持嘎巴拉碗", ["手持", "嘎", "巴", "拉", "碗"])
    ['嘎巴拉碗']
    """
    runs, run, at = [], "", 0
    for word in words:
        start = text.find(word, at)
        single = len(word) == 1 and "\u4e00" <= word <= "\u9fff" and word not in FUNCTION_WORDS
        if run and (not single or start != at):
            runs.append(run)
            run = ""
        run += word if single else ""
        at = start + len(word)
    return [found for found in [*runs, run] if len(found) >= MIN_RUN]


def _unknown_words(name: str, text: Texts, vocabulary: Vocabulary, share: float) -> list[Finding]:
    if share <= MAX_UNKNOWN:
        return []
    missing = Counter(word for words in text.words for word in words if not vocabulary.knows(word))
    touched = sum(any(not vocabulary.knows(word) for word in words) for words in text.words)
    return [
        Finding(
            "out_of_vocabulary",
            "warning",
            f"{share:.1f} % of the words of {name} are not in the vocabulary ({len(missing):,} distinct words); most "
            f"frequent: {_most_common(missing)}",
            f"they become <unk>, so {100 * touched / len(text.words):.0f} % of the captions of {name} lose a word "
            "that may distinguish them from others",
            "collect more training pairs, lower data.min_count, or use the wording of the training captions",
        )
    ]


def _wordless(name: str, text: Texts) -> list[Finding]:
    empty = [line for line, words in enumerate(text.words, 1) if not words]
    if not empty:
        return []
    return [
        Finding(
            "no_words",
            "fault",
            f"{count(len(empty), 'caption')} of {name} without a word, such as line {empty[0]}: "
            f"{text.cleaned[empty[0] - 1]!r}",
            "a model cannot learn from it, and training refuses the set",
            "write captions with at least one word, or remove the lines and, if no caption is left, their images",
            ids=tuple(f"{name} caption {line}" for line in empty),
        )
    ]


def _too_long(name: str, lengths: Sequence[int], max_tokens: int) -> list[Finding]:
    cut = [line for line, length in enumerate(lengths, 1) if length > max_tokens]
    if not cut:
        return []
    return [
        Finding(
            "cut_captions",
            "warning",
            f"{count(len(cut), 'caption')} of {name} ({100 * len(cut) / len(lengths):.1f} %) longer than "
            f"data.max_tokens={max_tokens}; the longest has {max(lengths)} tokens, <start> and <end> included",
            "they are truncated, and the model never reads their end",
            f"set data.max_tokens={max(lengths)}",
            ids=tuple(f"{name} caption {line}" for line in cut),
        )
    ]


def _cut_terms(name: str, text: Texts, terms: Sequence[str]) -> list[Finding]:
    longest_first = sorted(terms, key=len, reverse=True)
    starting: dict[str, list[int]] = defaultdict(list)  # a caption holds few of the terms: most need no search
    for place, term in enumerate(longest_first):
        starting[term[0]].append(place)
    counts: Counter[str] = Counter()
    lines = []
    for line, cleaned in enumerate(track_progress(text.cleaned, f"checking the words of {name}"), 1):
        places = sorted(place for first in set(cleaned) for place in starting.get(first, ()))
        present = [longest_first[place] for place in places if longest_first[place] in cleaned]
        if present and (broken := broken_terms(cleaned, text.words[line - 1], present)):
            counts.update(broken)
            lines.append(line)
    share = 100 * len(lines) / len(text.words)
    if share <= MAX_CUT_TERMS:
        return []
    return [
        Finding(
            "terms_cut",
            "warning",
            f"{share:.1f} % of the captions of {name} contain a Thangka term that the tokenizer split: "
            f"{_most_common(counts)}",
            "the model has to learn the term from parts with a different meaning",
            "set data.tokenizer.domain_dictionary=true, or raise the frequency of these words in a dictionary of "
            "data.tokenizer.user_dictionaries",
            ids=tuple(f"{name} caption {line}" for line in lines),
        )
    ]


def _single_characters(name: str, text: Texts) -> list[Finding]:
    counts: Counter[str] = Counter()
    lines = []
    for line, (cleaned, words) in enumerate(zip(text.cleaned, text.words, strict=True), 1):
        if runs := single_character_runs(cleaned, words):
            counts.update(runs)
            lines.append(line)
    share = 100 * len(lines) / len(text.words)
    if share <= MAX_SINGLE_CHARACTERS:
        return []
    return [
        Finding(
            "single_characters",
            "warning",
            f"{share:.1f} % of the captions of {name} contain three or more adjacent single characters: "
            f"{_most_common(counts)}",
            "such a run is often one word that is missing from the dictionary",
            "add these words to a dictionary of data.tokenizer.user_dictionaries",
            ids=tuple(f"{name} caption {line}" for line in lines),
        )
    ]


def _length_drift(lengths: Mapping[str, Sequence[int]]) -> list[Finding]:
    if "train" not in lengths:
        return []
    train = lengths["train"]
    mean = sum(train) / len(train)
    deviation = max((sum((length - mean) ** 2 for length in train) / len(train)) ** 0.5, 0.5)
    findings = []
    for name, other in lengths.items():
        difference = sum(other) / len(other) - mean
        noise = deviation * (1 / len(train) + 1 / len(other)) ** 0.5
        if abs(difference) > max(MAX_LENGTH_DRIFT * deviation, 4 * noise):
            findings.append(
                Finding(
                    "length_drift",
                    "warning",
                    f"captions of {name} have {mean + difference:.1f} words on average, those of train {mean:.1f}",
                    f"the model is evaluated on a different kind of sentence ({name}) than it is trained on (train)",
                    "draw the splits at random from the same set, and use the same tokenizer for all captions",
                )
            )
    return findings


def _most_common(counts: Counter[str]) -> str:
    return ", ".join(f"{word} ({count}×)" for word, count in counts.most_common(MAX_LISTED))

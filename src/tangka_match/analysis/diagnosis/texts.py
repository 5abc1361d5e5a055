"""Captions as a diagnosis looks at them: words, lengths, unknown words, words cut badly."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tangka_match.analysis.diagnosis.charts import histogram
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.data.split import Split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import count

UNKNOWN_TOKENS = 5.0
"""Percent of a held-out split's words that training did not see, above which it is a warning."""
CUT_TERMS = 1.0
"""Percent of captions with a dictionary term cut apart, above which it is a warning."""
SINGLE_RUNS = 8.0
"""Percent of captions with a run of single characters, above which it is a warning."""
LENGTH_DRIFT = 0.5
"""Difference of mean caption lengths, in standard deviations, above which two splits are called different."""
SHORTEST_RUN = 3
FUNCTION_WORDS = frozenset("的是在于和与有着了为以及等之其上下中里外前后左右旁边内间个这那也都而一二三四五六七八九十")
"""Single characters that are words in their own right, and end a run."""
SHOWN = 8


@dataclass(frozen=True)
class Texts:
    """The captions of a split, cut into words.

    Args:
        split: Where they come from.
        cleaned: C captions as the tokenizer reads them: normalised.
        words: The words of each.
    """

    split: Split
    cleaned: Sequence[str]
    words: Sequence[Sequence[str]]


def diagnose_texts(
    texts: Mapping[str, Texts], vocabulary: Vocabulary, terms: Sequence[str], max_tokens: int
) -> Section:
    """Lengths, vocabulary, unknown words and segmentation of all splits.

    Args:
        texts: By split; ``train`` first, where there is one.
        vocabulary: What the model knows.
        terms: Words that should come out of the tokenizer whole.
        max_tokens: Longest caption, ``<start>`` and ``<end>`` included; the rest of a caption is cut.
    """
    lengths = {name: [len(words) for words in text.words] for name, text in texts.items()}
    unknown = {name: vocabulary.unknown_share(text.words) for name, text in texts.items()}
    facts = [("vocabulary", f"{len(vocabulary):,} words, the four special ones included")]
    findings: list[Finding] = []
    for name, text in texts.items():
        mean = sum(lengths[name]) / len(lengths[name])
        facts.append((f"{name}: words a caption", f"{mean:.1f} (from {min(lengths[name])} to {max(lengths[name])})"))
        if name != "train":
            facts.append((f"{name}: unknown words", f"{unknown[name]:.2f} %"))
            findings += _unknown_words(name, text, vocabulary, unknown[name])
        findings += _too_long(name, lengths[name], max_tokens)
        findings += _cut_terms(name, text, terms)
        findings += _single_characters(name, text)
    findings += _length_drift(lengths)
    charts = [histogram(lengths, "words a caption", "% of captions")]
    values = {
        "vocabulary": len(vocabulary),
        "mean_words": {name: sum(counts) / len(counts) for name, counts in lengths.items()},
        "unknown_percent": unknown,
    }
    return Section("texts", "Captions and words", facts, findings, charts, values)


def broken_terms(text: str, words: Sequence[str], terms: Sequence[str]) -> list[str]:
    """Terms that stand in a caption but were cut apart.

    A term is cut where it makes up several words exactly; where a word goes on beyond it (红|唐卡 against the term
    红唐), the letters merely meet. Terms within a longer term that stands there are left to that one.

    Args:
        text: The caption as the tokenizer read it.
        words: Its words, in order.
        terms: Longest first.

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
    """Runs of at least three Chinese single-character words that stand side by side, function words aside.

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
    return [found for found in [*runs, run] if len(found) >= SHORTEST_RUN]


def _unknown_words(name: str, text: Texts, vocabulary: Vocabulary, share: float) -> list[Finding]:
    if share <= UNKNOWN_TOKENS:
        return []
    missing = Counter(word for words in text.words for word in words if word not in vocabulary)
    touched = sum(any(word not in vocabulary for word in words) for words in text.words)
    return [
        Finding(
            "out_of_vocabulary",
            "warning",
            f"{share:.1f} % of the words of {name} are not in the vocabulary, {len(missing):,} different ones; most "
            f"often {_counted(missing)}",
            f"each becomes <unk>, so {100 * touched / len(text.words):.0f} % of the captions of {name} lose a word "
            "that may be the one that tells them apart",
            "caption more training pairs, lower data.min_count, or write the words as the training captions do",
        )
    ]


def _too_long(name: str, lengths: Sequence[int], max_tokens: int) -> list[Finding]:
    cut = [line for line, length in enumerate(lengths, 1) if length > max_tokens - 2]
    if not cut:
        return []
    return [
        Finding(
            "cut_captions",
            "warning",
            f"{count(len(cut), 'caption')} of {name} are longer than data.max_tokens={max_tokens}; the longest has "
            f"{max(lengths)} words",
            "what stands at their end is never read",
            f"set data.max_tokens={max(lengths) + 2}",
            ids=tuple(f"{name} caption {line}" for line in cut),
        )
    ]


def _cut_terms(name: str, text: Texts, terms: Sequence[str]) -> list[Finding]:
    longest_first = sorted(terms, key=len, reverse=True)
    counts: Counter[str] = Counter()
    lines = []
    for line, (cleaned, words) in enumerate(zip(text.cleaned, text.words, strict=True), 1):
        if broken := broken_terms(cleaned, words, longest_first):
            counts.update(broken)
            lines.append(line)
    share = 100 * len(lines) / len(text.words)
    if share <= CUT_TERMS:
        return []
    return [
        Finding(
            "terms_cut",
            "warning",
            f"{share:.1f} % of the captions of {name} hold a term of Thangka painting that the tokenizer cut apart: "
            f"{_counted(counts)}",
            "the model has to learn the term from pieces that mean something else",
            "set data.tokenizer.domain_dictionary=true, or give the words a higher frequency in a dictionary of "
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
    if share <= SINGLE_RUNS:
        return []
    return [
        Finding(
            "single_characters",
            "warning",
            f"{share:.1f} % of the captions of {name} hold three or more single characters on end: {_counted(counts)}",
            "such a run is often one word that the dictionary does not know",
            "put the words that belong together into a dictionary of data.tokenizer.user_dictionaries",
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
        if abs(difference) > max(LENGTH_DRIFT * deviation, 4 * noise):
            findings.append(
                Finding(
                    "length_drift",
                    "warning",
                    f"captions of {name} have {mean + difference:.1f} words, those of train {mean:.1f}",
                    f"the model is measured on another kind of sentence than it learns from ({name} against train)",
                    "draw the splits at random from one pool, and cut all captions by one tokenizer",
                )
            )
    return findings


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{word} ({count}×)" for word, count in counts.most_common(SHOWN))

"""Captions to words: jieba with the terms of Thangka painting."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from tangka_match.data.normalise import is_punctuation, normalise_caption
from tangka_match.data.segmentation import Segmenter, jieba_segmenter, rjieba_available, rjieba_segmenter
from tangka_match.data.user_dictionary import DictionaryEntry, domain_terms, parse_entry, read_user_dictionary
from tangka_match.errors import ConfigError

_BACKENDS = ("auto", "jieba", "rjieba")
_SWITCHES = ("hmm", "normalise", "keep_punctuation")


class JiebaTokenizer:
    """Cuts Chinese captions into words.

    Constructing is cheap: the dictionaries are loaded at the first call, in each process anew, so that a tokenizer can
    be sent to the workers of a ``DataLoader``.

    The captions of published SGRAF vocabularies were segmented by plain jieba after ``lower()``, which is
    ``JiebaTokenizer(domain_dictionary=False, normalise=False, keep_punctuation=True)``.

    Args:
        domain_dictionary: Whether the terms of Thangka painting that come with the package are known.
        user_dictionaries: A list of paths of further dictionaries in jieba's format (see ``read_user_dictionary``).
            Where two name the same word, the later one holds; all of them take precedence over the domain dictionary.
        hmm: Whether characters that form no known word are joined by jieba's hidden Markov model.
        normalise: Whether captions and dictionary words go through ``normalise_caption`` first; ``False`` only makes
            them lower case.
        keep_punctuation: Whether tokens of punctuation alone are kept. Off by default: a full stop says nothing about
            an image, costs SGRAF one more attended word a caption, and would tell apart captions that differ in
            nothing else. White space is never a token.
        backend: ``"jieba"``, ``"rjieba"`` (the optional package, same output, over twice as fast), or ``"auto"``:
            rjieba where it is installed.

    Raises:
        ConfigError: An unknown backend, ``"rjieba"`` where it is not installed, or a path that is not in a list.
        DataFormatError: A user dictionary is missing, is not UTF-8, or holds a bad line.

    >>> tokenizer = JiebaTokenizer()
    >>> tokenizer("绿度母右手持乌巴拉花，结跏趺坐。")
    ['绿度母', '右手', '持', '乌巴拉花', '结跏趺坐']
    """

    vocabulary: None = None
    max_tokens: None = None

    def __init__(
        self,
        *,
        domain_dictionary: bool = True,
        user_dictionaries: Sequence[str] = (),
        hmm: bool = True,
        normalise: bool = True,
        keep_punctuation: bool = False,
        backend: str = "auto",
    ) -> None:
        if backend not in _BACKENDS:
            raise ConfigError(f"backend={backend!r} is unknown; choose one of {', '.join(_BACKENDS)}.")
        if backend == "rjieba" and not rjieba_available():
            raise ConfigError("backend='rjieba', but rjieba is not installed; pip install rjieba, or set backend=auto.")
        if isinstance(user_dictionaries, str):
            raise ConfigError(f"user_dictionaries={user_dictionaries!r} is one text; give a list of paths.")
        self.hmm = hmm
        self.normalise = normalise
        self.keep_punctuation = keep_punctuation
        self.backend = backend
        self._entries = self._prepare(_collect(domain_dictionary, user_dictionaries))
        self._segmenter: Segmenter | None = None

    def __call__(self, text: str) -> list[str]:
        """Words of a caption, in order; an empty list where nothing but white space (or punctuation) is written."""
        if self._segmenter is None:
            use_rjieba = self.backend == "rjieba" or (self.backend == "auto" and rjieba_available())
            self._segmenter = (rjieba_segmenter if use_rjieba else jieba_segmenter)(self._entries, hmm=self.hmm)
        tokens = self._segmenter(self._clean(text))
        if self.keep_punctuation:
            return [token for token in tokens if not token.isspace()]
        return [token for token in tokens if not is_punctuation(token)]

    def settings(self) -> dict[str, Any]:
        """All that decides the output, as plain values: the words of the dictionaries are inside, paths are not.

        Two tokenizers cut alike if their settings are equal. ``backend`` is left out, since it changes nothing.
        """
        switches = {name: getattr(self, name) for name in _SWITCHES}
        return {"name": "jieba", **switches, "words": [list(entry) for entry in self._entries]}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Rebuild a tokenizer from ``settings()``; needs no file.

        Raises:
            ConfigError: A setting is missing, unknown, or of the wrong kind.
        """
        expected = {"name", "words", *_SWITCHES}
        if set(settings) != expected:
            raise ConfigError(f"tokenizer settings are {sorted(settings)}, expected exactly {sorted(expected)}.")
        if settings["name"] != "jieba":
            raise ConfigError(f"tokenizer settings have name={settings['name']!r}; this is the reader of 'jieba'.")
        for name in _SWITCHES:
            if not isinstance(settings[name], bool):
                raise ConfigError(f"tokenizer settings have {name}={settings[name]!r}; expected true or false.")
        if not isinstance(settings["words"], list):
            raise ConfigError(f"tokenizer settings have words={settings['words']!r}; expected a list.")
        tokenizer = cls(domain_dictionary=False, **{name: settings[name] for name in _SWITCHES})
        tokenizer._entries = tuple(_entry_from_settings(item) for item in settings["words"])
        return tokenizer

    def _clean(self, text: str) -> str:
        return normalise_caption(text) if self.normalise else text.lower()

    def _prepare(self, entries: Sequence[DictionaryEntry]) -> tuple[DictionaryEntry, ...]:
        """Words in the form that captions will have, each once; the last entry of a word holds."""
        cleaned = (entry._replace(word=self._clean(entry.word)) for entry in entries)
        return tuple({entry.word: entry for entry in cleaned if entry.word}.values())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_segmenter": None}


def _collect(with_domain: bool, user_dictionaries: Sequence[str]) -> list[DictionaryEntry]:
    entries = list(domain_terms()) if with_domain else []
    for path in user_dictionaries:
        entries.extend(read_user_dictionary(path))
    return entries


def _entry_from_settings(item: Any) -> DictionaryEntry:
    """Check one ``[word, frequency, tag]`` of the settings as strictly as a line of a file."""
    match item:
        case [str(word), int() | None as frequency, str(tag)] if word and not isinstance(frequency, bool):
            fields = [word, "" if frequency is None else str(frequency), tag]
        case _:
            raise ConfigError(f"tokenizer settings: words hold {item!r}; expected [word, frequency or null, tag].")
    try:
        return parse_entry([field for field in fields if field])
    except ValueError as error:
        raise ConfigError(f"tokenizer settings: words hold {item!r}: {error}.") from error

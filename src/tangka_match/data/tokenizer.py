"""Tokenizers: jieba words with the terms of Thangka painting, or the word pieces of a pretrained model."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from tangka_match.data.captions import is_punctuation, normalise_caption
from tangka_match.data.segmentation import (
    DictionaryEntry,
    Segmenter,
    domain_terms,
    jieba_segmenter,
    parse_entry,
    read_user_dictionary,
    rjieba_available,
    rjieba_segmenter,
)
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError
from tangka_match.hub import SPECIALS, WordPieces
from tangka_match.registry import ENTRY_POINT_GROUP, find_registered, registered_names

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


_KEYS = {"name", "definition", "specials", "max_tokens"}


class PieceTokenizer:
    """Cuts captions as a pretrained text encoder was trained: for Chinese, mostly into characters.

    The whole vocabulary of the model is kept, also the pieces that no training caption has: they are pretrained, and a
    test caption may have them. Captions longer than the model reads are cut, and the number of those is a warning.
    Cutting was chosen over windows whose vectors are averaged: a window that begins in the middle of a sentence is text
    such as the encoder never saw, and the average would no longer be the vector that its pretraining gave a meaning;
    Thangka captions are shorter than either limit (512 pieces for BERT, 52 for Chinese-CLIP).

    Args:
        source: The model's folder, or its name on the Hugging Face hub.

    Raises:
        ConfigError: The model's vocabulary cannot be read, or transformers is not installed.
    """

    def __init__(self, source: str) -> None:
        self._pieces = WordPieces.read(source)
        self.vocabulary = Vocabulary(self._pieces.words)

    @property
    def max_tokens(self) -> int:
        """Most pieces of a caption that the model reads, start and end included."""
        return self._pieces.max_tokens

    def __call__(self, text: str) -> list[str]:
        """Pieces of a caption, in order, without start and end."""
        return self._pieces.cut(text)

    def settings(self) -> dict[str, Any]:
        """All that decides the output, as plain values; the pieces are inside."""
        pieces = self._pieces
        return {
            "name": "pieces",
            "definition": pieces.definition,
            "specials": list(pieces.specials),
            "max_tokens": pieces.max_tokens,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Rebuild a tokenizer from ``settings()``; needs no file.

        Raises:
            ConfigError: A setting is missing, unknown, or of the wrong kind, or transformers is not installed.
        """
        if set(settings) != _KEYS:
            raise ConfigError(f"tokenizer settings are {sorted(settings)}, expected exactly {sorted(_KEYS)}.")
        match settings:
            case {"definition": str(definition), "specials": [*specials], "max_tokens": int(max_tokens)} if (
                all(isinstance(piece, str) for piece in specials) and len(specials) == SPECIALS
            ):
                tokenizer = cls.__new__(cls)
                tokenizer._pieces = WordPieces(definition, specials, max_tokens)
                tokenizer.vocabulary = Vocabulary(tokenizer._pieces.words)
                return tokenizer
        raise ConfigError(
            "tokenizer settings: definition must be text, specials four texts, max_tokens a whole number."
        )


class CaptionTokenizer(Protocol):
    """Cuts captions; ``settings()`` is all that it takes to build it again, as plain values."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary that belongs to it; ``None`` where one is built from the captions."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of a caption that its model reads, sentinels included; ``None`` for any number."""
        ...

    def __call__(self, text: str) -> list[str]:
        """Words of a caption, in order."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that decides the output."""
        ...


def tokenizer_from_settings(settings: Mapping[str, Any]) -> CaptionTokenizer:
    """Rebuild a tokenizer of this package, or a registered one; needs no file.

    Raises:
        ConfigError: If there is no such tokenizer, or a setting is missing, unknown, or of the wrong type.
    """
    return _tokenizer_class(settings.get("name")).from_settings(settings)


def check_restorable(tokenizer: CaptionTokenizer) -> None:
    """Check before training that checkpoints can restore a tokenizer from its ``settings()``.

    Raises:
        ConfigError: If its class is neither one of this package nor registered under ``settings()["name"]``.
    """
    name, own = tokenizer.settings().get("name"), type(tokenizer)
    try:
        found = _tokenizer_class(name)
    except ConfigError:
        found = None
    if found is not own:
        raise ConfigError(
            f"data.tokenizer: settings() of {own.__module__}.{own.__qualname__} name {name!r}, under which it is not "
            "registered, so nothing could load the checkpoints: decorate it with @tangka_match.register_tokenizer("
            f'"my_tokenizer"), return that name from settings(), and declare its module as an entry point of the group '
            f"{ENTRY_POINT_GROUP}"
        )


def _tokenizer_class(name: object) -> Any:
    own = {"jieba": JiebaTokenizer, "pieces": PieceTokenizer}
    if isinstance(name, str) and name in own:
        return own[name]
    entry = find_registered(name) if isinstance(name, str) else None
    if entry is None or entry.kind != "tokenizer":
        raise ConfigError(
            f"tokenizer settings have name={name!r}; known are {', '.join([*own, *registered_names('tokenizer')])}. "
            "A tokenizer of another package must be registered: install the package that registers it, or import it"
        )
    return entry.target

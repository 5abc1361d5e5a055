"""Caption tokenizers: jieba words with a Thangka dictionary, or the WordPiece tokens of a pretrained text encoder."""

import logging
from collections.abc import Iterable, Mapping, Sequence
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
    splitting_characters,
)
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError
from tangka_match.hub import SPECIALS, WordPieces
from tangka_match.registry import ENTRY_POINT_GROUP, find_registered, registered_names

logger = logging.getLogger(__name__)

_MAX_LISTED = 20
_BACKENDS = ("auto", "jieba", "rjieba")
_JIEBA_SWITCHES = ("hmm", "normalise", "keep_punctuation")
_PIECE_SETTINGS = ("definition", "specials", "max_tokens", "prefix")


class CaptionTokenizer(Protocol):
    """Splits captions into tokens; ``settings()`` contains all that is needed to rebuild it, as plain values."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Vocabulary of the tokenizer; ``None`` if one is built from the captions."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Maximum caption length of its model, including ``<start>`` and ``<end>``; ``None`` if unlimited."""
        ...

    def __call__(self, text: str) -> list[str]:
        """Split a caption into tokens."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return all settings that determine the output."""
        ...


class JiebaTokenizer:
    """Chinese word tokenizer.

    The dictionaries are loaded at the first call in each process, so that constructing a tokenizer and sending it to
    the workers of a ``DataLoader`` are cheap.

    The captions of the published SGRAF vocabularies were segmented by plain jieba after ``lower()``:
    ``JiebaTokenizer(domain_dictionary=False, normalise=False, keep_punctuation=True)``.

    Args:
        domain_dictionary: Whether to use the Thangka terms of the package.
        user_dictionaries: Paths of additional dictionaries in jieba's format (see ``read_user_dictionary``). Later
            entries of the same word replace earlier ones, including those of the domain dictionary.
        hmm: Whether jieba's hidden Markov model joins characters that form no known word.
        normalise: Whether captions and dictionary words are normalised by ``normalise_caption``; ``False`` only
            converts them to lower case.
        keep_punctuation: Whether to keep tokens that are only punctuation. Punctuation does not describe an image,
            costs SGRAF one more attended word per caption, and separates captions that are otherwise equal. White
            space is never a token.
        backend: ``"jieba"``, ``"rjieba"`` (optional package, same output, more than twice as fast), or ``"auto"``,
            which uses rjieba if it is installed.

    Raises:
        ConfigError: If the backend is unknown or not installed, or ``user_dictionaries`` is not a list.
        DataFormatError: If a user dictionary is missing, is not UTF-8, or has an invalid line.

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
            raise ConfigError(f"backend={backend!r} must be one of {', '.join(_BACKENDS)}.")
        if backend == "rjieba" and not rjieba_available():
            raise ConfigError("backend='rjieba', but rjieba is not installed; pip install rjieba, or set backend=auto.")
        if isinstance(user_dictionaries, str):
            raise ConfigError(f"user_dictionaries={user_dictionaries!r} must be a list of paths.")
        self.hmm = hmm
        self.normalise = normalise
        self.keep_punctuation = keep_punctuation
        self.backend = backend
        self._entries = self._prepare(_collect(domain_dictionary, user_dictionaries))
        self._segmenter: Segmenter | None = None

    def __call__(self, text: str) -> list[str]:
        """Split a caption into words; an empty list if it has only white space (or punctuation)."""
        if self._segmenter is None:
            use_rjieba = self.backend == "rjieba" or (self.backend == "auto" and rjieba_available())
            self._segmenter = (rjieba_segmenter if use_rjieba else jieba_segmenter)(self._entries, hmm=self.hmm)
        tokens = self._segmenter(self._clean(text))
        if self.keep_punctuation:
            return [token for token in tokens if not token.isspace()]
        return [token for token in tokens if not is_punctuation(token)]

    def settings(self) -> dict[str, Any]:
        """Return all settings that determine the output, with the words of the dictionaries instead of their paths.

        Tokenizers with equal settings give equal output. ``backend`` is omitted because it does not change the output.
        """
        switches = {name: getattr(self, name) for name in _JIEBA_SWITCHES}
        return {"name": "jieba", **switches, "words": [list(entry) for entry in self._entries]}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Rebuild a tokenizer from ``settings()``; reads no file.

        Raises:
            ConfigError: If a setting is missing, unknown, or of the wrong type.
        """
        _check_keys(settings, ("words", *_JIEBA_SWITCHES))
        if settings["name"] != "jieba":
            raise ConfigError(f"tokenizer settings: name={settings['name']!r} must be 'jieba'.")
        for name in _JIEBA_SWITCHES:
            if not isinstance(settings[name], bool):
                raise ConfigError(f"tokenizer settings: {name}={settings[name]!r} must be true or false.")
        if not isinstance(settings["words"], list):
            raise ConfigError(f"tokenizer settings: words={settings['words']!r} must be a list.")
        tokenizer = cls(domain_dictionary=False, **{name: settings[name] for name in _JIEBA_SWITCHES})
        tokenizer._entries = tuple(_entry_from_settings(item) for item in settings["words"])
        return tokenizer

    def _clean(self, text: str) -> str:
        return normalise_caption(text) if self.normalise else text.lower()

    def _prepare(self, entries: Sequence[DictionaryEntry]) -> tuple[DictionaryEntry, ...]:
        """Clean the words like captions, and keep the last entry of each word."""
        cleaned = (entry._replace(word=self._clean(entry.word)) for entry in entries)
        return tuple({entry.word: entry for entry in cleaned if entry.word}.values())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_segmenter": None}


def _collect(with_domain: bool, user_dictionaries: Sequence[str]) -> list[DictionaryEntry]:
    entries = list(domain_terms()) if with_domain else []
    for path in user_dictionaries:
        own = read_user_dictionary(path)
        if split := {entry.word: found[0] for entry in own if (found := splitting_characters(entry.word))}:
            listed = ", ".join(f"{word} ({character})" for word, character in list(split.items())[:_MAX_LISTED])
            logger.warning(
                "%s: %d of %d words can never be found, because jieba splits captions at one of their characters: %s%s",
                path,
                len(split),
                len(own),
                listed,
                " …" if len(split) > _MAX_LISTED else "",
            )
        entries.extend(own)
    return entries


def _entry_from_settings(item: Any) -> DictionaryEntry:
    """Convert ``[word, frequency, tag]``, checked as strictly as a line of a dictionary file."""
    match item:
        case [str(word), int() | None as frequency, str(tag)] if word and not isinstance(frequency, bool):
            fields = [word, "" if frequency is None else str(frequency), tag]
        case _:
            raise ConfigError(f"tokenizer settings: words has {item!r}; expected [word, frequency or null, tag].")
    try:
        return parse_entry([field for field in fields if field])
    except ValueError as error:
        raise ConfigError(f"tokenizer settings: words has {item!r}: {error}.") from error


class PieceTokenizer:
    """WordPiece tokenizer of a pretrained text encoder; for Chinese, mostly characters.

    The complete pretrained vocabulary is kept, including tokens that no training caption contains, because test
    captions may contain them. Captions longer than the model's limit are truncated, with a warning that says how many.
    They are not split into windows with averaged vectors: a window that starts within a sentence differs from the
    pretraining data, and an averaged vector is not what the encoder was trained for. Thangka captions are shorter than
    the limits (512 tokens for BERT, 52 for Chinese-CLIP).

    Args:
        source: Folder of the model, or its name on the Hugging Face hub.
        prefix: Text before every caption, as the encoder was pretrained: ``"query: "`` for E5.

    Raises:
        ConfigError: If the model's vocabulary cannot be read, or transformers is not installed.
    """

    def __init__(self, source: str, prefix: str = "") -> None:
        self._pieces = WordPieces.read(source)
        self.prefix = prefix
        self.vocabulary = Vocabulary(self._pieces.words)

    @property
    def max_tokens(self) -> int:
        """Maximum caption length of the model in tokens, including start and end."""
        return self._pieces.max_tokens

    def __call__(self, text: str) -> list[str]:
        """Split a caption into tokens, without start and end."""
        return self._pieces.cut(self.prefix + text)

    def settings(self) -> dict[str, Any]:
        """Return all settings that determine the output, including the vocabulary."""
        pieces = self._pieces
        return {
            "name": "pieces",
            "definition": pieces.definition,
            "specials": list(pieces.specials),
            "max_tokens": pieces.max_tokens,
            **({"prefix": self.prefix} if self.prefix else {}),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Rebuild a tokenizer from ``settings()``; reads no file.

        Raises:
            ConfigError: If a setting is missing, unknown, or of the wrong type, or transformers is not installed.
        """
        settings = {"prefix": "", **settings}
        _check_keys(settings, _PIECE_SETTINGS)
        match settings:
            case {
                "definition": str(definition),
                "specials": [*specials],
                "max_tokens": int(max_tokens),
                "prefix": str(prefix),
            } if all(isinstance(piece, str) for piece in specials) and len(specials) == SPECIALS:
                tokenizer = cls.__new__(cls)
                tokenizer._pieces = WordPieces(definition, specials, max_tokens)
                tokenizer.prefix = prefix
                tokenizer.vocabulary = Vocabulary(tokenizer._pieces.words)
                return tokenizer
        raise ConfigError(
            f"tokenizer settings: definition must be a string, specials {SPECIALS} strings, max_tokens an integer, "
            "prefix a string."
        )


def _check_keys(settings: Mapping[str, Any], expected: Iterable[str]) -> None:
    keys = {"name", *expected}
    if set(settings) != keys:
        raise ConfigError(f"tokenizer settings have the keys {sorted(settings)}; must be exactly {sorted(keys)}.")


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

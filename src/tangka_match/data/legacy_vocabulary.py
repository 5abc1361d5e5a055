"""The pickled vocabularies of SGRAF, SCAN and VSE++, read without running anything that the file says."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tangka_match.errors import DataFormatError

# The class by its module, by the module's name on a case-blind disk, and as `python vocab.py` itself pickles it.
_VOCABULARY = {("vocab", "Vocabulary"), ("Vocabulary", "Vocabulary"), ("__main__", "Vocabulary")}
# Protocols 0 and 1 build an object by a call of these two, under their Python 2 or Python 3 names.
_RECONSTRUCTOR = {("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")}
_OBJECT = {("__builtin__", "object"), ("builtins", "object")}


class _InertVocabulary:
    """Stands in for the pickled class: keeps the state that the file gives and does nothing with it."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def read_legacy_vocabulary(path: str | Path) -> dict[str, int]:
    """Read the words and ids of a pickled ``vocab.Vocabulary`` object, protocols 0 to 4, Python 2 or 3.

    A pickle is a programme; this reader lets it name the vocabulary class alone, and puts a class of ours that does
    nothing in its place. A file that names anything else is refused before that could be loaded or called.

    Args:
        path: The pickle, as SGRAF's ``vocab.py`` wrote it.

    Returns:
        Ids by word, as found; ``Vocabulary`` checks that they are complete.

    Raises:
        DataFormatError: The file is missing, damaged, names another class or function, or holds something else than a
            vocabulary.
    """
    try:
        with Path(path).open("rb") as file:
            content = _RestrictedUnpickler(file, path).load()
    except DataFormatError:
        raise
    except OSError as error:
        raise DataFormatError(f"{path}: cannot read the vocabulary ({error.strerror}).") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        found = f"{type(error).__name__}: {error}"
        raise DataFormatError(f"{path}: damaged or not a pickled vocabulary ({found}).") from error
    return _word_ids(content, path)


class _RestrictedUnpickler(pickle.Unpickler):
    """Resolves the vocabulary class to an inert one and refuses every other name."""

    def __init__(self, file: Any, path: str | Path) -> None:
        super().__init__(file, encoding="utf-8")  # Python 2 wrote words as UTF-8 bytes
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> type | Callable[..., object]:
        name = (module_name, global_name)
        if name in _VOCABULARY or name in _OBJECT:
            return _InertVocabulary
        if name in _RECONSTRUCTOR:
            return _reconstruct
        raise DataFormatError(
            f"{self._path}: the pickle asks for {module_name}.{global_name}, which a vocabulary never needs; nothing "
            "was run. Only vocab.Vocabulary is read: take the vocabulary from a source you trust, or use its JSON form."
        )

    def persistent_load(self, pid: object) -> NoReturn:
        raise DataFormatError(f"{self._path}: the pickle refers to an object outside the file ({pid!r}).")


def _reconstruct(*_: object) -> _InertVocabulary:
    """What protocols 0 and 1 call to make the object; whatever they pass, it is an empty stand-in."""
    return _InertVocabulary()


def _word_ids(content: object, path: str | Path) -> dict[str, int]:
    if not isinstance(content, _InertVocabulary):
        raise DataFormatError(f"{path}: holds a {type(content).__name__}, expected a vocab.Vocabulary object.")
    word_ids = content.state.get("word2idx") if isinstance(content.state, dict) else None
    if not isinstance(word_ids, dict):
        raise DataFormatError(f"{path}: the Vocabulary object has no dictionary 'word2idx'; it is not SGRAF's.")
    for word, index in word_ids.items():
        if not isinstance(word, str) or type(index) is not int:
            raise DataFormatError(f"{path}: word2idx holds {word!r}: {index!r}; expected a word and a whole number.")
    return word_ids

"""Safe reader of the pickled vocabularies of SGRAF, SCAN and VSE++: no code of the file is executed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tangka_match.errors import DataFormatError

# The class under its module name, under that name on a case-insensitive disk, and as pickled by `python vocab.py`.
_VOCABULARY = {("vocab", "Vocabulary"), ("Vocabulary", "Vocabulary"), ("__main__", "Vocabulary")}
# Pickle protocols 0 and 1 create an object with these two, under their Python 2 or Python 3 names.
_RECONSTRUCTOR = {("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")}
_OBJECT = {("__builtin__", "object"), ("builtins", "object")}


class _InertVocabulary:
    """Replacement of the pickled class that only stores the state."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def read_legacy_vocabulary(path: str | Path) -> dict[str, int]:
    """Read the words and ids of a pickled ``vocab.Vocabulary`` object, protocols 0 to 4, Python 2 or 3.

    A pickle can execute arbitrary code. This reader only resolves the vocabulary class, replaced by an inert class; a
    file that refers to anything else is refused before it is loaded or called.

    Args:
        path: Pickle file written by SGRAF's ``vocab.py``.

    Returns:
        Id of each word; ``Vocabulary`` checks that they are complete.

    Raises:
        DataFormatError: If the file is missing or damaged, refers to another class or function, or is not a
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
    """Unpickler that resolves the vocabulary class to an inert class and refuses every other name."""

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
            f"{self._path}: the pickle refers to {module_name}.{global_name}, but only vocab.Vocabulary is allowed; "
            "nothing was executed. Use a vocabulary from a trusted source, or its JSON form."
        )

    def persistent_load(self, pid: object) -> NoReturn:
        raise DataFormatError(f"{self._path}: the pickle refers to an object outside the file ({pid!r}).")


def _reconstruct(*_: object) -> _InertVocabulary:
    """Create an inert vocabulary, whatever protocols 0 and 1 pass."""
    return _InertVocabulary()


def _word_ids(content: object, path: str | Path) -> dict[str, int]:
    if not isinstance(content, _InertVocabulary):
        raise DataFormatError(f"{path}: found an object of type {type(content).__name__}, expected vocab.Vocabulary.")
    word_ids = content.state.get("word2idx") if isinstance(content.state, dict) else None
    if not isinstance(word_ids, dict):
        raise DataFormatError(f"{path}: the Vocabulary object has no dictionary 'word2idx', unlike SGRAF's.")
    for word, index in word_ids.items():
        if not isinstance(word, str) or type(index) is not int:
            raise DataFormatError(f"{path}: word2idx has {word!r}: {index!r}; expected a string and an integer.")
    return word_ids

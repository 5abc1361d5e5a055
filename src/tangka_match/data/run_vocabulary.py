"""Vocabulary of a run: that of the tokenizer, of a file, or one built from the training captions."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from tangka_match.data.vocabulary import CHARACTER_MARK, Vocabulary
from tangka_match.errors import count

logger = logging.getLogger(__name__)

FILE_REMEDY = "Remove data.vocabulary_path to build one, or set the tokenizer that it was built with"
TOKENIZER_REMEDY = "Give model.text_model an encoder for the language of the captions, or check their encoding"
"""What to do if a vocabulary does not cover the training captions."""


def choose_vocabulary(
    words: Iterable[Sequence[str]],
    own: Vocabulary | None,
    path: str | Path | None,
    *,
    min_count: int,
    character_fallback: bool,
    kept: Sequence[str],
) -> Vocabulary:
    """Return the vocabulary of a run; warn if it treats unknown words otherwise than ``character_fallback`` says.

    Args:
        words: Words of the training captions.
        own: Vocabulary of the tokenizer, or ``None``.
        path: Vocabulary file, or ``None``.
        min_count: Minimum count of a word in a built vocabulary.
        character_fallback: Setting ``data.character_fallback``.
        kept: Words that a built vocabulary contains in any case.

    Raises:
        DataFormatError: If the file cannot be read, or nearly all words of the captions are unknown.
    """
    if own is not None:
        vocabulary = own.check_coverage(words, "data.tokenizer", TOKENIZER_REMEDY)
    elif path is not None:
        vocabulary = Vocabulary.load(path).check_coverage(words, path, FILE_REMEDY)
    else:
        vocabulary = Vocabulary.build(words, min_count, character_fallback=character_fallback).with_words(kept)
    mark = f"ending in {CHARACTER_MARK}"
    if character_fallback and own is not None:
        logger.warning(
            "data.character_fallback=true has no effect: data.tokenizer has its own vocabulary and cuts unknown words "
            "itself; set data.character_fallback=false"
        )
    elif character_fallback and not vocabulary.num_characters:
        logger.warning(
            "data.character_fallback=true has no effect: %s holds no single characters (entries %s), so unknown words "
            "become <unk>; remove data.vocabulary_path to build a vocabulary with them, or set "
            "data.character_fallback=false",
            path,
            mark,
        )
    elif not character_fallback and vocabulary.num_characters:
        logger.warning(
            "data.character_fallback=false, but %s %s: they are kept, and unknown words are encoded by them; set "
            "data.character_fallback=true, or do without this file",
            f"{path} holds" if path is not None else "the checkpoint of init_from holds",
            f"{count(vocabulary.num_characters, 'character')} (words {mark})",
        )
    return vocabulary

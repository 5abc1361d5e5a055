"""``pairs.csv``: all pairs with their ranks, rivals and reasons, for a spreadsheet."""

import csv
import io
from collections.abc import Sequence

from tangka_match.analysis.diagnosis.pairs.suspects import Suspect
from tangka_match.data.split import Split
from tangka_match.retrieval.answer_files import inert

COLUMNS = (
    "image",
    "caption_number",
    "caption",
    "reason",
    "probability",
    "i2t_rank",
    "t2i_rank",
    "gallery",
    "fold",
    "better_caption_image",
    "better_caption",
    "better_image",
    "better_image_caption",
    "duplicates",
)
SEPARATOR = "; "
"""Between several reasons, and between several ids."""


def pairs_csv(suspects: Sequence[Suspect], pool: Split) -> str:
    """Return the table, one row per pair in the given order.

    ``image`` and ``caption_number`` are what ``data.exclude`` reads. Texts that a spreadsheet would take for a formula
    begin with an apostrophe.

    Args:
        suspects: Pairs.
        pool: Split that they belong to.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in suspects:
        texts = {
            "image": pair.name.image,
            "caption": pool.captions[pair.caption],
            "reason": SEPARATOR.join(pair.reasons),
            "better_caption_image": pool.image_ids[pair.better_caption.image],
            "better_caption": pool.captions[pair.better_caption.caption],
            "better_image": pool.image_ids[pair.better_image.image],
            "better_image_caption": pool.captions[pair.better_image.caption],
            "duplicates": SEPARATOR.join(pool.image_ids[image] for image in pair.duplicates),
        }
        numbers = {
            "caption_number": pair.name.caption,
            "probability": f"{pair.probability:.3f}",
            "i2t_rank": pair.i2t_rank,
            "t2i_rank": pair.t2i_rank,
            "gallery": pair.gallery,
            "fold": pair.fold,
        }
        row = {name: inert(value) for name, value in texts.items()} | numbers
        writer.writerow([row[name] for name in COLUMNS])
    return text.getvalue()

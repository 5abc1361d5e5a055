"""Write ``pairs.csv``, and ``pairs.html``, the page to look through the suspicious pairs."""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tangka_match.analysis.diagnosis.model.drawing import Album
from tangka_match.analysis.diagnosis.pairs.suspects import REASONS, Rival, Suspect, SuspectList
from tangka_match.analysis.diagnosis.pairs.table import pairs_csv
from tangka_match.analysis.html_page import html_page, resource
from tangka_match.analysis.script_bundle import bundle
from tangka_match.data.exclude import Excluded
from tangka_match.data.split import Split
from tangka_match.files import write_text_completely

MAX_ROWS = 500
"""Most pairs with a reason on the page; ``pairs.csv`` has all."""
WITHOUT_REASON = 200
"""Most pairs without a reason on the page, those most probably mismatched."""
MAX_DUPLICATES = 5
"""Most near-duplicates of a picture that are named on the page."""
NO_SCRIPT = (
    "<noscript><main><h1>tangka_match</h1><p>This page needs JavaScript; please enable it. "
    "本页面需要 JavaScript，请在浏览器中启用。</p></main></noscript>"
)


def write_pairs(folder: Path, found: SuspectList, pool: Split, excluded: set[Excluded]) -> None:
    """Write the table of all pairs, and the page with the suspicious ones.

    Args:
        folder: Output folder, created if missing.
        found: Pairs, the most probable mismatch first.
        pool: Split that they belong to.
        excluded: Pairs struck out before, from ``data.exclude``; they are ticked on the page, and kept in its list.
    """
    # With a byte order mark, without which Excel does not read Chinese.
    write_text_completely(folder / "pairs.csv", "\ufeff" + pairs_csv(found.suspects, pool))
    page = html_page(
        f"Pairs of {pool.captions_path.parent.name}",
        f'{NO_SCRIPT}<div id="page"></div>',
        resource("diagnosis/pairs/pairs.css"),
        script=bundle("diagnosis/pairs/pairs"),
        data={"pairs": page_data(found, pool, excluded)},
        generator="tangka_match.diagnose",
    )
    write_text_completely(folder / "pairs.html", page)


def choose_rows(suspects: Sequence[Suspect]) -> list[Suspect]:
    """Choose the pairs of the page, in the given order: ``MAX_ROWS`` with a reason, ``WITHOUT_REASON`` without."""
    with_reason = [pair for pair in suspects if pair.reasons][:MAX_ROWS]
    others = [pair for pair in suspects if not pair.reasons][:WITHOUT_REASON]
    chosen = {(pair.image, pair.caption) for pair in (*with_reason, *others)}
    return [pair for pair in suspects if (pair.image, pair.caption) in chosen]


def page_data(found: SuspectList, pool: Split, excluded: set[Excluded]) -> dict[str, Any]:
    """Return the content of the page as plain values; pictures are listed once each, by image row."""
    rows = choose_rows(found.suspects)
    album = Album(pool)
    shown = {image for pair in rows for image in (pair.image, pair.better_image.image)}
    pictures = {str(image): url for image in sorted(shown) if (url := album.data_url(image)) is not None}
    captions = Counter(pool.image_ids[image] for image in pool.caption_to_image.tolist())
    lines = [exclude_line(pair.name, captions[pair.name.image]) for pair in rows]
    before = {
        exclude_line(Excluded(image, number), captions[image])
        for image, chosen in excluded
        for number in (range(1, captions[image] + 1) if chosen is None else [chosen])
    }
    return {
        "name": pool.captions_path.parent.name,
        # The browser remembers ticks by this key: another list, or other data, begins anew.
        "key": f"{pool.fingerprint}-{blake2b(''.join(sorted(before)).encode(), digest_size=8).hexdigest()}",
        "total": len(found.suspects),
        "with_reason": sum(bool(pair.reasons) for pair in found.suspects),
        "share": found.share,
        "usable": found.is_usable,
        "reasons": list(REASONS),
        "rows": [
            _row(pair, pool) | {"line": line, "struck": line in before} for pair, line in zip(rows, lines, strict=True)
        ],
        "pictures": pictures,
        "kept": sorted(before - set(lines)),
    }


def exclude_line(name: Excluded, captions: int) -> str:
    r"""Return the line of ``data.exclude`` for a pair: the id alone if the image has no other caption.

    >>> exclude_line(Excluded("a", 1), 1), exclude_line(Excluded("a", 2), 5)
    ('a', 'a\t2')
    """
    return name.image if captions == 1 or name.caption is None else f"{name.image}\t{name.caption}"


def _row(pair: Suspect, pool: Split) -> dict[str, Any]:
    return {
        "image": pair.image,
        "id": pair.name.image,
        "caption": pool.captions[pair.caption],
        "reasons": list(pair.reasons),
        "probability": round(pair.probability, 3),
        "i2t": pair.i2t_rank,
        "t2i": pair.t2i_rank,
        "gallery": pair.gallery,
        "better_caption": _rival(pair.better_caption, pool),
        "better_image": _rival(pair.better_image, pool),
        "duplicates": [pool.image_ids[image] for image in pair.duplicates[:MAX_DUPLICATES]],
        "more_duplicates": max(0, len(pair.duplicates) - MAX_DUPLICATES),
    }


def _rival(rival: Rival, pool: Split) -> dict[str, Any]:
    return {"image": rival.image, "id": pool.image_ids[rival.image], "caption": pool.captions[rival.caption]}

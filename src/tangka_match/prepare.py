"""Write a checked data set from the features and captions of other programs.

    python -m tangka_match.prepare features=FILE_OR_FOLDER captions=FILE out=FOLDER [splits='[0.8,0.1,0.1]']

Formats are recognised by content; ``README.json`` in the new folder says what was read, paired and left out.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from omegaconf import DictConfig
from pydantic import Field

from tangka_match.cli import check_is_new, command, read_settings, say
from tangka_match.errors import count, disk_errors_explained
from tangka_match.settings import OneOrMore, Settings, Text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tangka_match.data.importers.caption_text import CaptionedImage
    from tangka_match.data.importers.captions import Captions
    from tangka_match.data.importers.join import Joined
    from tangka_match.data.importers.source import FeatureSource

STEMS = {"train": "train", "val": "dev", "test": "test"}
MAX_NAMED = 3
"""Most left-out images that the terminal names; ``README.json`` has all."""
FULL_DISK_ADVICE = "free space there, or set out to a folder on another disk; nothing was left behind"


class ColumnSettings(Settings):
    """Columns of tables and fields of JSON objects."""

    image: Text | None
    text: Text | None
    split: Text | None


class PreparationSettings(Settings):
    """Settings of a preparation; see ``conf/prepare.yaml``."""

    features: Annotated[list[Path], OneOrMore, Field(min_length=1)]
    captions: Annotated[list[Path], OneOrMore, Field(min_length=1)]
    out: Path
    columns: ColumnSettings
    encoding: Text
    splits: list[float] | dict[str, Path] | None
    seed: Annotated[int, Field(ge=0)]
    dtype: Literal["float16", "float32"]
    feature_axis: Literal["auto", "last", "first"]
    simplified: bool
    diagnose: bool


class Chosen(NamedTuple):
    """Images that are written.

    Attributes:
        images: Images with features and captions, M of them.
        source: Index of each among the features, (M,).
        splits: Split of each; ``None`` for those that are left out.
    """

    images: "list[CaptionedImage]"
    source: "npt.NDArray[np.int64]"
    splits: list[str | None]


def prepare(config: DictConfig) -> None:
    """Read features and captions, pair them, write the splits, and print what ``diagnose`` finds.

    Raises:
        TangkaMatchError: On invalid settings or files; nothing is written then.
    """
    from tangka_match.data.importers.caption_tables import Columns
    from tangka_match.data.importers.captions import read_captions
    from tangka_match.data.importers.features import open_features
    from tangka_match.data.importers.join import join

    settings = read_settings(config, PreparationSettings, groups=("debug",))
    check_is_new(settings.out)
    captions = read_captions(settings.captions, Columns(**settings.columns.model_dump()), settings.encoding)
    images, empty = _clean(captions.images, to_simplified=settings.simplified)
    with disk_errors_explained(str(settings.out), FULL_DISK_ADVICE), _new_folder(settings.out) as (folder, scratch):
        features = open_features(settings.features, settings.feature_axis, lambda: scratch)
        joined = join(features, images)
        _say_what_was_read(features, captions, joined, empty)
        chosen, how = _assign(images, features, joined, settings, scratch)
        written = _write(folder, chosen, features, settings)
        _keep_encoder(features.files, folder)
        about = _about(settings, features, captions, joined, empty)
        about["splits"] = {"from": how, **written, "left_out": chosen.splits.count(None)}
        text = json.dumps(about, ensure_ascii=False, indent=1)
        (folder / "README.json").write_text(f"{text}\n", encoding="utf-8")
    say(f"written to   {settings.out}")
    if settings.diagnose:
        _diagnose(settings.out)
    say(f"train with   python -m tangka_match.train +experiment=targeted data=precomp data.root={settings.out}")


@contextmanager
def _new_folder(out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a folder that becomes ``out`` at the end, and one for temporary files; both are removed on failure."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".partial-{out.name}-", dir=out.parent))
    try:
        folder, scratch = partial / "set", partial / "scratch"
        folder.mkdir()
        scratch.mkdir()
        yield folder, scratch
        check_is_new(out)  # another process may have written it in the meantime
        folder.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _clean(images: "Sequence[CaptionedImage]", *, to_simplified: bool) -> "tuple[list[CaptionedImage], int]":
    from tangka_match.data.importers.caption_text import simplified, without_empty

    kept, removed = without_empty(images)
    return (simplified(kept) if to_simplified else kept), removed


def _assign(
    images: "list[CaptionedImage]",
    features: "FeatureSource",
    joined: "Joined",
    settings: PreparationSettings,
    scratch: Path,
) -> tuple[Chosen, str]:
    """Choose the split of each image; the second value says how, in words."""
    from tangka_match.data.importers.assignment import draw, from_captions, from_id_lists, wanted_sizes

    wanted = settings.splits
    usable = [at for at, place in enumerate(joined.source.tolist()) if place >= 0]
    paired = [images[at] for at in usable]
    source = joined.source[usable]
    if wanted is None:
        return Chosen(paired, source, from_captions(paired)), "the captions"
    if isinstance(wanted, dict):
        every = from_id_lists(wanted, images)
        return Chosen(
            paired, source, [every[at] for at in usable]
        ), f"lists of ids: {', '.join(map(str, wanted.values()))}"
    sizes = wanted_sizes(wanted, len(paired))
    groups = _near_duplicates(paired, features, source, settings, scratch)
    members = Counter(groups.tolist())
    near, largest = sum(size for size in members.values() if size > 1), max(members.values())
    how = f"drawn by image with seed {settings.seed}; near-duplicates and equal captions stay together"
    say(f"kept together {count(near, 'image')} with a near-duplicate or an equal caption; largest group: {largest:,}")
    return Chosen(paired, source, draw(groups, sizes, settings.seed)), how


def _near_duplicates(
    images: "list[CaptionedImage]",
    features: "FeatureSource",
    source: "npt.NDArray[np.int64]",
    settings: PreparationSettings,
    scratch: Path,
) -> "npt.NDArray[np.int64]":
    """Write all images as one split, to compare their features, and return the group of each."""
    import numpy as np

    from tangka_match.data.folds import find_groups
    from tangka_match.data.importers.writer import write_split
    from tangka_match.data.split import load_split

    pool = scratch / "pool"
    pool.mkdir()
    regions = int(features.counts[source].max())
    write_split(pool, "all", images, features, source, regions=regions, dtype=np.dtype(settings.dtype))
    groups = find_groups(load_split(pool, "all"))
    shutil.rmtree(pool)
    return groups


def _write(folder: Path, chosen: Chosen, features: "FeatureSource", settings: PreparationSettings) -> dict[str, Any]:
    import numpy as np

    from tangka_match.data.importers.writer import write_split

    used = [at for at, split in enumerate(chosen.splits) if split is not None]
    regions = int(features.counts[chosen.source[used]].max())
    report: dict[str, Any] = {}
    for split, stem in STEMS.items():
        rows = [at for at, name in enumerate(chosen.splits) if name == split]
        if not rows:
            continue
        images = [chosen.images[at] for at in rows]
        source = chosen.source[rows]
        has_boxes = write_split(folder, stem, images, features, source, regions=regions, dtype=np.dtype(settings.dtype))
        captions = sum(len(image.captions) for image in images)
        report[split] = {"images": len(images), "captions": captions, "boxes": has_boxes}
        shape = f"{regions} × {features.dim:,} {settings.dtype}"
        boxes = "" if has_boxes else ", no boxes"
        say(f"{split:12} {count(len(images), 'image')}, {count(captions, 'caption')}, {shape}{boxes}")
    return report


def _keep_encoder(files: "Sequence[Path]", folder: Path) -> None:
    """Copy the record of the encoder that ``extract`` left beside the features, which ``search`` reads."""
    from tangka_match.retrieval.extraction import ENCODER_FILE

    places = {file.parent for file in files}
    record = places.pop() / ENCODER_FILE
    if not places and record.is_file():
        shutil.copyfile(record, folder / ENCODER_FILE)


def _say_what_was_read(features: "FeatureSource", captions: "Captions", joined: "Joined", empty: int) -> None:
    fewest, most = int(features.counts.min()), int(features.counts.max())
    regions = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    total = sum(len(image.captions) for image in captions.images)
    say(f"features     {features.kind}: {count(len(features.counts), 'image')}, {regions} regions × {features.dim:,}")
    say(f"captions     {captions.kind}: {count(total, 'caption')} of {count(len(captions.images), 'image')}")
    say(f"paired       {count(int((joined.source >= 0).sum()), 'image')} by {joined.how}")
    for what, names in (("without captions", joined.without_captions), ("without features", joined.without_features)):
        if names:
            more = " …" if len(names) > MAX_NAMED else ""
            say(
                f"left out     {count(len(names), 'image')} {what}: {', '.join(names[:MAX_NAMED])}{more}",
                style="yellow",
            )
    if joined.repeated:
        say(f"left out     {count(joined.repeated, 'feature')} whose image id occurred before", style="yellow")
    if empty:
        say(f"left out     {count(empty, 'caption')} without a letter or digit", style="yellow")


def _about(
    settings: PreparationSettings, features: "FeatureSource", captions: "Captions", joined: "Joined", empty: int
) -> dict[str, Any]:
    from tangka_match import __version__

    return {
        "name": f"data set written by tangka_match.prepare {__version__}",
        "settings": settings.model_dump(mode="json"),
        "features": {
            "format": features.kind,
            "files": [_file(path) for path in features.files],
            "images": len(features.counts),
            "regions": [int(features.counts.min()), int(features.counts.max())],
            "feature_dim": features.dim,
        },
        "captions": {
            "format": captions.kind,
            "files": [_file(path) for path in captions.files],
            "images": len(captions.images),
            "captions": sum(len(image.captions) for image in captions.images),
            "without_a_word": empty,
        },
        "paired": {
            "by": joined.how,
            "images": int((joined.source >= 0).sum()),
            "without_captions": joined.without_captions,
            "without_features": joined.without_features,
            "repeated_features": joined.repeated,
        },
    }


def _file(path: Path) -> dict[str, Any]:
    return {"path": str(path.absolute()), "bytes": path.stat().st_size if path.is_file() else None}


def _diagnose(root: Path) -> None:
    """Print the findings about the data in ten lines."""
    from tangka_match.analysis.diagnosis.output import brief
    from tangka_match.analysis.diagnosis.sections import data_sections
    from tangka_match.data.feature_scan import scan_features
    from tangka_match.data.layout import available_splits
    from tangka_match.data.split import load_split
    from tangka_match.data.tokenizer import JiebaTokenizer

    names = [name for name in STEMS if name in available_splits(root)]
    if "train" not in names or len(names) < 2:
        say(f"no diagnosis: it needs train and another split, found {', '.join(names)}")
        return
    splits = {name: load_split(root, name) for name in names}
    scans = {name: scan_features(split) for name, split in splits.items()}
    sections = data_sections(
        splits,
        scans,
        JiebaTokenizer(),
        names[1],
        vocabulary_path=None,
        min_count=1,
        character_fallback=False,
        max_tokens=80,
        profile=None,
    )
    for line in brief(sections):
        say(line)
    say(f"in full      python -m tangka_match.diagnose data.root={root} out=diagnosis")


main = command("prepare", prepare)

if __name__ == "__main__":
    main()

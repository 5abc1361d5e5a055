"""Draw ``query.png``: a caption of the demo set and the five images that a checkpoint ranks first.

    python docs/images/make_query.py checkpoints/best/<run id>/best.ckpt data/demo docs/images/query.png

The font must have Chinese characters; ``--font`` names another file.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tangka_match
from tangka_match.data.layout import find_thumbnail
from tangka_match.data.split import load_split
from tangka_match.retrieval.answers import first_answers
from tangka_match.retrieval.score_matrix import score_matrix

SIZE, GAP, HEAD = 190, 14, 84  # pixels
GREEN, GREY = (30, 160, 70), (200, 200, 200)


def main() -> None:
    """Pick the first caption of the test split whose own image is among the five answers, but not the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--font", default="/usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
    given = parser.parse_args()

    split = load_split(given.data, "test")
    model = tangka_match.load(given.checkpoint)
    images, texts = model.encode_split(split)
    answers = first_answers(score_matrix(model.matcher, images, texts).T, 5).numpy()
    own = np.asarray(split.caption_to_image)[:, None]
    places = np.where((answers == own).any(1), (answers == own).argmax(1), -1)
    query = int(np.flatnonzero(places > 0)[0])

    picture = Image.new("RGB", (5 * SIZE + 6 * GAP, HEAD + SIZE + 2 * GAP), "white")
    draw = ImageDraw.Draw(picture)
    text = "\n".join(textwrap.wrap(split.captions[query], 42)[:2])
    draw.multiline_text((GAP, GAP), text, font=ImageFont.truetype(given.font, 22), fill="black", spacing=8)
    for place, image in enumerate(answers[query]):
        left, top = GAP + place * (SIZE + GAP), HEAD + GAP
        thumbnail = find_thumbnail(given.data, split.image_ids[image])
        assert thumbnail is not None, f"{given.data}: no thumbnail of {split.image_ids[image]}"
        picture.paste(Image.open(thumbnail).convert("RGB").resize((SIZE, SIZE)), (left, top))
        right = image == split.caption_to_image[query]
        box = (left - 4, top - 4, left + SIZE + 3, top + SIZE + 3)
        draw.rectangle(box, outline=GREEN if right else GREY, width=4 if right else 1)
    picture.quantize(96).save(given.out, optimize=True)


if __name__ == "__main__":
    main()

import json
from pathlib import Path

import pytest

from tangka_match.data.caption_checks import check_captions
from tangka_match.errors import DataFormatError

TEXTS = ["一个女孩在画画", "两只狗在跑", "A dog.jpg on a screen", "3 个人\t坐着"]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([f"{n}_ab.jpg {text}" for n, text in enumerate(TEXTS)], "begin with an image file"),
        ([f"{n}.JPG,{text}" for n, text in enumerate(TEXTS)], "begin with an image file"),
        ([f"img#{n} {text}" for n, text in enumerate(TEXTS)], "begin with an image and the number of a caption"),
        ([f"10{n}.jpg#zhb#{n}\t{text}" for n, text in enumerate(TEXTS)], "begin with an image and the number"),
        ([f"COCO_{n}\t{text}" for n, text in enumerate(TEXTS)], "begin with a key and a tab"),
        ([json.dumps({"image": n, "text": text}) for n, text in enumerate(TEXTS)], "are JSON"),
    ],
)
def test_other_formats_are_refused_with_the_way_to_read_them(lines, what):
    with pytest.raises(DataFormatError, match=rf"train_caps.txt: the lines {what}.*tangka_match.prepare features="):
        check_captions(lines, Path("train_caps.txt"))


def test_captions_pass_even_if_single_lines_look_otherwise():
    check_captions(TEXTS, Path("a"))
    check_captions(["C#3 和弦", "一只狗"], Path("a"))
    check_captions(["{一}"], Path("a"))

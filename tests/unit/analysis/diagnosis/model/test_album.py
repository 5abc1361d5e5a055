import base64
import io
import re
from xml.etree.ElementTree import fromstring

import numpy as np
from PIL import Image

from tangka_match.analysis.diagnosis.model.album import MOST, Album


def test_a_picture_stands_in_the_page_once(small_set):
    album = Album(small_set)
    drawn = album.draw(3) + album.draw(3, '<rect width="5"/>') + album.draw(4)
    assert drawn.count('href="#image-3"') == 2
    symbols = album.symbols()
    assert symbols.count("data:image/jpeg") == 2
    fromstring(symbols)  # noqa: S314 - our own
    data = re.search(r"base64,([^\"]+)", symbols)[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape[0] <= MOST[1]
    assert picture.shape[1] == 140, "200 x 300 becomes 140 x 210"
    assert abs(int(picture.mean()) - 60) <= 1, "the colour of image 3"


def test_an_image_without_a_picture_is_a_blank_sheet(small_set):
    album = Album(small_set)
    assert not album.has(11)
    assert 'class="sheet"' in album.draw(11)
    assert album.symbols() == ""


def test_a_file_that_is_no_picture_counts_as_none(small_set, tmp_path):
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "dev-0000.png").write_bytes(b"not a picture")
    album = Album(small_set)
    album._root = tmp_path
    assert not album.has(0)

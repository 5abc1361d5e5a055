import base64
import io
import re
from xml.etree.ElementTree import fromstring

import numpy as np
import torch
from PIL import Image

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model.attention import Example, WordAttention
from tangka_match.analysis.diagnosis.model.drawing import (
    MAX_SIZE,
    Album,
    draw_attention,
    draw_hubs,
    draw_slices,
    draw_worst,
)
from tangka_match.analysis.diagnosis.model.failures import Slice, worst_queries
from tangka_match.analysis.diagnosis.model.hubs import count_hubs


def test_thumbnail_is_embedded_once(small_set):
    album = Album(small_set)
    drawn = album.draw(3) + album.draw(3, '<rect width="5"/>') + album.draw(4)
    assert drawn.count('href="#image-3"') == 2
    symbols = album.symbols()
    assert symbols.count("data:image/jpeg") == 2
    fromstring(symbols)  # noqa: S314 - our own
    data = re.search(r"base64,([^\"]+)", symbols)[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape[0] <= MAX_SIZE[1]
    assert picture.shape[1] == 140, "200 x 300 becomes 140 x 210"
    assert abs(int(picture.mean()) - 60) <= 1, "the colour of image 3"


def test_image_without_thumbnail_is_a_placeholder(small_set):
    album = Album(small_set)
    assert not album.has(11)
    assert 'class="sheet"' in album.draw(11)
    assert album.symbols() == ""


def test_unreadable_thumbnail_is_a_placeholder(small_set, tmp_path):
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "dev-0000.png").write_bytes(b"not a picture")
    album = Album(small_set)
    album._root = tmp_path
    assert not album.has(0)


def well_formed(html):
    fromstring(f"<div>{html}</div>")  # noqa: S314 - our own
    return html


def test_worst_queries_show_correct_answer_and_escape_text():
    scored = make_scored(1 - torch.eye(9), captions=["<b>绿度母</b>", *(f"第{n}句" for n in range(8))])
    html = well_formed(draw_worst(scored, Album(scored.split), "t2i", worst_queries(scored, "t2i")))
    assert "&lt;b&gt;绿度母&lt;/b&gt;" in html
    assert "<summary>4 more</summary>" in html
    assert html.count("correct, rank 9") == 9
    assert "image-0" in html


def test_nothing_is_drawn_without_failures():
    scored = make_scored(torch.eye(9))
    assert draw_worst(scored, Album(scored.split), "t2i", []) == draw_slices("x", []) == ""


def test_hubs_show_their_occurrences():
    scores = torch.eye(6)
    scores[2] = 2.0
    scored = make_scored(scores)
    html = well_formed(draw_hubs(scored, Album(scored.split), count_hubs(scored)))
    assert re.search(r"第2句</q><small>image-2</small><b>6 × first</b>", html)


def test_list_of_hubs_is_empty_for_a_perfect_model():
    scored = make_scored(torch.eye(6))
    html = well_formed(draw_hubs(scored, Album(scored.split), count_hubs(scored)))
    assert "× first" not in html
    assert "No hubs: no image is ranked first by more than 1 caption" in html


def test_bar_length_is_recall():
    html = well_formed(draw_slices("By length", [Slice("3 to <5> words", 40, 25.0, 50.0, 0.01, 40)]))
    assert 'class="fill" width="50.0"' in html
    assert 'class="mark" x="99.0"' in html
    assert "3 to &lt;5&gt; words" in html


def test_boxes_match_regions(small_set):
    """The thumbnail is 140 x 210; the region with the largest weight is drawn last, at full opacity."""
    scored = make_scored(torch.eye(12))
    boxes = np.zeros((12, 3, 4), np.float32)
    boxes[0] = [[0, 0, 0.5, 0.5], [0.5, 0.2, 1, 1], [0, 0, 1, 1]]
    example = Example(0, 0, "own image, rank 1", (WordAttention("龙", (0.25, 0.75, 0.0)),))
    html = well_formed(draw_attention(scored, Album(small_set), boxes, [example]))
    drawn = re.findall(
        r'class="look" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" opacity="([\d.]+)"', html
    )
    assert [tuple(map(float, box)) for box in drawn] == [(0, 0, 70, 105, 0.33), (70, 42, 70, 168, 1)]
    assert "max. weight 75 %" in html

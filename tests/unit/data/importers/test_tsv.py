import numpy as np
import pytest

from helpers.foreign_files import make_boxes, make_regions, write_bottom_up
from tangka_match.data.importers.tsv import LXMERT_FIELDS, fields_of, open_tsv
from tangka_match.errors import DataFormatError

COUNTS = (10, 36, 100)
IDS = ("1000268201_693b08cb0e", "72", "COCO_val2014_000000391895")


@pytest.fixture
def regions():
    return make_regions(COUNTS)


@pytest.mark.parametrize("header", [False, True])
def test_features_and_boxes_are_read_back(tmp_path, regions, header):
    source = open_tsv(write_bottom_up(tmp_path / "a.tsv", IDS, regions, make_boxes(COUNTS), header=header))
    assert (list(source.ids), source.counts.tolist(), source.dim) == (list(IDS), list(COUNTS), 4)
    first, last = source.read(np.array([0, 2]))
    assert (first.image, last.image) == (0, 2)
    np.testing.assert_array_equal(last.regions, regions[2])
    # A box of 40 × 20 pixels in an image of 200 × 100; box 10 and later ones exceed the image and are clipped.
    np.testing.assert_allclose(first.boxes[1], [0, 0, 0.2, 0.2], atol=1e-6)
    assert last.boxes[99].tolist() == [0, 0, 1, 1]


def test_bytes_written_as_text_by_python_3_are_read(tmp_path, regions):
    path = write_bottom_up(tmp_path / "a.tsv", IDS, regions, make_boxes(COUNTS))
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    quoted = ["\t".join([*line[:4], f"b'{line[4]}'", f"b'{line[5]}'"]) for line in lines]
    path.write_text("\n".join(quoted) + "\n", "utf-8")
    (found,) = open_tsv(path).read(np.array([1]))
    np.testing.assert_array_equal(found.regions, regions[1])


def test_fields_of_lxmert_are_known_without_a_header(tmp_path, regions):
    path = write_bottom_up(tmp_path / "a.tsv", IDS, regions, make_boxes(COUNTS))
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    lxmert = [[line[0], line[2], line[1], "AA==", "AA==", "AA==", "AA==", *line[3:]] for line in lines]
    assert {len(line) for line in lxmert} == {len(LXMERT_FIELDS)}
    path.write_text("".join("\t".join(line) + "\n" for line in lxmert), "utf-8")
    (found,) = open_tsv(path).read(np.array([2]))
    np.testing.assert_array_equal(found.regions, regions[2])
    np.testing.assert_allclose(found.boxes[1], [0, 0, 0.2, 0.2], atol=1e-6)


def test_image_without_boxes_has_no_regions(tmp_path, regions):
    source = open_tsv(write_bottom_up(tmp_path / "a.tsv", IDS[:2], [regions[0], regions[0][:0]], make_boxes((10, 0))))
    assert source.counts.tolist() == [10, 0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40] + "\n", "line 3: image 'COCO_val2014_000000391895' has num_boxes=100 and"),
        (lambda text: text.replace("\t36\t", "\t35\t"), "line 2: image '72' has num_boxes=35 and 576 bytes"),
        (lambda text: text.replace("\t36\t", "\t"), "line 2 has 5 fields, expected 6"),
        (lambda text: text.replace("\t36\t", "\tmany\t"), "line 2: image id or num_boxes cannot be read"),
    ],
)
def test_damaged_line_is_named(tmp_path, regions, damage, message):
    path = write_bottom_up(tmp_path / "a.tsv", IDS, regions, make_boxes(COUNTS))
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(DataFormatError, match=message):
        open_tsv(path)


def test_other_dimensions_are_refused(tmp_path, regions):
    path = write_bottom_up(tmp_path / "a.tsv", IDS[:2], [regions[0], make_regions([3], dim=5)[0]], make_boxes((10, 3)))
    with pytest.raises(DataFormatError, match="image '72' has 5 dimensions, others 4"):
        open_tsv(path)


def test_table_of_captions_is_not_taken_for_features():
    assert fields_of("a\tb\tc\t一\te\tf".encode()) is None

import io

import numpy as np
import pytest
from PIL import Image

from tangka_match.retrieval.picture_files import open_picture


@pytest.fixture(scope="module")
def photograph():
    """Load a grey photograph, (512, 512) uint8."""
    return pytest.importorskip("skimage.data").camera()


def reopened(picture, kind="TIFF", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return np.asarray(open_picture(content))


def test_exif_orientation_is_applied(tmp_path):
    picture, exif = Image.new("RGB", (40, 20), "black"), Image.Exif()
    picture.paste("red", (0, 0, 20, 20))
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    picture.save(tmp_path / "phone.png", exif=exif)
    opened = open_picture(tmp_path / "phone.png")
    assert opened.size == (20, 40)
    assert (opened.getpixel((10, 5)), opened.getpixel((10, 35))) == ((255, 0, 0), (0, 0, 0))


def test_transparent_areas_become_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "cut_out.png")
    assert open_picture(tmp_path / "cut_out.png").getpixel((1, 1)) == (255, 255, 255)


def test_transparent_palette_entries_become_white():
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    picture.putpixel((0, 0), 0)
    found = reopened(picture, "PNG", transparency=0)
    assert (found[0, 0].tolist(), found[1, 1].tolist()) == ([255, 255, 255], [200, 100, 50])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_rescaled(photograph, kind):
    deep = Image.fromarray(photograph.astype(np.uint16) * 257)
    np.testing.assert_array_equal(reopened(deep, kind)[:, :, 1], photograph)


@pytest.mark.parametrize(
    "values",
    [
        lambda grey: grey.astype(np.float32) / 255,
        lambda grey: grey.astype(np.float32),
        lambda grey: grey.astype(np.float32) * 257,
        lambda grey: grey.astype(np.int32) * 257,
        lambda grey: grey.astype(np.float32) * 10 - 600,  # from the minimum, 0, to the maximum, 255
    ],
)
def test_floats_and_long_integers_are_rescaled(photograph, values):
    found = reopened(Image.fromarray(values(photograph)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, :, 0], photograph)


def test_constant_negative_floats_are_black():
    assert reopened(Image.fromarray(np.full((2, 2), -3, np.float32))).max() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_without_a_value_are_a_fault(value):
    with pytest.raises(ValueError, match="holds NaN or Inf"):
        reopened(Image.fromarray(np.array([[0, value]], np.float32)))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_printing_colours_are_converted(kind):
    found = reopened(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
    np.testing.assert_allclose(found[4, 4].astype(int), [255, 0, 0], atol=3)

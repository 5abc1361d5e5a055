from PIL import Image

from tangka_match.retrieval.extraction import open_picture


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

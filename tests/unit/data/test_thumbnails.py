import pytest

from tangka_match.data.thumbnails import find_thumbnail


@pytest.fixture
def root(tmp_path):
    (tmp_path / "thumbnails").mkdir()
    for name in ("a.png", "唐卡-1.jpg", "b.JPG", "c.txt"):
        (tmp_path / "thumbnails" / name).touch()
    (tmp_path / "secret.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("image_id", "name"),
    [("a", "a.png"), ("a.png", "a.png"), ("唐卡-1", "唐卡-1.jpg"), ("b.JPG", "b.JPG"), ("c.txt", None), ("d", None)],
)
def test_a_picture_is_found_by_its_images_id(root, image_id, name):
    assert find_thumbnail(root, image_id) == (None if name is None else root / "thumbnails" / name)


@pytest.mark.parametrize("image_id", ["../secret", "/etc/passwd", "..", "", "x/../../secret"])
def test_no_id_leads_out_of_the_folder(root, image_id):
    assert find_thumbnail(root, image_id) is None


def test_a_set_without_pictures_has_none(tmp_path):
    assert find_thumbnail(tmp_path, "a") is None


def test_an_id_too_long_for_a_file_has_no_picture(root):
    assert find_thumbnail(root, "唐卡" * 50) is None

import pytest
from PIL import Image

from tangka_match.serving.pictures import Pictures


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "data" / "thumbnails" / "sub").mkdir(parents=True)
    for path in ("secret.png", "data/secret.png", "data/thumbnails/sub/deep.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / path)
    (tmp_path / "data" / "thumbnails" / "link.png").symlink_to(tmp_path / "secret.png")
    return Pictures(tmp_path / "data")


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "../secret.png",
        "../../secret.png",
        "sub/deep",
        "link",
        "",
        ".",
        "..",
        "a\0b",
        "x" * 5000,
        "/etc/passwd",
    ],
)
def test_nothing_outside_the_folder_is_found(pictures, name):
    assert pictures.find(name) is None


@pytest.mark.parametrize("name", ["绿度母 #1", "a?b&c=d", "50%", "<img>", "..a", "a'b\"c"])
def test_strange_names_are_found(pictures, name):
    Image.new("RGB", (4, 4)).save(pictures.folder / f"{name}.jpg")
    assert pictures.find(name) == pictures.folder / f"{name}.jpg"
    assert pictures.has_any((name,))


def test_missing_folder_has_no_pictures(tmp_path):
    assert not Pictures(tmp_path).has_any(("a",))

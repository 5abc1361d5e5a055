import numpy as np
import pytest

from helpers.precomp import write_precomp
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.retrieval.evaluation_files import Query, ranks_by_query
from tangka_match.retrieval.given_scores import Pairing, read_scores

IMAGES, K = 20, 3


def scores(images=IMAGES, k=K, seed=0):
    """Return scores in [0, 1) with 0.5 added to the correct pairs."""
    return np.random.default_rng(seed).random((images, images * k)) + 0.5 * np.repeat(np.eye(images), k, axis=1)


@pytest.fixture
def read(tmp_path):
    def save_and_read(array, captions_per_image=K, ids=None):
        np.save(tmp_path / "sims.npy", array)
        path = None
        if ids is not None:
            path = tmp_path / "ids.txt"
            path.write_text("\n".join(ids), "utf-8")
        return read_scores(tmp_path / "sims.npy", Pairing(captions_per_image, path))

    return save_and_read


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8"])
def test_captions_of_an_image_are_consecutive(read, dtype):
    found = read(scores().astype(dtype))
    assert found.caption_to_image.tolist() == np.repeat(np.arange(IMAGES), K).tolist()
    assert found.image_ids[:2] == ("0", "1")
    np.testing.assert_array_equal(found.similarity.numpy(), scores().astype(dtype).astype("f8"))


def test_ids_say_the_pairs(read):
    ids = ["b", "b", "a", "c", "a", "c"]
    values = np.random.default_rng(0).random((3, 6)) * 0.1 + np.array([[name == row for name in ids] for row in "bac"])
    found = read(values, None, ids)
    assert (found.image_ids, found.caption_to_image.tolist()) == (("b", "a", "c"), [0, 0, 1, 2, 1, 2])
    ranks = ranks_by_query(found.similarity, found)
    assert ranks[Query("i2t", "a", "a")] == ranks[Query("t2i", "4", "a")] == 1


def test_ids_of_images_name_consecutive_captions(read):
    assert read(scores(), K, [f"im{n}" for n in range(IMAGES)]).image_ids[3] == "im3"
    assert read(scores(), K, [f"im{n // K}" for n in range(IMAGES * K)]).image_ids[3] == "im3"


def test_pairs_of_a_split(tmp_path):
    write_precomp(tmp_path, "test", images=4, captions_per_image=[1, 3, 2, 1], ids="caption")
    split = load_split(tmp_path, "test")
    np.save(tmp_path / "s.npy", np.eye(4)[:, split.caption_to_image])
    assert read_scores(tmp_path / "s.npy", split).image_ids == split.image_ids
    np.save(tmp_path / "s.npy", np.eye(4))
    with pytest.raises(DataFormatError, match=r"shape \(4, 4\); .*test_caps.txt has 7 captions"):
        read_scores(tmp_path / "s.npy", split)


def with_nan(array):
    array[3, 7] = np.nan
    return array


@pytest.mark.parametrize(
    ("array", "k", "message"),
    [
        (
            scores().T,
            K,
            r"shape \(60, 20\) does not fit captions_per_image=3; .* looks transposed: np.save\(path, array.T\)",
        ),
        (np.repeat(scores(), K, axis=0), K, r"images look repeated per caption: np.save\(path, array\[::3\]\)"),
        (-scores(), K, "lower than .* of the wrong ones. These look like distances.*-array"),
        (with_nan(scores()), K, "1 value NaN or infinite, the first in row 3, column 7"),
        (scores(), 5, r"shape \(20, 60\) does not fit captions_per_image=5; .*correct captions_per_image"),
        (scores()[None], K, r"shape \(1, 20, 60\).*expected numbers \(images, captions\)"),
    ],
)
def test_usual_mistakes_are_named(read, array, k, message):
    with pytest.raises(DataFormatError, match=message):
        read(array, k)


def test_transposed_matrix_is_noticed_by_its_ids(read):
    ids = [str(n // K) for n in range(IMAGES * K)]
    with pytest.raises(
        DataFormatError, match=r"60 ids, one per row. Are rows captions\? Then save the matrix as array.T"
    ):
        read(scores().T, None, ids)


def test_model_at_chance_is_not_taken_for_distances(read):
    for seed in range(20):
        read(np.random.default_rng(seed).random((IMAGES, IMAGES * K)))


def test_missing_pairs_and_files(read, tmp_path):
    with pytest.raises(ConfigError, match="which caption belongs to which image"):
        read(scores(), None)
    with pytest.raises(ConfigError, match="no such file"):
        read_scores(tmp_path / "nothing.npy", Pairing(1, None))

import pytest

from tangka_match.demo import DEFAULT_COMPLETENESS, DEFAULT_DUPLICATE_SHARE, make_captions, make_scenes


@pytest.fixture(scope="session")
def scenes():
    return make_scenes(0, "val", 363, DEFAULT_DUPLICATE_SHARE)


@pytest.fixture(scope="session")
def captions(scenes):
    return make_captions(scenes, 0, DEFAULT_COMPLETENESS)

import pytest

from tangka_match.errors import ConfigError
from tangka_match.hub import source
from tangka_match.hub.source import read

pytest.importorskip("transformers")


@pytest.fixture
def requests(monkeypatch):
    """Simulate a hub that provides only ``there``, and return the requested URLs."""
    names = []

    def metadata(url):
        names.append(url)
        if "/there/" not in url:
            raise OSError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", metadata)
    source._why_out_of_reach.cache_clear()
    yield names
    source._why_out_of_reach.cache_clear()


def reader(name, *, local_files_only, **options):
    """Read a model like ``from_pretrained``, with a cache that holds only ``kept``."""
    if local_files_only and name != "kept":
        raise OSError("nothing in the cache")
    return name, local_files_only


def test_unreachable_hub_is_requested_once(requests):
    for what in ("config.json", "vocab.txt"):
        with pytest.raises(
            ConfigError,
            match=rf"'gone' is no folder here, and {what} of that name cannot be read .*\(Name or service not known; "
            r"nor does the cache of earlier downloads hold it\)\. On a machine with internet: hf download gone",
        ):
            read("gone", what, reader)
    assert requests == ["https://huggingface.co/gone/resolve/main/config.json"]


def test_cached_model_is_read_without_the_hub(requests):
    assert read("kept", "config.json", reader) == ("kept", True)


def test_model_is_downloaded_from_the_hub(requests):
    assert read("there", "config.json", reader) == ("there", False)


def test_folder_is_read_without_requests_to_the_hub(requests, tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json of this model folder is missing or damaged"):
        read(str(tmp_path), "config.json", reader)
    assert requests == []

import pytest

from tangka_match.errors import ConfigError
from tangka_match.hub import source
from tangka_match.hub.source import read

pytest.importorskip("transformers")


@pytest.fixture
def asked(monkeypatch):
    """The names that the hub was asked for; it gives nothing but ``there``."""
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
    """A ``from_pretrained`` of somebody who has downloaded ``kept`` and nothing else."""
    if local_files_only and name != "kept":
        raise OSError("nothing in the cache")
    return name, local_files_only


def test_out_of_reach_is_said_at_once_and_asked_once(asked):
    for what in ("config.json", "vocab.txt"):
        with pytest.raises(
            ConfigError,
            match=rf"'gone' is no folder here, and {what} of that name cannot be read .*\(Name or service not known; "
            r"nor does the cache of earlier downloads hold it\)\. On a machine with internet: hf download gone",
        ):
            read("gone", what, reader)
    assert asked == ["https://huggingface.co/gone/resolve/main/config.json"]


def test_what_was_downloaded_before_is_read_without_the_hub(asked):
    assert read("kept", "config.json", reader) == ("kept", True)


def test_what_the_hub_has_is_downloaded(asked):
    assert read("there", "config.json", reader) == ("there", False)


def test_the_hub_is_not_asked_for_a_folder(asked, tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json of this model folder is missing or damaged"):
        read(str(tmp_path), "config.json", reader)
    assert asked == []

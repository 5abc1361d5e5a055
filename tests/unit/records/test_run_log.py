import logging
import warnings

import pytest

from tangka_match.records.run_log import log_to, quiet_libraries

logger = logging.getLogger("tangka_match.training.runner")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.log"


def levels():
    project, lightning = logging.getLogger("tangka_match"), logging.getLogger("pytorch_lightning")
    return project.level, project.propagate, list(project.handlers), lightning.level


def test_messages_are_in_the_file_with_their_level(path):
    with log_to(path):
        logger.info("epoch %d", 3)
        logger.warning("唐卡 [bold]")
    lines = path.read_text("utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO epoch 3", "WARNING 唐卡 [bold]"]


def test_messages_are_on_the_terminal(path, capsys):
    with log_to(path):
        logger.info("epoch 3 [not markup]")
    assert "epoch 3 [not markup]" in capsys.readouterr().out


def test_debug_messages_and_other_libraries_are_left_out(path):
    with log_to(path):
        logging.getLogger("another_library").warning("not ours")
        logger.debug("debug")
    assert path.read_text("utf-8") == ""


def test_resumed_run_appends_to_its_log(path):
    for message in ("first", "second"):
        with log_to(path):
            logger.info(message)
    assert [line.split()[-1] for line in path.read_text("utf-8").splitlines()] == ["first", "second"]


def test_nothing_is_logged_after_the_block(path):
    with log_to(path):
        pass
    logger.error("too late")
    assert path.read_text("utf-8") == ""


def test_logging_is_restored_after_an_error(path, caplog):
    for name in ("tangka_match", "pytorch_lightning"):
        caplog.set_level(logging.DEBUG, name)  # the block changes it, and caplog restores it
    before = levels()
    with pytest.raises(KeyError), quiet_libraries(), log_to(path):
        assert levels() != before
        raise KeyError
    assert levels() == before


def test_only_listed_warnings_are_silenced():
    silenced = (
        "`isinstance(treespec, LeafSpec)` is deprecated",
        "You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable. "
        "This can cause unreliable results if further training is done.",
    )
    shown = ["something of ours", "You're resuming from a checkpoint that ended before the epoch ended."]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_libraries():
            for message in (*silenced, *shown):
                warnings.warn(message, UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in seen] == shown

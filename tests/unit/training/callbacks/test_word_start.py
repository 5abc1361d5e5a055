import pytest
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.errors import ConfigError
from tangka_match.models import DualEncoder
from tangka_match.training.callbacks import WordStart


@pytest.fixture
def data(tmp_path):
    data = small_data(tmp_path)
    data.word_vectors_path = str(tmp_path / "vectors.txt")
    (tmp_path / "vectors.txt").write_text("莲花 1 2 3\n", "utf-8")
    data.setup("fit")
    return data


def dual_encoder(data):
    sizes = {"vocab_size": len(data.vocabulary), "feature_dim": data.feature_dim}
    return DualEncoder(**sizes, embed_dim=4, word_dim=3, character_dim=2)


def test_a_run_begins_with_the_words(data):
    model = dual_encoder(data)
    WordStart(data, resumed=False).setup(quiet_trainer(max_epochs=1), small_module(model), "fit")
    (lotus,) = data.vocabulary.encode(["莲花"])[1:-1]
    assert model.word_input.word_vectors.weight[lotus].tolist() == [1, 2, 3]
    assert model.word_input.characters[lotus].count_nonzero() == 2


def test_a_resumed_run_keeps_what_its_checkpoint_has(data):
    model = dual_encoder(data)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    WordStart(data, resumed=True).setup(quiet_trainer(max_epochs=1), small_module(model), "fit")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_vectors_for_a_model_that_takes_none(data):
    with pytest.raises(ConfigError, match=r"PooledMatcher takes no word vectors: .* model=dual_encoder"):
        WordStart(data, resumed=False).setup(quiet_trainer(max_epochs=1), small_module(), "fit")

import pytest
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.errors import ConfigError
from tangka_match.losses import InfoNCELoss
from tangka_match.models import CCA, DualEncoder
from tangka_match.training.callbacks import ClosedFormStart, WordStart


def module_for(data):
    sizes = {"vocab_size": len(data.vocabulary), "feature_dim": data.feature_dim}
    # A loss that always has a gradient, however well the closed form fits.
    return small_module(CCA(**sizes, embed_dim=4, codebook_size=5, num_hashes=16, rank=8), InfoNCELoss())


@pytest.fixture
def data(tmp_path):
    data = small_data(tmp_path)
    data.setup("fit")
    return data


def test_closed_form_fit_precedes_the_first_step(data):
    module = module_for(data)
    start = ClosedFormStart(data, resumed=False)
    seen = []
    module.on_fit_start = lambda: seen.append(module.matcher.image_projection.detach().clone())
    quiet_trainer(max_epochs=1, callbacks=[start]).fit(module, datamodule=data)
    twin = module_for(data)
    twin.matcher.fit(start._images, data.training_captions())
    assert torch.equal(seen[0], twin.matcher.image_projection)
    assert not torch.equal(seen[0], module.matcher.image_projection)  # and then it trains


def test_resumed_run_keeps_the_weights_of_its_checkpoint(data):
    module = module_for(data)
    before = module.matcher.image_projection.detach().clone()
    ClosedFormStart(data, resumed=True).setup(quiet_trainer(max_epochs=1), module, "fit")
    assert torch.equal(module.matcher.image_projection, before)


def test_other_matchers_are_not_changed(data):
    module = small_module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    ClosedFormStart(data, resumed=False).setup(quiet_trainer(max_epochs=1), module, "fit")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.fixture
def data_word_start(tmp_path):
    data_word_start = small_data(tmp_path)
    data_word_start.word_vectors_path = str(tmp_path / "vectors.txt")
    (tmp_path / "vectors.txt").write_text("莲花 1 2 3\n", "utf-8")
    data_word_start.setup("fit")
    return data_word_start


def dual_encoder(data_word_start):
    sizes = {"vocab_size": len(data_word_start.vocabulary), "feature_dim": data_word_start.feature_dim}
    return DualEncoder(**sizes, embed_dim=4, word_dim=3, character_dim=2)


def test_words_are_passed_to_the_matcher(data_word_start):
    model = dual_encoder(data_word_start)
    WordStart(data_word_start, resumed=False).setup(quiet_trainer(max_epochs=1), small_module(model), "fit")
    (lotus,) = data_word_start.vocabulary.encode(["莲花"])[1:-1]
    assert model.word_input.word_vectors.weight[lotus].tolist() == [1, 2, 3]
    assert model.word_input.characters[lotus].count_nonzero() == 2


def test_resumed_run_keeps_its_words(data_word_start):
    model = dual_encoder(data_word_start)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    WordStart(data_word_start, resumed=True).setup(quiet_trainer(max_epochs=1), small_module(model), "fit")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_vectors_for_a_model_without_word_vectors_are_refused(data_word_start):
    with pytest.raises(ConfigError, match=r"PooledMatcher takes no word vectors: .* model=dual_encoder"):
        WordStart(data_word_start, resumed=False).setup(quiet_trainer(max_epochs=1), small_module(), "fit")

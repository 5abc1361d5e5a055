import torch

from tangka_match.training.augmentation.synonyms import SynonymSwap


def test_only_words_with_synonyms_are_replaced_each_as_often():
    torch.manual_seed(0)
    ids = torch.tensor([[1, 4, 5, 6, 2, 0]]).repeat(2000, 1)
    replaced = SynonymSwap({4: (6, 7), 6: (4, 7), 7: (4, 6)}, 8, 0.5)(ids)
    assert torch.equal(replaced[:, [0, 2, 4, 5]], ids[:, [0, 2, 4, 5]])
    counts = torch.stack([(replaced[:, 1] == word).float().mean() for word in (4, 6, 7)])
    assert torch.allclose(counts, torch.tensor([0.5, 0.25, 0.25]), atol=0.04)


def test_a_vocabulary_without_synonyms_stays_as_it_is():
    ids = torch.tensor([[1, 4, 2]])
    assert torch.equal(SynonymSwap({}, 5, 0.9)(ids), ids)

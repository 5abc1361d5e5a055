"""Small versions of all matchers, with all weights and buffers random, so that no term is zero by chance."""

import torch

from helpers.random_pairs import FEATURE_DIM, NUM_REGIONS, VOCAB_SIZE
from tangka_match.models import CCA, SCAN, SGRAF, VSE, CrossModalTransformer, DualEncoder, DualPath, VSEPlusPlus
from tangka_match.ops import l2_normalise

DATA = {"vocab_size": VOCAB_SIZE, "feature_dim": FEATURE_DIM, "num_regions": NUM_REGIONS}


def _dual_encoder(*, pooling: str, **settings: str | int) -> DualEncoder:
    pooled = {"image_pooling": pooling, "text_pooling": pooling, "pooling_k": 2}
    sizes = {"embed_dim": 8, "word_dim": 5, "num_heads": 2, "num_characters": 20, "dropout": 0.0}
    return DualEncoder(**DATA, **pooled, **sizes, **settings)


SMALL = {
    "sgr": lambda: SGRAF(**DATA, reasoning="sgr", embed_dim=8, word_dim=5, sim_dim=6, dropout=0.0),
    "saf": lambda: SGRAF(**DATA, reasoning="saf", embed_dim=8, word_dim=5, sim_dim=6, dropout=0.0),
    "both": lambda: SGRAF(**DATA, reasoning="both", embed_dim=8, word_dim=5, sim_dim=6, dropout=0.0, global_share=0.5),
    "scan_t2i": lambda: SCAN(**DATA, direction="t2i", smooth=9, embed_dim=8, word_dim=5),
    "scan_i2t": lambda: SCAN(**DATA, direction="i2t", smooth=4, embed_dim=8, word_dim=5),
    "cross_modal_transformer": lambda: CrossModalTransformer(**DATA, embed_dim=8, word_dim=5, num_heads=2, dropout=0.0),
    "vse": lambda: VSE(
        **DATA, embed_dim=8, word_dim=5, lstm_dim=4, head_dim=12, pooling_dim=5, attention_dim=6, dropout=0.0
    ),
    "dual_path": lambda: DualPath(
        **DATA, embed_dim=8, word_dim=5, lstm_dim=4, region_dim=8, num_heads=2, hidden_dim=7, dropout=0.0
    ),
    "gru_gpo": lambda: _dual_encoder(region_encoder="linear", text_encoder="gru", pooling="gpo"),
    "lstm_k_max": lambda: _dual_encoder(region_encoder="linear", text_encoder="lstm", pooling="k_max", text_layers=2),
    "transformers_mean": lambda: _dual_encoder(
        region_encoder="transformer", text_encoder="transformer", pooling="mean"
    ),
    "characters_max": lambda: _dual_encoder(
        region_encoder="transformer", text_encoder="gru", pooling="max", character_dim=3
    ),
    "vse_plus_plus": lambda: VSEPlusPlus(**DATA, embed_dim=8, word_dim=5),
    "cca": lambda: CCA(**DATA, embed_dim=8, codebook_size=7, num_hashes=40),
    "cca_hubs": lambda: CCA(**DATA, embed_dim=6, codebook_size=7, num_hashes=40, hub_weight=0.5),
}


def small_matcher(name: str, seed: int = 0) -> torch.nn.Module:
    model = SMALL[name]()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
        elif key.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
        elif key.endswith("_bank"):
            buffer.copy_(l2_normalise(torch.randn(buffer.shape, generator=generator)))
        elif key.endswith("_is_real"):
            buffer[:50] = True
        elif key.startswith(("statistics.", "bag.", "hubs.")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator))
        elif key.endswith("characters"):
            buffer.copy_(torch.randint(0, 22, buffer.shape, generator=generator))
    return model

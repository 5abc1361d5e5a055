"""SCAN, VSE++ and VSE-infinity written again from their papers and repositories, one pair at a time and without masks.

Each network has the parameter names of the published code, so that its ``state()`` is the ``model`` of a checkpoint.
"""

import argparse
import math

import torch
from torch import Tensor, nn

EMBED, WORD, FEATURES = 8, 5, 10


def unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(dim=-1, keepdim=True).sqrt() + 1e-8)


class Network(nn.Module):
    """Image encoder and text encoder; ``score`` compares one image (R, F) with the word ids of one caption (T,)."""

    options: dict[str, object]

    def __init__(self, vocab_size: int, *, layers: int = 1, both_directions: bool = True) -> None:
        super().__init__()
        self.img_enc = nn.ModuleDict({"fc": nn.Linear(FEATURES, EMBED)})
        rnn = nn.GRU(WORD, EMBED, layers, batch_first=True, bidirectional=both_directions)
        self.txt_enc = nn.ModuleDict({"embed": nn.Embedding(vocab_size, WORD), "rnn": rnn})
        self.layers = layers

    def words(self, ids: Tensor) -> Tensor:
        states = self.txt_enc["rnn"](self.txt_enc["embed"](ids)[None])[0][0]
        if self.txt_enc["rnn"].bidirectional:
            states = (states[:, :EMBED] + states[:, EMBED:]) / 2
        return states

    def checkpoint(self) -> dict[str, object]:
        """Return what ``train.py`` of the published code saves."""
        sizes = {"img_dim": FEATURES, "embed_size": EMBED, "word_dim": WORD, "num_layers": self.layers}
        options = argparse.Namespace(**sizes, no_imgnorm=False, data_name="f30k_precomp", **self.options)
        states = [self.img_enc.state_dict(), self.txt_enc.state_dict()]
        return {"epoch": 3, "model": states, "best_rsum": 412.5, "opt": options, "Eiters": 600}


class PublishedSCAN(Network):
    """kuanghuei/SCAN, ``model.py``: equations 1 to 6 of the paper with a leaky ReLU."""

    def __init__(self, vocab_size: int, direction: str, aggregation: str, layers: int = 1) -> None:
        super().__init__(vocab_size, layers=layers)
        self.options = {
            "cross_attn": direction,
            "bi_gru": True,
            "raw_feature_norm": "clipped_l2norm",
            "precomp_enc_type": "basic",
            "no_txtnorm": False,
            "agg_func": aggregation,
            "lambda_softmax": 9.0 if direction == "t2i" else 4.0,
            "lambda_lse": 6.0,
        }

    def score(self, regions: Tensor, ids: Tensor) -> Tensor:
        queries, parts = unit(self.words(ids)), unit(self.img_enc["fc"](regions))
        if self.options["cross_attn"] == "i2t":
            queries, parts = parts, queries
        attended = nn.functional.leaky_relu(parts @ queries.T, 0.1)
        weights = (unit(attended).T * self.options["lambda_softmax"]).softmax(dim=1)
        relevance = nn.functional.cosine_similarity(queries, weights @ parts, dim=1)
        if self.options["agg_func"] == "Mean":
            return relevance.mean()
        scale = self.options["lambda_lse"]
        return (relevance * scale).exp().sum().log() / scale


class PublishedVSEPlusPlus(Network):
    """fartashf/vsepp, ``model.py``, ``EncoderImagePrecomp``: one vector per image, the last state of a GRU."""

    def __init__(self, vocab_size: int, layers: int = 1) -> None:
        super().__init__(vocab_size, layers=layers, both_directions=False)
        self.options = {"measure": "cosine", "use_abs": False}

    def score(self, regions: Tensor, ids: Tensor) -> Tensor:
        (vector,) = regions
        return unit(self.img_enc["fc"](vector)) @ unit(self.words(ids)[-1])


class PublishedVSEInfinity(Network):
    """woodfrog/vse_infinity, ``lib/encoders.py``, ``EncoderImageAggr`` and the BiGRU: equations 4 to 6 of the paper."""

    def __init__(self, vocab_size: int, layers: int = 1) -> None:
        super().__init__(vocab_size, layers=layers)
        hidden = EMBED // 2
        linears = nn.ModuleList([nn.Linear(FEATURES, hidden), nn.Linear(hidden, EMBED)])
        norms = nn.ModuleList([nn.BatchNorm1d(hidden), nn.BatchNorm1d(EMBED)])
        nn.init.uniform_(norms[0].running_mean)
        nn.init.uniform_(norms[0].running_var, 0.5, 1.5)
        self.img_enc["mlp"] = nn.ModuleDict({"layers": linears, "bns": norms})
        for encoder in (self.img_enc, self.txt_enc):
            rnn = nn.GRU(32, 32, batch_first=True, bidirectional=True)
            encoder["gpool"] = nn.ModuleDict({"gru": rnn, "linear": nn.Linear(32, 1, bias=False)})
        self.options = {"precomp_enc_type": "basic", "no_txtnorm": False}

    def score(self, regions: Tensor, ids: Tensor) -> Tensor:
        linears, norms = self.img_enc["mlp"]["layers"], self.img_enc["mlp"]["bns"]
        embedded = linears[1](norms[0](linears[0](regions)).relu()) + self.img_enc["fc"](regions)
        return unit(pool(embedded, self.img_enc["gpool"])) @ unit(pool(self.words(ids), self.txt_enc["gpool"]))


def pool(vectors: Tensor, gpool: nn.ModuleDict) -> Tensor:
    """Weight the sorted values of each dimension by rank."""
    codes = torch.zeros(len(vectors), 32)
    for rank in range(len(vectors)):
        for j in range(0, 32, 2):
            angle = rank / 10_000 ** (j / 32)
            codes[rank, j], codes[rank, j + 1] = math.sin(angle), math.cos(angle)
    states = gpool["gru"](codes[None])[0][0]
    scores = gpool["linear"]((states[:, :32] + states[:, 32:]) / 2) / 0.1
    return (vectors.sort(dim=0, descending=True).values * scores.softmax(dim=0)).sum(dim=0)


class PublishedVSEInfinityBERT(PublishedVSEInfinity):
    """``EncoderText`` of the branch main: BERT with its pooler, a linear layer, and GPO over all word pieces."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__(1)
        gpool = self.txt_enc["gpool"]
        width = bert.get_input_embeddings().embedding_dim
        self.txt_enc = nn.ModuleDict({"bert": bert, "linear": nn.Linear(width, EMBED), "gpool": gpool})

    def words(self, ids: Tensor) -> Tensor:
        return self.txt_enc["linear"](self.txt_enc["bert"](ids[None], (ids != 0).float()[None])[0][0])

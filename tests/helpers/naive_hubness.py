"""Hubness corrections in numpy, one query at a time, from the formulas of the papers."""

import numpy as np


def qb_norm(scores, bank, beta, top_k):
    hubs = {int(item) for row in bank for item in np.argsort(-row)[:top_k]}
    corrected = []
    for row in scores:
        inverted = [np.exp(beta * s) / np.exp(beta * bank[:, g]).sum() for g, s in enumerate(row)]
        corrected.append(inverted if int(np.argmax(row)) in hubs else row)
    return np.array(corrected)


def nnn(scores, bank, alpha, k):
    biases = [alpha * np.sort(bank[:, item])[-k:].mean() for item in range(bank.shape[1])]
    return scores - np.array(biases)


def inverted_softmax(scores, beta):
    wide = np.exp(beta * scores)
    return wide / wide.sum(axis=0)


def sinkhorn(scores, beta, iterations):
    plan = np.exp(beta * scores)
    for _ in range(iterations):
        plan = plan / plan.sum(axis=1, keepdims=True) / len(plan)
        plan = plan / plan.sum(axis=0) / plan.shape[1]
    return plan


def k_reciprocal(scores, candidates):
    """Return the re-ranked gallery of each query, for scores without ties."""
    orders = []
    for query, row in enumerate(scores):
        order = list(np.argsort(-row))
        places = {item: list(np.argsort(-scores[:, item])).index(query) for item in order[:candidates]}
        orders.append(sorted(order[:candidates], key=places.__getitem__) + order[candidates:])
    return orders

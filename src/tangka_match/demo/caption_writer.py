"""Random captions of scenes: mentioned elements, their words and their order.

An element is mentioned with a probability that depends on its role (``mention_probability``). Only elements of the
scene are mentioned; synonyms, sentence patterns and adjectives are independent of the scene. The mentioned facts are
therefore sufficient for the oracle to compare a caption with a scene.
"""

from bisect import bisect
from dataclasses import dataclass

import numpy as np

from tangka_match.demo.grammar import Element, Scene
from tangka_match.demo.lexicon import CONCEPTS, read_table

PROMINENCE = {
    "figure": 2.4, "body_colour": 1.3, "posture": 1.2, "faces": 0.6, "arms": 0.6, "temper": 0.8, "hand": 1.5,
    "gesture": 0.8, "seat": 1.2, "crown": 0.8, "garment": 0.8, "ornament": 0.7, "halo": 0.6, "aureole": 0.8,
    "border": 0.3, "technique": 0.7, "school": 0.6, "era": 0.5, "mood": 0.7, "above": 1.1, "attendant": 1.3,
    "offering": 1.2, "landscape": 1.2, "sky": 1.1, "plant": 1.1, "animal": 1.2, "building": 1.3,
}  # fmt: skip
"""Relative probability of each role to be mentioned."""

ADJECTIVE_SHARE = 0.3
"""Share of the mentioned elements that get an adjective."""

FEWEST_CHARACTERS, MOST_CHARACTERS = 20, 62
"""Minimum and maximum caption length in characters, without punctuation; about 10 and 37 jieba words."""

_PHRASES = read_table("phrases")
_CERTAIN = 0.97
_SYNONYM_SHARES = (0.50, 0.75, 0.90, 1.0)  # cumulative
_MOUNTS = ("beast", "bird")
_TRODDEN = ("corpse", "elephant_headed")
_SITTING = ("lotus", "ease", "half")
_ORDERS = (
    ("origin", "body", "around", "gifts", "ground", "finish"),
    ("body", "around", "gifts", "ground", "finish", "origin"),
    ("body", "ground", "gifts", "around", "origin", "finish"),
    ("ground", "body", "gifts", "around", "finish", "origin"),
    ("finish", "origin", "body", "around", "ground", "gifts"),
    ("around", "body", "ground", "origin", "gifts", "finish"),
)
_BLOCKS = {
    "origin": ("era", "school", "technique"),
    "around": ("above", "attendant"),
    "gifts": ("offering",),
    "ground": ("landscape", "sky", "plant", "animal", "building"),
    "finish": ("border", "mood"),
}


@dataclass(frozen=True)
class Caption:
    """Caption with the elements it mentions.

    Args:
        text: Chinese sentence.
        mentioned: Mentioned elements, a subset of the scene's elements.
    """

    text: str
    mentioned: tuple[Element, ...]


def mention_probability(scene: Scene, completeness: float) -> dict[Element, float]:
    """Compute the probability of each element to be mentioned, before the caption length is limited.

    The mean over the elements is ``completeness``, except that no probability exceeds 0.97. The family is omitted: it
    is mentioned if and only if the figure is not.
    """
    weights = {element: PROMINENCE[element.role] for element in scene.elements if element.role != "family"}
    scale = completeness * len(weights) / sum(weights.values())
    return {element: min(_CERTAIN, scale * weight) for element, weight in weights.items()}


def write_caption(scene: Scene, completeness: float, rng: np.random.Generator) -> Caption:
    """Write one caption of 8 to 40 words.

    Args:
        scene: Scene to describe.
        completeness: Intended share of mentioned elements, in (0, 1]. The length limit removes elements, so that values
            above about 0.45 make no difference.
        rng: Random stream of the scene for captions.

    Returns:
        Text and mentioned elements.
    """
    probabilities = mention_probability(scene, completeness)
    priority = {element: rng.random() / probability for element, probability in probabilities.items()}
    ranked = sorted(priority, key=lambda element: priority[element])
    chosen = [element for element in ranked if priority[element] < 1.0]
    figure, family = scene.elements[0], scene.elements[1]
    if figure not in chosen:
        chosen.insert(0, family)
    spare = [element for element in ranked if element not in chosen and element is not figure]
    writer = _Writer(scene, rng)
    text = writer.text(chosen)
    while _length(text) < FEWEST_CHARACTERS:
        chosen.append(spare.pop(0))
        text = writer.text(chosen)
    while _length(text) > MOST_CHARACTERS:
        dropped = next(element for element in reversed(chosen) if element not in (figure, family))
        chosen.remove(dropped)
        text = writer.text(chosen)
    return Caption(text, tuple(element for element in scene.elements if element in chosen))


def _length(text: str) -> int:
    return sum(character not in "，。、；" for character in text)


class _Writer:
    """Words of one caption; an element keeps its words if the caption is rewritten with other elements."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self._rng = rng
        self._words = {element: self._term(element) for element in scene.elements}
        self._patterns = {element: float(rng.random()) for element in scene.elements}
        self._order = _ORDERS[int(rng.integers(len(_ORDERS)))]
        self._turn = int(rng.integers(3))  # position of the description of the person
        self._shuffle = {element: float(rng.random()) for element in scene.elements}
        self._stop = "，" if rng.random() < 0.8 else "；"

    def _term(self, element: Element) -> str:
        concept = CONCEPTS[element.concept]
        share = _SYNONYM_SHARES[: len(concept.terms)]
        term = concept.terms[bisect(share, self._rng.random() * share[-1])]
        adjectives = _PHRASES.get(f"adjective {concept.kind}", ())
        if adjectives and self._rng.random() < ADJECTIVE_SHARE:
            term = adjectives[int(self._rng.integers(len(adjectives)))] + term
        return term

    def text(self, chosen: list[Element]) -> str:
        clauses: list[str] = []
        for block in self._order:
            clauses += self._body(chosen) if block == "body" else self._block(block, chosen)
        return self._stop.join(clauses[:-1]) + ("，" if len(clauses) > 1 else "") + clauses[-1] + "。"

    def _pick(self, patterns: list[str], element: Element) -> str:
        return patterns[int(self._patterns[element] * len(patterns))]

    def _say(self, patterns: list[str], *elements: Element) -> str:
        words = [self._words[element] for element in elements]
        joined = "、".join(words[:-1]) + self._pick(_PHRASES["join"], elements[-1]) if len(words) > 1 else ""
        return self._pick(patterns, elements[0]).format(joined + words[-1])

    def _block(self, block: str, chosen: list[Element]) -> list[str]:
        found = [e for e in sorted(chosen, key=lambda e: self._shuffle[e]) if e.role in _BLOCKS[block]]
        if block == "ground":
            return [self._say(_PHRASES["background"], *found[at : at + 3]) for at in range(0, len(found), 3)]
        clauses = []
        for role in sorted({e.role for e in found}, key=_BLOCKS[block].index):
            same = [e for e in found if e.role == role]
            clauses.append(self._say(_PHRASES[role], *same))
        return clauses

    def _body(self, chosen: list[Element]) -> list[str]:
        by_role: dict[str, list[Element]] = {}
        for element in chosen:
            by_role.setdefault(element.role, []).append(element)
        subject = by_role.get("figure") or by_role["family"]
        parts = [self._person(by_role), self._hands(by_role), self._place(by_role), self._dress(by_role)]
        parts.insert(self._turn, parts.pop(0))
        return [self._say(_PHRASES["subject"], subject[0]), *(clause for part in parts for clause in part)]

    def _person(self, by_role: dict[str, list[Element]]) -> list[str]:
        clauses = [self._say(_PHRASES["colour"], *by_role["body_colour"])] if "body_colour" in by_role else []
        counted = [self._words[e] for role in ("faces", "arms") for e in by_role.get(role, ())]
        if counted:
            clauses.append("".join(counted))
        return clauses + [self._words[e] for e in by_role.get("temper", ())]

    def _hands(self, by_role: dict[str, list[Element]]) -> list[str]:
        held = sorted(by_role.get("hand", ()), key=lambda e: e.slot, reverse=True)
        clauses = []
        if len(held) == 2 and self._patterns[held[0]] < 0.4:
            pattern = _PHRASES["both"][int(self._patterns[held[1]] * len(_PHRASES["both"]))]
            clauses.append(pattern.format(self._words[held[0]], self._words[held[1]]))
        else:
            for element in held:
                side = self._pick(_PHRASES["right"] if element.slot == "right_hand" else _PHRASES["left"], element)
                verb = _PHRASES["hold"][int(self._shuffle[element] * len(_PHRASES["hold"]))]
                clauses.append(side + verb + self._words[element])
        for element in by_role.get("gesture", ()):
            mudra = self._pick(_PHRASES["mudra"], element) if self._words[element].endswith("印") else ""
            clauses.append(mudra + self._words[element])
        return clauses

    def _place(self, by_role: dict[str, list[Element]]) -> list[str]:
        posture, seat = by_role.get("posture", []), by_role.get("seat", [])
        if not seat:
            return [self._words[e] for e in posture]
        concept = CONCEPTS[seat[0].concept]
        if posture and CONCEPTS[posture[0].concept].key in _SITTING and concept.key not in _TRODDEN:
            return [f"{self._words[posture[0]]}于{self._words[seat[0]]}上"]
        mounted = _PHRASES["mount"] if concept.shape in _MOUNTS else _PHRASES["seat"]
        return [self._words[e] for e in posture] + [
            self._say(_PHRASES["tread"] if concept.key in _TRODDEN else mounted, *seat)
        ]

    def _dress(self, by_role: dict[str, list[Element]]) -> list[str]:
        clauses = []
        for element in by_role.get("crown", ()):
            hair = CONCEPTS[element.concept].shape in ("knob", "flame")
            clauses.append(self._say(_PHRASES["hair"] if hair else _PHRASES["crown"], element))
        for role in ("garment", "ornament", "halo", "aureole"):
            clauses += [self._say(_PHRASES[role], element) for element in by_role.get(role, ())]
        return clauses

"""Encodings of Chinese text files, told apart by the characters that they would give."""

import codecs

COMMON = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
    "十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表"
    "間關樣條見無這個來時國會說對為學發經裡進後過動種當點機實還開與著兩隻們樓車馬頭紅藍綠黃黑白衣服穿站坐男女狗孩手佛像莲座蓮尊"
)
"""The most frequent characters of Chinese text and of captions, simplified and traditional."""

MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
"""Byte order marks, and the encoding that each of them means."""

CANDIDATES = ("gb18030", "big5", "utf-16-le")
MANY_ZEROS = 0.2
"""Share of zero bytes above which a text is UTF-16."""


_SUPERSETS = {"gbk": "gb18030", "gb2312": "gb18030"}
"""Encodings, by Python's names -> the one among `CANDIDATES` that tells them apart from the others.

Extensions of Big5 (HKSCS, cp950) are not judged: Big5 lacks some of their characters.
"""
MIN_BYTES = 40
"""Shortest text whose encoding is judged: about 20 characters."""


def fitting_encoding(data: bytes, encoding: str) -> str | None:
    """Return the encoding of a text that ``encoding`` decodes to wrong characters; ``None`` if it is right, or unclear.

    Nearly every Big5 text decodes as GB18030 and the reverse, without an error.

    Args:
        data: The text.
        encoding: Encoding that was asked for.

    >>> traditional = "一個男人坐在車上。他們的孩子在跑。這條狗在花園裡。"
    >>> fitting_encoding(traditional.encode("big5"), "gbk"), fitting_encoding(traditional.encode("big5"), "big5")
    ('big5', None)
    """
    name = codecs.lookup(encoding).name
    asked = _SUPERSETS.get(name, name)
    if asked not in CANDIDATES[:2] or len(data) < MIN_BYTES or data.isascii():
        return None
    likely = [name for name in likely_encodings(data) if name in CANDIDATES[:2]]
    return None if asked in likely or not likely else likely[0]


def likely_encodings(data: bytes) -> list[str]:
    """Name the encodings of a Chinese text that is not UTF-8, the most likely first; at least one.

    Args:
        data: The text, or a part of it that does not cut a character.

    >>> likely_encodings("一個男人坐在車上。他們的孩子在跑。".encode("big5"))
    ['big5']
    >>> likely_encodings("一个男人坐在车上。他们的孩子在跑。".encode("gb18030"))
    ['gb18030']
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data.count(0) > MANY_ZEROS * len(data):
        return ["utf-16"]
    scores: dict[str, float] = {}
    for name in CANDIDATES:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        letters = [c for c in text if c.isalpha() and not c.isascii()]
        scores[name] = sum(c in COMMON for c in letters) / max(1, len(letters))
    best = max(scores.values(), default=0.0)
    likely = [name for name, score in scores.items() if best and score >= best / 2]
    return sorted(likely, key=lambda name: -scores[name]) or ["gb18030", "big5"]

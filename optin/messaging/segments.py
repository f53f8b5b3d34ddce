"""How many segments a text is: what a phone is sent, and what a gateway charges for.

3GPP TS 23.038, 6.2.1: an alphabet of 7 bits a sign (GSM-7), whose extension table takes two
places a sign. A text with any other sign is sent in UCS-2, as UTF-16. TS 23.040, 9.2.3.24.1: a
segment has 140 bytes, of which 6 tell where it belongs if there are several.
"""

from dataclasses import dataclass

GSM_7 = frozenset(
    "@\u00a3$\u00a5\u00e8\u00e9\u00f9\u00ec\u00f2\u00c7\n\u00d8\u00f8\r\u00c5\u00e5\u0394_\u03a6\u0393"
    "\u039b\u03a9\u03a0\u03a8\u03a3\u0398\u039e\u00c6\u00e6\u00df\u00c9"
    " !\"#\u00a4%&'()*+,-./0123456789:;<=>?"
    "\u00a1ABCDEFGHIJKLMNOPQRSTUVWXYZ\u00c4\u00d6\u00d1\u00dc\u00a7\u00bf"
    "abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00f1\u00fc\u00e0"
)
EXTENSION = frozenset("\f^{}\\[~]|\u20ac")

ONE = {True: 160, False: 70}
"""Places in a text of one segment, by whether it is in GSM-7."""

EACH = {True: 153, False: 67}
"""Places in each of several segments."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long a text is, in the alphabet that it is sent in."""

    is_gsm_7: bool
    places: int
    segments: int

    @property
    def room(self) -> int:
        """Places that one segment has."""
        return ONE[self.is_gsm_7]


def outside(text: str) -> str:
    """Return the signs of *text* that are not in GSM-7, each once."""
    return "".join(dict.fromkeys(sign for sign in text if sign not in GSM_7 | EXTENSION))


def size(text: str) -> Size:
    """Measure *text*."""
    is_gsm_7 = not outside(text)
    if not is_gsm_7:
        places = [1] * (len(text.encode("utf-16-be")) // 2)
    else:
        places = [2 if sign in EXTENSION else 1 for sign in text]
    if sum(places) <= ONE[is_gsm_7]:
        return Size(is_gsm_7, sum(places), 1)
    return Size(is_gsm_7, sum(places), _packed(places, EACH[is_gsm_7]))


def _packed(places: list[int], room: int) -> int:
    """Count segments of *room* places. None ends within a sign of two."""
    segments, left = 0, 0
    for one in places:
        if one > left:
            segments, left = segments + 1, room
        left -= one
    return segments

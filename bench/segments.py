"""Whether Kannel makes as many segments of a text as are predicted (G-06). Needs Kannel.

Texts of random length, in letters of GSM-7, of its extension table and of other alphabets, go
through Kannel to the test carrier that comes with it.

    python -m bench.segments [--texts N] [--seed N]
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import world  # noqa: F401  # sets Django up, which the kit needs

from optin.messaging.segments import EXTENSION, GSM_7, size
from tests.kit.kannel import Carrier, is_here, kannel_in

_PLAIN = "".join(sorted(GSM_7 - set("\n\r")))
_TWO = "".join(sorted(EXTENSION - {"\f"}))
_OTHER = "\u0142\u2019\u4e2d\U0001f511"
LAST = "+61491570156"
LONGEST = 640
PATIENCE = 120  # seconds


def text(dice: random.Random) -> str:
    """A random text: often of a length at which the segments change."""
    edge = dice.choice((70, 134, 201, 160, 306, 459, dice.randrange(1, LONGEST)))
    signs = dice.choices(_PLAIN, k=max(1, edge + dice.randrange(-2, 3)))
    for some in (_TWO, _OTHER):
        if dice.random() < 0.5:
            for place in dice.choices(range(len(signs)), k=dice.randrange(1, 8)):
                signs[place] = dice.choice(some)
    return "".join(signs)


def arrived(carrier: Carrier) -> Counter[str]:
    """How many segments each number got."""
    lines = carrier.smsc_log.read_text(errors="replace").splitlines()
    return Counter(line.split("<")[1].split()[1] for line in lines if "Got message" in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not is_here():
        parser.error("Kannel is not installed: apt-get install kannel kannel-extras")
    dice = random.Random(options.seed)  # noqa: S311
    bodies = {f"+61485{n:06}": text(dice) for n in range(options.texts)}
    with tempfile.TemporaryDirectory() as folder, kannel_in(Path(folder)) as carrier:
        carrier.start_smsc()
        for to, body in bodies.items():
            carrier.post(to, body)
        carrier.post(LAST, "the last one")
        ends = time.monotonic() + PATIENCE
        while not arrived(carrier)[LAST] and time.monotonic() < ends:
            time.sleep(0.5)
        counted = arrived(carrier)
    wrong = {to: body for to, body in bodies.items() if counted[to] != size(body).segments}
    for to, body in list(wrong.items())[:10]:
        print(f"{size(body)}, but Kannel sent {counted[to]}: {body!r}")
    sizes = Counter((size(body).is_gsm_7, size(body).segments) for body in bodies.values())
    for (is_gsm_7, segments), count in sorted(sizes.items()):
        print(f"{'GSM-7' if is_gsm_7 else 'UCS-2'}: {count} texts of {segments}")
    print(f"{len(bodies)} texts, {len(wrong)} of them in other segments than predicted.")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()

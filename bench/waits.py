"""How right the stated time of a text is: ``tests/delivery/changing.py``, for longer.

Five gateways change their delays for some hours, at several rates. It ends with an error where a
stated median was wrong by 3 seconds, but for the first seconds after a jump. It needs no database.

    python -m bench.waits [--hours N] [--seeds N] [--every SECONDS]
"""

import argparse
import sys

from bench import world  # noqa: F401  (it sets Django up)

from tests.delivery.changing import listen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=20, help="Seconds between two questions.")
    options = parser.parse_args()
    worst = 0.0
    for a_second in (0.2, 0.5, 1.0, 4.0):
        for seed in range(options.seeds):
            said = listen(int(options.hours * 3600), a_second, seed, options.every)
            worst = max(worst, said.error)
            print(f"{a_second} texts a second: {said}", flush=True)
    if worst >= 3:
        sys.exit(f"a median was wrong by {worst:.1f} seconds")


if __name__ == "__main__":
    main()

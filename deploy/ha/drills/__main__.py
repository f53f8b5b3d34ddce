"""Run deploy/ha on this machine, break its parts under load, and print what it cost.

Ends with 1 if a promise of deploy/ha/README.md is broken.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import django

from deploy.ha.drills.cluster import Cluster
from deploy.ha.drills.gateway import Gateway


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("deploy/ha/drill", description=__doc__)
    parser.add_argument("--short", action="store_true", help="Each fault once; about 6 minutes.")
    parser.add_argument("--rounds", type=int, default=3, help="How often each fault happens.")
    parser.add_argument("--only", default="", help="Faults whose name contains this.")
    parser.add_argument("--slack", type=float, default=1.0, help="Factor for the limits of time.")
    parser.add_argument("--folder", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    cluster, gateway = Cluster(options.folder), Gateway()
    try:
        return drill(options, cluster, gateway)
    except RuntimeError:
        print(cluster.ends_of_logs(), flush=True)
        raise


def drill(options: argparse.Namespace, cluster: Cluster, gateway: Gateway) -> int:
    started = time.monotonic()
    cluster.start()
    print(f"All is up after {time.monotonic() - started:.0f} s.", flush=True)
    # Now that there is a database: these import the models.
    os.environ |= {**cluster.worker_env, "LOG_LEVEL": "ERROR"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "twofa_site.settings"
    django.setup()
    from deploy.ha.drills import faults
    from deploy.ha.drills.load import Load

    chosen = [fault for fault in faults.FAULTS if options.only in fault.name]
    rounds = 1 if options.short else options.rounds
    load = Load(gateway, cluster.certificate, seconds=60 + 60 * rounds * len(chosen))
    load.start()
    time.sleep(faults.SETTLES)
    costs = []
    for fault in chosen:
        for turn in range(rounds):
            cost = faults.drill(fault, turn, cluster, load)
            costs.append(cost)
            faults.find_sent_again(costs, gateway)
            print(faults.table([cost]).splitlines()[-1], flush=True)
    load.end()
    faults.find_sent_again(costs, gateway)
    broken = [line for cost in costs for line in cost.broken_promises(options.slack)]
    print(f"\n{faults.table(costs)}\n\n{load.record.summary()}")
    for line in broken:
        print(f"Broken: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

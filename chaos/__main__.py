"""`python -m chaos`: a storm, and what it found; ends with 1 when a bad column is not 0."""

import argparse
import asyncio
import secrets
import signal
import sys

from chaos.storm import storm
from chaos.verdicts import table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of a storm to be repeated; default: a new one")
    parser.add_argument("--seconds", type=float, default=140, help="of faults (default: 140)")
    parser.add_argument("--builds", type=int, default=300)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="what the parts said, in any case")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the parts, too
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    again = (
        f"python -m chaos --seed {seed} --seconds {options.seconds:g} --builds {options.builds} "
        f"--workers {options.workers}"
    )
    print(again, flush=True)
    outcome = asyncio.run(
        storm(
            seed=seed,
            seconds=options.seconds,
            builds=options.builds,
            workers=options.workers,
            keep=options.keep,
        )
    )
    print(table(outcome.columns))
    if outcome.folder:
        print(f"\nThe same storm again: {again}\nWhat the parts said is in {outcome.folder}")
    return 0 if outcome.clean else 1


if __name__ == "__main__":
    sys.exit(main())

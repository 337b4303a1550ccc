"""Measures beside the contrib: `python -m benchmarks [MEASURE ...] [--quick]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from . import report
from .bench import Size, open_bench
from .measures import MEASURES


def main(arguments: list[str] | None = None) -> int:
    """Run the measures that are asked for, print the table, write the results."""
    options = _parse(arguments)
    size: Size = options.size
    began = time.monotonic()
    results = asyncio.run(_measure(options.measures or list(MEASURES), size))
    page = report.write(results, options.output, size)
    from . import plots  # slow to import, and of no use to who asks for help

    plots.draw(results, options.output)
    print(page)
    print(f"Measured in {time.monotonic() - began:.0f} s; written to {options.output}")
    return 0


async def _measure(names: list[str], size: Size) -> list[report.Result]:
    results: list[report.Result] = []
    async with open_bench(size) as bench:
        for name in names:
            print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
            began = time.monotonic()
            results.append(await MEASURES[name](bench))
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return results


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package beside temporalio.contrib.workflow_streams.",
    )
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"which to run: {', '.join(MEASURES)}"
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick",
        action="store_const",
        dest="size",
        const="quick",
        default="full",
        help="smaller sizes, for a first look",
    )
    sizes.add_argument(
        "--tiny",
        action="store_const",
        dest="size",
        const="tiny",
        help="hardly any load, to see whether it runs",
    )
    parser.add_argument(
        "--output", type=Path, default=report.RESULTS, help="folder for table and plots"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.measures if name not in MEASURES]
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)} (there are {', '.join(MEASURES)})")
    return options


if __name__ == "__main__":
    sys.exit(main())

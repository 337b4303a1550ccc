"""Measures beside the contrib: `python -m benchmarks [MEASURE ...] [--quick]`.

`benchmarks/results` holds full runs only; whatever else is measured goes to a folder beside.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import report
from .bench import Size, open_bench
from .children import ChildError
from .measures import MEASURES


def main(arguments: list[str] | None = None) -> int:
    """Run the measures that are asked for, print the table, write the results.

    Returns:
        The exit status: 1 if a measure broke off. Goals that are missed are no error.
    """
    options = _parse(arguments)
    from . import plots  # slow to import, and of no use to who asks for help

    began = time.monotonic()
    results: list[report.Result] = []
    output: Path = options.output or report.PARTIAL
    if not options.output:
        shutil.rmtree(output, ignore_errors=True)

    def keep(result: report.Result) -> None:
        # After each measure: what has been measured is not lost when a later one is stopped.
        results.append(result)
        report.write(results, output, options.size)
        plots.draw([result], output)

    asyncio.run(_measure(options.measures or list(MEASURES), options.size, keep))
    print(report.markdown(results, options.size))
    broken = any(result.broken for result in results)
    said = f"written to {output}"
    if not options.output and _full(results, options.size):
        report.write(results, report.RESULTS, options.size)
        plots.draw(results, report.RESULTS)
        said = f"written to {report.RESULTS}"
    elif not options.output:
        said += f" ({report.RESULTS} keeps the last full run)"
    print(f"Measured in {time.monotonic() - began:.0f} s; {said}")
    return int(broken)


def _full(results: list[report.Result], size: Size) -> bool:
    """Whether these are all measures in full, to be compared with earlier ones."""
    whole = {result.name for result in results if not result.broken}
    return size == "full" and whole == set(MEASURES)


async def _measure(names: list[str], size: Size, keep: Callable[[report.Result], None]) -> None:
    async with open_bench(size) as bench:
        for name in names:
            print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
            began = time.monotonic()
            try:
                result = await MEASURES[name](bench)
            except ChildError as err:
                print(err, file=sys.stderr)
                result = report.broken_off(name, err)
            keep(result)
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


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
        "--output",
        type=Path,
        help="folder for table and plots; default: results/ if all is measured at full size, "
        "results/partial/ otherwise",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.measures if name not in MEASURES]
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)} (there are {', '.join(MEASURES)})")
    return options


if __name__ == "__main__":
    sys.exit(main())

"""Exit statuses: one number for each way to end, the same in every command."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the command's exit status means."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    NOT_FOUND = 3
    NO_CONNECTION = 4
    UNDELIVERED = 5
    FAILED = 10
    CANCELED = 11
    TERMINATED = 12
    TIMED_OUT = 13
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    STOPPED = 143

    @classmethod
    def of_outcome(cls, outcome: str) -> Exit:
        """Return the status for the way in which a stream's workflow ended."""
        return cls.DONE if outcome == "completed" else cls[outcome.upper()]


MEANINGS = {
    Exit.DONE: "done: what was asked for, or the stream completed",
    Exit.FAULT: "any other error",
    Exit.USAGE: "wrong usage",
    Exit.NOT_FOUND: "no such workflow, or it hosts no stream",
    Exit.NO_CONNECTION: "no connection: server, namespace or permission",
    Exit.UNDELIVERED: "some items were not delivered",
    Exit.FAILED: "the stream ended: its workflow failed",
    Exit.CANCELED: "the stream ended: canceled",
    Exit.TERMINATED: "the stream ended: terminated",
    Exit.TIMED_OUT: "the stream ended: timed out",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.OUTPUT_CLOSED: "nobody reads the output any more",
    Exit.STOPPED: "ended by SIGTERM",
}


def epilog(examples: str, *codes: Exit) -> str:
    r"""Return the end of a help page: examples, and the meanings of exit statuses.

    ``\b`` keeps the line breaks of the paragraph that it begins.
    """
    blocks = ["Examples:", "\b\n" + "\n".join(f"  {line}" for line in examples.splitlines())]
    if codes:
        known = (Exit.DONE, Exit.FAULT, Exit.USAGE, *codes)
        lines = [f"  {code.value:>3}  {MEANINGS[code]}" for code in MEANINGS if code in known]
        blocks.append("\b\nExit status:\n" + "\n".join(lines))
    return "\n\n".join(blocks)

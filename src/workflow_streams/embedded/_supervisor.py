"""Runs a command for as long as its parent wants, but no longer than the parent lives.

It is started by its file path, ``_supervisor.py COMMAND [ARG ...]``, so it imports the standard
library only. The parent controls it through standard input: the byte :data:`KILL` kills the command
at once. The end of input, which also comes when the parent dies, lets the command shut down first.
Exit status 0 means that the command is certainly gone.
"""

import os
import select
import signal
import subprocess
import sys

KILL = b"k"
GRACE_SECONDS = 5.0
# Processes that the parent has forked may keep the pipe open after its death, so check whether the
# parent is still there.
PARENT_CHECK_SECONDS = 1.0


def main() -> None:
    """Run the command until it ends or has to be ended."""
    child_ended = _wake_on_child()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        _watch(child, child_ended)
    except KeyboardInterrupt:
        pass
    finally:
        _end(child)


def _wake_on_child() -> int:
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return readable


def _watch(child: "subprocess.Popen[bytes]", child_ended: int) -> None:
    parent = os.getppid()
    wishes = sys.stdin.fileno()
    while child.poll() is None and os.getppid() == parent:
        ready, _, _ = select.select([wishes, child_ended], [], [], PARENT_CHECK_SECONDS)
        if child_ended in ready:
            os.read(child_ended, 64)
        if wishes in ready:
            if os.read(wishes, 1) == KILL:
                child.kill()
            return


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    main()

"""Runs a command until standard input closes, so that the command cannot outlive its parent.

Started by file path, imports the standard library only: `_supervisor.py COMMAND [ARG ...]`.
The first line on standard output is the command's process id; its own output follows.
"""

import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 5


def main() -> int:
    """Run the command; return its exit status."""
    # An interrupt at the terminal reaches the whole group: ending is the parent's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        stdout=sys.stdout,
        start_new_session=True,
        restore_signals=True,
    )
    print(child.pid, file=sys.stderr, flush=True)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        child.terminate()
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())

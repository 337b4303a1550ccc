"""What the processes that tests start do about who started them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

# Processes run as `python -m tests...` need it as their folder, or in PYTHONPATH.
ROOT = Path(__file__).parents[1]


def end_with_the_tests() -> None:
    """Leave when whoever started this process is gone, however it went."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch the tests").start()

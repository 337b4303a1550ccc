"""Uvicorn's command, which ends with the tests, and so does what it starts to serve."""

from __future__ import annotations

import uvicorn

from ...parents import end_with_the_tests

end_with_the_tests()

if __name__ == "__main__":
    uvicorn.main()

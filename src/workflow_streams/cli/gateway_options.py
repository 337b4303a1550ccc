"""Options of ``workflow-streams gateway`` that set the gateway's environment variables.

There is one for each setting. They are listed here, and not read from the settings classes, so that
a help page does not have to load a web server. A test compares the two.
"""

from __future__ import annotations

from .options import Environment

PREFIX = "WORKFLOW_STREAMS_"


def _variable(option: str) -> str:
    return PREFIX + option.removeprefix("--").replace("-", "_").upper()


class _Own(Environment):
    """Options that set variables of the same names."""

    def names(self, option: str, metavar: str, help: str) -> None:
        """Add an option for a text."""
        self.text(option, _variable(option), metavar, help)

    def path(self, option: str, help: str) -> None:
        """Add an option for a file."""
        self.file(option, _variable(option), help)

    def flag(self, option: str, help: str) -> None:
        """Add an option for true, and one for false."""
        self.switch(option, _variable(option), help)

    def count(self, option: str, help: str, metavar: str = "N") -> None:
        """Add an option for a whole number."""
        self.whole(option, _variable(option), metavar, help)

    def size(self, option: str, help: str) -> None:
        """Add an option for a number of bytes."""
        self.whole(option, _variable(option), "BYTES", help)

    def time(self, option: str, help: str) -> None:
        """Add an option for a number of seconds."""
        self.number(option, _variable(option), "SECONDS", help)


# Secrets are given by files or variables only: options are visible to everybody on the machine.
securing = _Own("Security options")
securing.path("--jwt-secret-file", "Secret of bearer tokens.")
securing.path("--jwt-public-key-file", "Public key of bearer tokens.")
securing.path("--jwks-file", "Public keys of bearer tokens (JWKS).")
securing.names("--jwt-audience", "NAME", "What aud must name.")
securing.names("--jwt-issuer", "NAME", "What iss must be.")
securing.names("--jwt-claim", "NAME", "Claim that holds the rules.")
securing.time("--leeway-seconds", "By how much clocks may differ; default 10.")
securing.size("--max-token-bytes", "Longest token; default 8,192.")
securing.path("--url-signing-key-file", "Key of signed URLs.")
securing.time("--signed-url-seconds", "How long one is valid; default 300.")
securing.time("--max-signed-url-seconds", "How long at most; default 3,600.")
securing.names("--allowed-hosts", "NAME,...", "Host names it may be called by.")
securing.names("--cors-origins", "URL,...", "Sites whose pages may use it.")
securing.flag("--cors-credentials", "Let these pages send cookies.")
securing.names("--frame-ancestors", "URL,...", "Sites that may embed it.")
securing.flag("--allow-anonymous", "Serve everybody, without login.")

limiting = _Own("Limits")
limiting.size("--max-url-bytes", "Path and query; default 8,192.")
limiting.size("--max-header-bytes", "All header fields; default 32,768.")
limiting.count("--max-headers", "Header fields; default 100.")
limiting.size("--max-body-bytes", "A body; default 16,777,216.")
limiting.size("--max-total-body-bytes", "All bodies at once; default 33,554,432.")
limiting.size("--max-total-write-bytes", "What bodies become; default 134,217,728.")
limiting.time("--head-seconds", "Time for a request's head; default 10.")
limiting.time("--body-idle-seconds", "Longest pause within a body; default 30.")
limiting.time("--body-seconds", "Time for a whole body; default 300.")
limiting.size("--max-unread-bytes", "Answers not read yet; default 268,435,456.")
limiting.count("--max-catch-ups", "Reads of the past at once; default 8.")
limiting.count("--max-catch-ups-per-client", "The same, of one client; default 4.")
limiting.time("--catch-up-wait-seconds", "How long others wait; default 30.")
limiting.count("--max-connections", "Requests at once; default 10,000.")
limiting.count("--max-connections-per-client", "The same, of one client; default 2,000.")
limiting.number(
    "--max-requests-per-second",
    _variable("--max-requests-per-second"),
    "N",
    "Requests of one client; default no limit.",
)
limiting.count("--max-request-burst", "How many of these at once; default 100.")

timing = _Own("Times and sizes")
timing.time("--sse-seconds", "Life of an event stream's connection; default 3,600.")
timing.time("--keep-alive-seconds", "Longest silence on it; default 15.")
timing.time("--write-seconds", "Time for a client to read; default 30.")
timing.time("--long-poll-seconds", "How long a long poll waits; default 25.")
timing.time("--wait-seconds", "Longest wait for a workflow; default 30.")
timing.time("--open-seconds", "Time for opening a stream; default 10.")
timing.time("--append-seconds", "Time for a write to show; default 30.")
timing.time("--temporal-seconds", "Time for one call to Temporal; default 10.")
timing.count("--shutdown-seconds", "Time for requests at the end; default 10.", "SECONDS")
timing.size("--page-bytes", "About the most in an answer; default 4,194,304.")
timing.size("--event-bytes", "About the most in an event; default 262,144.")
timing.size("--compress-from-bytes", "Smallest answer to compress; default 1,024.")
timing.count("--max-waiting-calls", "Waiting calls to Temporal at once; default 200.")
timing.names("--host-task-queue", "NAME", "Task queue of streams made by PUT.")

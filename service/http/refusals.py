"""Limits of a request's head, and what whoever goes beyond them is told."""

from typing import Final, NamedTuple

from userip.service.errors import PROBLEM_JSON, ProblemKind, problem_body

MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024  # names and values together
MAX_URL_BYTES: Final = 16 * 1024  # a user id of 256 characters takes at most 3 KB, percent-encoded


class Refusal(NamedTuple):
    """Why a connection is told that its request cannot be taken apart, and closed."""

    problem: ProblemKind
    detail: str

    def answer(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of the answer, which is the last one."""
        body = problem_body(self.problem, self.detail, "")
        length = b"%d" % len(body)
        return [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", length), (b"connection", b"close")], body


MALFORMED: Final = Refusal(ProblemKind(400, "malformed-request", "Malformed request"), "This is not HTTP/1.1.")
LONG_URL: Final = Refusal(
    ProblemKind(414, "url-too-long", "URL too long"), f"The URL is longer than {MAX_URL_BYTES} bytes."
)
LARGE: Final = Refusal(
    ProblemKind(431, "headers-too-large", "Headers too large"),
    f"There are more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES} bytes of them.",
)
NO_HOST: Final = Refusal(
    ProblemKind(400, "host-missing", "Host missing"), "A request has one Host header, this one has none or several."
)
FOREIGN_HOST: Final = Refusal(
    ProblemKind(421, "foreign-host", "Misdirected request"),
    "Without API keys this service answers only to the hosts in its setting allowed_hosts (USERIP_ALLOWED_HOSTS); "
    "the Host header is none of them.",
)

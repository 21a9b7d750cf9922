"""Objects on their way in that are stored only once they tell no more of whom they are.

As they came they are in memory alone: never in the spool, in a temporary file, a log line or set aside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from pneumoscope.errors import Rejected
from pneumoscope.filing.objects import REASONS
from pneumoscope.intake.archive import contents
from pneumoscope.server.child.anonymise import anonymise
from pneumoscope.server.desk import Desk
from pneumoscope.server.problems import Problem

#: Of a file or zip as it comes in, and of a file in a zip.
MOST_BYTES = 512 * 2**20
_SECRET_BYTES = range(16, 65)
#: Reasons for which an object is left out, as people read them.
LEFT_OUT = {
    "not-anonymised": "It is no CT image; only those are anonymised.",
    "burned-in-text": "It says that text is burned into its image, which cannot be anonymised.",
    "unreadable-object": "It is damaged, and so cannot be anonymised.",
}
_WORDS = {**REASONS, **LEFT_OUT}


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An object that could not be anonymised, and of which nothing is kept."""

    code: str
    message: str


class Anonymous:
    """One upload's files, whose batches share a secret that only the sender's page keeps."""

    def __init__(self, desk: Desk, secret: str) -> None:
        """``secret``: hexadecimal. Raises Problem."""
        self._desk = desk
        try:
            self._secret = bytes.fromhex(secret)
        except ValueError:
            self._secret = b""
        if len(self._secret) not in _SECRET_BYTES:
            raise Problem(400, "secret-wrong", "The upload's secret has 32 to 128 hexadecimal digits.")

    def objects(self, start: bytes, rest: Iterator[bytes]) -> Iterator[bytes | LeftOut]:
        """What a file holds that begins with ``start``, or each file of a zip. Raises Problem, UnsafeArchive."""
        content = bytearray(start)
        for part in rest:
            content += part
            if len(content) > MOST_BYTES:
                text = f"A file or zip to be anonymised may have {MOST_BYTES // 2**20} MB; send the files of a larger zip."
                raise Problem(413, "too-large-to-anonymise", text)
        if start.startswith(b"PK\x03\x04"):
            for member in contents(BytesIO(content), archive_bytes=len(content), most_bytes=MOST_BYTES):
                yield self._one(member)
        else:
            yield self._one(bytes(content))

    def _one(self, content: bytes) -> bytes | LeftOut:
        try:
            return self._desk.children.call(anonymise, content, self._secret)
        except Rejected as fault:
            return LeftOut(code=fault.code, message=_WORDS[fault.code])

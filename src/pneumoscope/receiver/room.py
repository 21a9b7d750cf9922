"""Whether the disk has room for more."""

import errno
import time

import structlog

from pneumoscope.store import FileStore

#: The disk is asked how full it is so often, in seconds.
ASK_EVERY_S = 1.0
log = structlog.get_logger()


class Room:
    """Remembers for a second what the disk said."""

    def __init__(self, files: FileStore, watermark: float) -> None:
        self._files, self._watermark = files, watermark
        self._asked_s, self._is_there = -ASK_EVERY_S, True

    def is_there(self) -> bool:
        """Whether more than the watermark of the disk is free."""
        moment_s = time.monotonic()
        if moment_s - self._asked_s > ASK_EVERY_S:
            self._asked_s = moment_s
            self._say(self._files.free_share() >= self._watermark)
        return self._is_there

    def note(self, fault: OSError) -> None:
        """A write failed; where it was for want of room, nothing more is taken for a while."""
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            self._asked_s = time.monotonic()
            self._say(False)

    def _say(self, is_there: bool) -> None:
        """Once for each change: senders are told with each object, and the operator here alone."""
        if self._is_there and not is_there:
            log.error("The disk is nearly full: everything sent is refused with 0xA700", free_below=self._watermark)
        if is_there and not self._is_there:
            log.warning("The disk has room again: what is sent is taken")
        self._is_there = is_there

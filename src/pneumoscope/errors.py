"""Every error raised on purpose.

PneumoscopeError
├── Rejected             this input will never be readable: say why and stop        exit status 3
│   ├── InputNotFound        nothing there, or it may not be opened
│   ├── UnsafeArchive        an archive that would escape its folder or fill the disk
│   ├── NothingReadable      no image among what was given
│   ├── NoEligibleSeries     images, but no series that may be read; ``reasons`` says why for each
│   ├── UnreadableVolume     the chosen series cannot be made into a volume
│   └── NotAChest            a volume of something else than a chest
├── RetryLater           it may work later as it is: a peer that is away or busy     exit status 5
├── OperatorNeeded       the machine needs a person: full disk, missing model, no right to write   exit status 4
└── Interrupted          a person stopped it                                        exit status 130

Each carries a stable ``code`` for machines and a message for people: what was found, what is allowed, in which unit. Messages
never hold patient data; file names are not echoed, since they often do.
"""

from typing import ClassVar


class PneumoscopeError(Exception):
    """Root of every error raised on purpose."""

    exit_status: ClassVar[int] = 1
    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code


class Rejected(PneumoscopeError):
    """The input can never be read as it is."""

    exit_status = 3
    default_code = "rejected"


class InputNotFound(Rejected):
    """The path does not exist or may not be opened."""

    default_code = "input-not-found"


class UnsafeArchive(Rejected):
    """An archive with members outside its folder, or far larger than any study."""

    default_code = "unsafe-archive"


class NothingReadable(Rejected):
    """No image was found."""

    default_code = "nothing-readable"


class NoEligibleSeries(Rejected):
    """Images were found, but no series that may be read.

    ``reasons``: (code, sentence) per series, the one nearest to readable first.
    """

    default_code = "no-eligible-series"

    def __init__(self, message: str, *, code: str | None = None, reasons: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, code=code)
        self.reasons = reasons


class UnreadableVolume(Rejected):
    """The chosen series cannot be made into a volume of HU."""

    default_code = "unreadable-volume"


class NotAChest(Rejected):
    """The study is no chest CT."""

    default_code = "not-a-chest-ct"


class RetryLater(PneumoscopeError):
    """The same thing may work later, without anyone's act."""

    exit_status = 5
    default_code = "retry-later"


class OperatorNeeded(PneumoscopeError):
    """Something on this machine has to be put right by a person."""

    exit_status = 4
    default_code = "operator-needed"


class Interrupted(PneumoscopeError):
    """A person stopped the work."""

    exit_status = 130
    default_code = "interrupted"

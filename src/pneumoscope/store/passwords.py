"""Passwords: made, hashed by argon2, checked."""

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

#: Characters of a person's own password. Long ones are hashed in no more time, but a megabyte is no password.
SHORTEST, LONGEST = 12, 200
#: Different characters that a password must have at least.
LEAST_DIFFERENT = 5
#: Without those that look alike.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_hasher = PasswordHasher()  # RFC 9106, low memory: 64 MiB, 3 passes
#: Each takes 64 MiB and all cores: many who try at once must wait for one another.
_turn = threading.BoundedSemaphore(2)
#: Checked where there is no account, so that time does not tell.
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$d3J7EIXGQv+SBWuMlfiATA$DFNGj5W4tjbw2ceLzwCJr5fTw90A+TSe92hxFJh4z3o"


def make() -> str:
    """A random first password, easy to read out: four groups of five, 99 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def hashed(password: str) -> str:
    """What is kept of a password."""
    with _turn:
        return _hasher.hash(password)


def fits(password: str, kept: str) -> bool:
    """Whether ``kept`` was made of ``password``; takes as long where nothing is kept."""
    with _turn:
        try:
            return _hasher.verify(kept or _NOBODYS, password[: LONGEST + 1]) and bool(kept)
        except (Argon2Error, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(kept)


def fault(password: str, *, login: str) -> str:
    """What is wrong with a password of one's own choice, empty where nothing is: its code."""
    if len(password) < SHORTEST:
        return "too-short"
    if len(password) > LONGEST:
        return "too-long"
    plain = password.casefold()
    if len(set(plain)) < LEAST_DIFFERENT or login.casefold() in plain or "pneumoscope" in plain:
        return "too-simple"
    return ""

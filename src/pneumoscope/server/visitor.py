"""Who asks."""

from dataclasses import dataclass, field

from pneumoscope.config import Role
from pneumoscope.server.rights import Right, rights_of


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A person with a session, a program with a token, this machine, or nobody; ``actor`` is what the audit trail says."""

    actor: str
    address: str
    roles: frozenset[Role] = frozenset()
    #: Of a person: what others call them, their account, their session, what their forms must hold.
    name: str = ""
    account_id: str = ""
    session_id: str = ""
    csrf: str = field(default="", repr=False)
    must_change: bool = False
    #: Of a guest: the offer that lets them in, and what it allows where they ask for its study.
    guest: str = ""
    granted: frozenset[Right] = frozenset()

    @property
    def identity(self) -> str:
        """The same for the same person or program, and for no other."""
        return self.account_id or self.actor

    @property
    def rights(self) -> frozenset[Right]:
        """What the visitor may do."""
        return rights_of(self.roles) | self.granted | (frozenset({Right.ACCOUNT}) if self.account_id else frozenset())

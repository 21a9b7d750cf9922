"""Our cookies: names, flags, and the mark of a browser that an account has been used with before."""

import hashlib
import hmac
import secrets

from starlette.datastructures import URL
from starlette.requests import HTTPConnection
from starlette.responses import Response

KNOWN_FOR_S = 180 * 86_400


class Jar:
    """Cookies are shared by all ports of a host, so their names hold ours."""

    def __init__(self, port: int) -> None:
        self._port = port

    def session(self, connection: HTTPConnection) -> str:
        """The token of the session that a request claims, empty for none."""
        return connection.cookies.get(self._name(connection), "")

    def put_session(self, connection: HTTPConnection, response: Response, token: str) -> None:
        """Until the browser is closed, or the session ends here."""
        self._put(connection, response, self._name(connection), token)

    def drop_session(self, connection: HTTPConnection, response: Response) -> None:
        """Log this browser out."""
        self._drop(connection, response, self._name(connection))

    def way(self, connection: HTTPConnection) -> str:
        """What was kept while the person is at the provider's."""
        return connection.cookies.get(self._name(connection, "way"), "")

    def put_way(self, connection: HTTPConnection, response: Response, value: str) -> None:
        """For ten minutes."""
        self._put(connection, response, self._name(connection, "way"), value, max_age=600)

    def drop_way(self, connection: HTTPConnection, response: Response) -> None:
        """The person is back."""
        self._drop(connection, response, self._name(connection, "way"))

    def guest(self, connection: HTTPConnection) -> str:
        """The token of a guest's right that a request claims, empty for none."""
        return connection.cookies.get(self._name(connection, "guest"), "")

    def put_guest(self, connection: HTTPConnection, response: Response, token: str) -> None:
        """Until the browser is closed, or the right ends here."""
        self._put(connection, response, self._name(connection, "guest"), token)

    def known(self, connection: HTTPConnection, *, account_id: str, secret: str) -> str:
        """A name of this browser, where ``account_id`` was logged into with it before; else empty.

        Its cookie is signed by the hash of the account's password, and so ends with the password.
        """
        number, _, mark = connection.cookies.get(self._name(connection, _short(account_id)), "").partition(".")
        return number if secret and hmac.compare_digest(mark.encode(), _mark(number, account_id, secret).encode()) else ""

    def put_known(self, connection: HTTPConnection, response: Response, *, account_id: str, secret: str) -> None:
        """Remember that ``account_id`` was logged into with this browser."""
        number = secrets.token_urlsafe(12)
        value = f"{number}.{_mark(number, account_id, secret)}"
        self._put(connection, response, self._name(connection, _short(account_id)), value, max_age=KNOWN_FOR_S)

    def _name(self, connection: HTTPConnection, part: str = "") -> str:
        prefix = "__Host-" if _is_encrypted(connection) else ""
        return f"{prefix}pneumoscope-{self._port}{f'-{part}' if part else ''}"

    @staticmethod
    def _put(connection: HTTPConnection, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
        secure = _is_encrypted(connection)
        response.set_cookie(name, value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="lax")

    @staticmethod
    def _drop(connection: HTTPConnection, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=_is_encrypted(connection), httponly=True, samesite="lax")


def _is_encrypted(connection: HTTPConnection) -> bool:
    return URL(scope=connection.scope).scheme in ("https", "wss")


def _short(account_id: str) -> str:
    return hashlib.sha256(account_id.encode()).hexdigest()[:8]


def _mark(number: str, account_id: str, secret: str) -> str:
    return hmac.new(secret.encode(), f"known:{account_id}:{number}".encode(), hashlib.sha256).hexdigest()

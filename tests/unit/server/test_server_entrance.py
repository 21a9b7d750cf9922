"""Where people come in, in parts: marks of browsers, tokens of forms, ID tokens that are not for us."""

import base64
import json
import time

import anyio
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, RSAKey
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Message

from pneumoscope.config import OpenId
from pneumoscope.server import forgery
from pneumoscope.server.cookies import Jar
from pneumoscope.server.openid import Provider, _opened, _plain, _values

ISSUER = "https://id.hospital.example/realms/main"


def connection(cookie: bytes = b"", scheme: str = "http") -> HTTPConnection:
    return HTTPConnection(
        {
            "type": "http",
            "scheme": scheme,
            "headers": [(b"cookie", cookie), (b"host", b"node")],
            "path": "/",
            "query_string": b"",
        }
    )


def test_a_browser_is_known_to_an_account_until_its_password_changes() -> None:
    jar, response = Jar(8042), Response()
    jar.put_known(connection(), response, account_id="kim", secret="hash")
    cookie = response.headers["set-cookie"].partition(";")[0].encode()
    assert jar.known(connection(cookie), account_id="kim", secret="hash")
    assert not jar.known(connection(cookie), account_id="kim", secret="another hash")
    assert not jar.known(connection(cookie), account_id="kim", secret="")
    assert not jar.known(connection(cookie), account_id="lee", secret="hash")
    assert not jar.known(connection(cookie, "https"), account_id="kim", secret="hash")  # that one is another cookie
    for mark in (b"", b"x", b".", "é.é".encode(), b"\xff.\xff", cookie.partition(b"=")[2] + b"0"):
        assert not jar.known(connection(cookie.partition(b"=")[0] + b"=" + mark), account_id="kim", secret="hash")


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("sort", ["urlencoded", "multipart"])
def test_a_form_is_ours_wherever_its_body_is_cut(size: int, sort: str) -> None:
    token = forgery.token_of("session")
    if sort == "urlencoded":
        body = f"csrf={token}&login=kim".encode()
    else:
        body = f'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{token}\r\n--b--'.encode() + bytes(20_000)

    async def check(body: bytes) -> tuple[bool, bytes]:
        chunks = [body[n : n + size] for n in range(0, len(body), size)]

        async def receive() -> Message:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        meant, again = await forgery.is_meant(Headers({}), receive, token)
        whole, more = b"", True
        while more:
            message = await again()
            whole, more = whole + message["body"], message["more_body"]
        return meant, whole

    assert anyio.run(check, body) == (True, body)
    forged = body.replace(token.encode(), b"0" * 64)
    assert anyio.run(check, forged) == (False, forged)
    assert not anyio.run(check, bytes(20_000) + body)[0]  # beyond where it is looked for


def test_claims_are_found_where_they_are() -> None:
    claims = {"realm_access": {"roles": ["a", "b"]}, "groups": "one", "https://x.example/roles": ["c"], "n": [1]}
    assert _values(claims, "realm_access.roles") == ["a", "b"]
    assert _values(claims, "groups") == ["one"]
    assert _values(claims, "https://x.example/roles") == ["c"]
    assert _values(claims, "n") == ["1"]
    for path in ("none", "groups.inner", "realm_access.none"):
        assert _values(claims, path) is None
    assert _plain("a\nb\x1b" + "c" * 100) == "ab" + "c" * 78
    assert (_opened("?"), _opened("WzFd"), _opened("e30=")) == ({}, {}, {})


KEY, OTHERS = RSAKey.generate_key(2048, {"kid": "1"}), RSAKey.generate_key(2048, {"kid": "1"})
GOOD = {"iss": ISSUER, "sub": "kim", "aud": "pneumoscope", "nonce": "n"}


@pytest.mark.parametrize(
    ("change", "algorithm", "key", "taken"),
    [
        ({}, "RS256", KEY, True),
        ({"aud": ["pneumoscope"]}, "RS256", KEY, True),
        ({"aud": "another client"}, "RS256", KEY, False),
        ({"aud": ["another client"], "azp": "another client"}, "RS256", KEY, False),
        ({"iss": "https://evil.example"}, "RS256", KEY, False),
        ({"nonce": "of another login"}, "RS256", KEY, False),
        ({"exp": int(time.time()) - 3600}, "RS256", KEY, False),
        ({"sub": None}, "RS256", KEY, False),
        ({}, "RS256", OTHERS, False),
        ({}, "HS256", OctKey.import_key("a secret that both know, and is long enough"), False),
        ({}, "none", None, False),
    ],
)
def test_an_id_token_for_others_or_by_others_is_not_taken(change: dict, algorithm: str, key: object, taken: bool) -> None:
    provider = Provider(
        OpenId(issuer=ISSUER, client_id="pneumoscope", client_secret="a secret that both know, and is long enough")
    )
    provider.client.server_metadata.update(
        issuer=ISSUER,
        jwks={"keys": [KEY.as_dict(private=False)]},
        id_token_signing_alg_values_supported=["RS256", "HS256", "none"],
        _loaded_at=1.0,
    )
    moment = int(time.time())
    claims = {"iat": moment, "exp": moment + 60} | GOOD | change
    claims = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": algorithm, "kid": "1"}
    if key is None:  # nobody signs such a token any more, but a thief would
        parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims))
        token = f"{'.'.join(parts)}."
    else:
        token = jwt.encode(head, claims, key, algorithms=[algorithm])

    async def parse() -> str:
        await provider.metadata()
        found = await provider.client.parse_id_token({"id_token": token}, nonce="n", claims_options=provider.must)
        return found["sub"]

    if taken:
        assert anyio.run(parse) == "kim"
    else:
        with pytest.raises((JoseError, ValueError)):
            anyio.run(parse)


def test_an_issuer_that_calls_itself_otherwise_is_none() -> None:
    provider = Provider(OpenId(issuer=ISSUER, client_id="pneumoscope"))
    provider.client.server_metadata.update(issuer="https://evil.example", _loaded_at=1.0)
    with pytest.raises(ValueError, match="calls itself otherwise"):
        anyio.run(provider.metadata)

"""Tokens that nobody gave out: spelled from section 2 of the contract alone."""

import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID = slice(0, 22)
SECRET = slice(22, 65)


def base62(value: int, width: int) -> str:
    text = ""
    for _ in range(width):
        value, digit = divmod(value, 62)
        text = ALPHABET[digit] + text
    assert value == 0
    return text


def with_checksum(body: str) -> str:
    return body + base62(zlib.crc32(body.encode()), 6)


def parts(token: str) -> tuple[str, str, str]:
    """What stands before the id, the id, and the secret."""
    head, _, tail = token.rpartition("_")
    return head + "_", tail[ID], tail[SECRET]


def secret_of(token: str) -> str:
    return parts(token)[2]


def random_token(environment: str = "prod", brand: str = "kt") -> str:
    """A well-formed token of no key."""
    id_ = base62(secrets.randbits(128), 22)
    return with_checksum(f"{brand}_{environment}_{id_}{base62(secrets.randbits(256), 43)}")


def with_another_secret(token: str) -> str:
    head, id_, _ = parts(token)
    return with_checksum(head + id_ + base62(secrets.randbits(256), 43))


def with_another_id(token: str) -> str:
    head, _, secret = parts(token)
    return with_checksum(head + base62(secrets.randbits(128), 22) + secret)


def with_another_environment(token: str, environment: str) -> str:
    head, id_, secret = parts(token)
    brand = head.partition("_")[0]
    return with_checksum(f"{brand}_{environment}_{id_}{secret}")


def with_a_wrong_checksum(token: str) -> str:
    return token[:-1] + ("0" if token[-1] != "0" else "1")


def malformed_tokens(token: str) -> list[str]:
    """Spoiled copies of a good token, and other texts that are no token."""
    head, id_, secret = parts(token)
    return [
        with_a_wrong_checksum(token),
        token[:-1],
        token + "0",
        token.upper(),
        token.replace("kt_", "xx_", 1),
        with_checksum("xx" + token.removeprefix("kt")[:-6]),
        with_checksum(head + "z" * 22 + secret),
        with_checksum(head + id_ + "z" * 43),
        with_checksum(head.replace("_", "-") + id_ + secret),
        "x",
        "x" * 4_000,
        "kt_prod_",
        "null",
        "{}",
        "'; DROP TABLE keys; --",
    ]

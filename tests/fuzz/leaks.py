"""What somebody found and pasted, against a reading that goes by the tokens that were put in."""

from random import Random

from keyturn.cli.exposed import Exposed, decode, find_exposed
from keyturn.domain.base62 import encode_uuid
from keyturn.domain.token import OPERATOR_ENVIRONMENT
from tests.domain.samples import sample_id
from tests.domain.spec import DIGITS, read_token
from tests.fuzz.mutation import mutate, text
from tests.fuzz.reader import Reader
from tests.fuzz.texts import TOKENS

_WHOLE = TOKENS[:200]
_SECRETS = tuple(token[-49:-6] for token in _WHOLE)
_AROUND = DIGITS + "____ \n\n\r\t.,:;/\"'`()[]<>|=&%-…\\"
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_BREAKS = ("\n", "\r\n", "=\n", "=\r\n", "\n> ", "\r\n>> ", "\n\t| ", "\n\n", "\u200b", " ")
_BETWEEN = ("", "", " ", "\n", "\r\n", ", ", '", "', "\n- ", "&", ": ")


def make_paste(random: Random) -> str:
    """Tokens, what is left of them, and ids, in what chats, mails and logs make of them."""
    pieces = []
    for _ in range(random.randrange(1, 5)):
        pieces.append(_piece(random))
        pieces.append(random.choice(_BETWEEN))
        if random.random() < 0.3:
            pieces.append(text(random, _AROUND, 12))
    made = "".join(pieces)
    return mutate(random, made, _AROUND) if random.random() < 0.2 else made


def _piece(random: Random) -> str:
    number = random.randrange(len(_WHOLE))
    token = _WHOLE[number]
    at = random.randrange(1, len(token))
    match random.randrange(8):
        case 0 | 1:
            return token
        case 2 | 3:
            return token[:at] + random.choice(_BREAKS) + token[at:]
        case 4:
            return token[:-at]
        case 5:
            return str(sample_id(number)).upper() if at % 2 else str(sample_id(number))
        case 6:
            return encode_uuid(sample_id(number))
        case _:
            return mutate(random, token, DIGITS + "_")


def _joined(given: str) -> str:
    """The text as it was before a mail broke its lines."""
    first, *others = given.replace("\r\n", "\n").split("\n")
    for line in others:
        first = first.removesuffix("=") + line.lstrip(" \t>|")
    return first


def judge_paste(given: str) -> str:
    found = find_exposed(given)
    seen = "".join(one for one in given if one not in _UNSEEN)
    texts = (seen, _joined(seen))
    whole = {one.id for one in found if one.token is not None}
    for token in _WHOLE:
        if any(token in one for one in texts):
            parts = read_token(token)
            assert parts is not None
            assert any(one.int == parts.id for one in whole), "a token is overlooked"
    assert len({one.id for one in found}) == len(found), "a key is told twice"
    for one in found:
        _judge_one(one, texts)
    kinds = [one.token is None for one in found]
    assert kinds == sorted(kinds), "whole tokens come first"
    pasted = find_exposed("\n".join(one.label for one in found))
    assert [one.id for one in pasted] == [one.id for one in found], "a label names another key"
    decode(given.encode("utf-8", "surrogatepass"))
    return " and ".join(sorted({"named" if kind else "whole" for kind in kinds})) or "nothing"


def _judge_one(one: Exposed, texts: tuple[str, str]) -> None:
    told = f"{one.label} {one!r}"
    assert not any(secret in told for secret in _SECRETS), "a secret is told"
    if one.token is None:
        return
    spelled = one.token.reveal()
    parts = read_token(spelled)
    assert parts is not None
    assert parts.id == one.id.int
    assert any(spelled in text for text in texts), "a token was made up"
    assert one.is_operators == (parts.environment == OPERATOR_ENVIRONMENT)


READERS: tuple[Reader[str], ...] = (Reader(name="exposed", make=make_paste, judge=judge_paste),)

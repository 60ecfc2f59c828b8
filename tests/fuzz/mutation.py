"""Inputs for parsers: random ones, and samples with a few things changed."""

from collections.abc import Sequence
from random import Random

# What parsers trip over: other digits and letters than ASCII's, white space that is stripped or
# not, letters that change their length in the other case, halves of pairs, marks that turn texts.
ODD = (
    "\0\t\n\r\v\f\x1f\x7f\x85\xa0\u0130\u0131\u017f\u0660\u06f1\u200b\u2028\u202e"
    "\u212a\uff10\uff21\ufeff\ud800\udfff\U0001f511"
)
PLAIN = "".join(map(chr, range(0x20, 0x7F)))


def letter(random: Random, likely: str) -> str:
    """One character: mostly of those that the parser knows."""
    dice = random.random()
    if dice < 0.7:
        return random.choice(likely)
    if dice < 0.9:
        return random.choice(PLAIN)
    if dice < 0.98:
        return random.choice(ODD)
    return chr(random.randrange(0x110000))


def text(random: Random, likely: str, longest: int = 40) -> str:
    return "".join(letter(random, likely) for _ in range(random.randrange(longest + 1)))


def mutate(random: Random, sample: str, likely: str) -> str:
    """`sample` with one to four changes: a character put in, taken out, replaced, doubled, moved,
    in the other case, or a part repeated or cut off."""
    found = sample
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        at = random.randrange(len(found) + 1)
        to = min(len(found), at + random.choice((1, 1, 1, 2, 5, 40)))
        match random.randrange(8):
            case 0:
                found = found[:at] + letter(random, likely) + found[at:]
            case 1:
                found = found[:at] + found[to:]
            case 2:
                found = found[:at] + letter(random, likely) + found[at + 1 :]
            case 3:
                found = found[:to] + found[at:to] + found[to:]
            case 4:
                found = found[to:] + found[:to]
            case 5:
                found = found[:at] + found[at:to].swapcase() + found[to:]
            case 6:
                found = found[:at]
            case _:
                found = found[:at] + found[at:to][::-1] + found[to:]
    return found


def drawn(random: Random, samples: Sequence[str], likely: str) -> str:
    """A sample as it is, a changed one, two run together, or something random."""
    match random.randrange(10):
        case 0:
            return random.choice(samples)
        case 1:
            return text(random, likely)
        case 2:
            return random.choice(samples) + random.choice(samples)
        case _:
            return mutate(random, random.choice(samples), likely)


def mutate_bytes(random: Random, sample: bytes) -> bytes:
    """As `mutate`, for bytes: also single bits, so that UTF-8 breaks in its middle."""
    found = bytearray(sample)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at = random.randrange(len(found) + 1)
        to = min(len(found), at + random.choice((1, 1, 2, 5, 20)))
        match random.randrange(6):
            case 0:
                found[at:at] = bytes([random.randrange(256)])
            case 1:
                del found[at:to]
            case 2:
                found[at:to] = found[at:to] * 2
            case 3 if at < len(found):
                found[at] ^= 1 << random.randrange(8)
            case 4:
                found[at:at] = random.choice(_PIECES)
            case _:
                found[at:to] = random.choice(_PIECES)
    return bytes(found)


_PIECES = (
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x00",
    b"NaN", b"-Infinity", b"1e999", b"-0", b"01", b"1.", b".5", b"1E+5", b"9" * 400, b"1" * 5000,
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'\\"', b"{", b"}", b"[", b"]", b",", b":",
    b'"api_key":"x",', b'"api\\u005fkey":"y",', b'"a":1,', b'"a":{"a":1,"a":2},', b"//", b"'",
    b"[" * 200, b"[" * 2000, b"null", b"true", b"\t", b"\x0b", b"\xc2\xa0", b"\xe2\x80\xa8",
)  # fmt: skip

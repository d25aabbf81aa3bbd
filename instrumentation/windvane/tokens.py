"""Tokens: what a caller keeps of a prediction, so that its outcome needs no store and no join.

A token tells the model, its version and variant, the time, the prediction's place in its trace, its row, and what was
predicted; nothing of the inputs. It is signed, so that whoever reports an outcome cannot make up predictions, and it is
not encrypted: whoever has it can read it. `docs/tokens.md` describes it byte by byte.

Example:
    >>> keys = TokenKeys(["an example of a secret of 32 characters"])
    >>> token = Token("flight-delay", "3", None, None, 1767225600, 0x5b8a, 0x11, 0, True, PredictedScore(0.75, True))
    >>> text = keys.write([token])[0]
    >>> len(text) <= 96, keys.read(text) == token
    (True, True)
"""

from __future__ import annotations

import binascii
import hashlib
import math
import os
import re
import struct
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from windvane.errors import DeclarationError, TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "MAX_CLASS_BYTES",
    "MAX_RANKED",
    "MAX_VARIANT_BYTES",
    "MIN_KEY_LENGTH",
    "TOKEN_KEYS",
    "UNSIGNED",
    "Predicted",
    "PredictedClass",
    "PredictedNumber",
    "PredictedRanking",
    "PredictedScore",
    "Token",
    "TokenKeys",
    "item_digest",
    "single_precision",
    "unverified",
]

TOKEN_KEYS: Final = "WINDVANE_TOKEN_KEYS"  # noqa: S105 - the name of a variable
"""Environment variable: the secrets that sign tokens, separated by commas. The first signs, all are accepted."""

UNSIGNED: Final = "unsigned"
"""The value of the variable that chooses tokens without a signature."""

MIN_KEY_LENGTH: Final = 32
"""Characters that each secret must have: `openssl rand -hex 32` gives 64."""

MAX_CLASS_BYTES: Final = 32
"""Classes with longer names count as `_OTHER`."""

MAX_RANKED: Final = 20
"""Items of a ranking that a token can carry."""

MAX_VARIANT_BYTES: Final = 128
"""Of a variant in UTF-8, where tokens carry it."""

_MAX_FURTHER: Final = MAX_VARIANT_BYTES + 16
"""Of variant and segment together: a segment is the label of a bin."""

_MAX_LENGTH: Final = 1024
"""Characters of the longest token that is read; none that is written has more than 700."""

_FORMAT: Final = 1
_MAC_BYTES: Final = 8
_HEAD: Final = struct.Struct(">BIQQQ")
_SINGLE: Final = struct.Struct(">f")
_DOUBLE: Final = struct.Struct(">d")
_NUMBER_BYTES: Final = 6
_INFINITE: Final = 0x7FF << 36
"""The bits of the exponent, among the first 48 of a double."""
_DIGEST_BYTES: Final = 4
_MAX_TIME: Final = 2**32
_SEPARATOR: Final = b"\n"

_FORMAT_SHIFT, _KIND_SHIFT, _SAMPLED, _SIGNED, _SPARE = 6, 3, 4, 2, 1
_CLASS, _NEGATIVE, _POSITIVE, _NUMBER, _TOLERATED, _RANKING = range(6)

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
_PADDING: Final = (b"", b"=", b"==", b"=")
_ENDS: Final[tuple[frozenset[int], ...]] = (
    frozenset(range(256)),
    frozenset(),
    frozenset(b"AQgw"),
    frozenset(b"AEIMQUYcgkosw048"),
)
"""Last characters by the length modulo 4: of the bits of the last one some may stand for nothing, and must be 0."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


class PredictedClass(NamedTuple):
    """A class.

    Attributes:
        label: its name, of at most 32 bytes in UTF-8 and without a line break.
    """

    label: str


class PredictedScore(NamedTuple):
    """The score of a binary outcome's positive class.

    Attributes:
        score: from 0 to 1, in single precision.
        positive: whether it reached the threshold.
    """

    score: float
    positive: bool


class PredictedNumber(NamedTuple):
    """A number.

    Attributes:
        number: finite; a token keeps 36 bits of its fraction, so it is off by 7e-12 of its size at most.
        tolerance: by how much it may miss and still be right; None where nothing says so. In single precision.
    """

    number: float
    tolerance: float | None


class PredictedRanking(NamedTuple):
    """Items, the best first.

    Attributes:
        items: `item_digest` of each, 1 to 20 of them.
    """

    items: tuple[int, ...]


Predicted: TypeAlias = PredictedClass | PredictedScore | PredictedNumber | PredictedRanking


class Token(NamedTuple):
    """What a token tells.

    Attributes:
        model: name of the model.
        version: its version.
        variant: role of the deployment, where one is declared.
        segment: label of the bin of the row's segment, where segments are declared.
        time: when the call began, in whole seconds since 1970.
        trace_id: of the call's span.
        span_id: of the call's span.
        row: position in the call, from 0.
        sampled: whether the trace was sampled.
        predicted: what was predicted.
    """

    model: str
    version: str
    variant: str | None
    segment: str | None
    time: int
    trace_id: int
    span_id: int
    row: int
    sampled: bool
    predicted: Predicted

    @property
    def prediction_id(self) -> str:
        """Identity of the call, `<trace_id>-<span_id>`; with the row that of the prediction."""
        return f"{self.trace_id:032x}-{self.span_id:016x}"


class TokenKeys:
    """Signs tokens and reads them.

    Args:
        secrets: the first signs, all are accepted; none for tokens without a signature.

    Raises:
        DeclarationError: a secret is too short.
    """

    __slots__ = ("_signers",)

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        """Prepare the hashes."""
        for position, secret in enumerate(secrets, 1):
            if len(secret) < MIN_KEY_LENGTH:
                msg = (
                    f"{TOKEN_KEYS}: secret {position} has {len(secret)} characters; each needs {MIN_KEY_LENGTH} at "
                    "least, such as `openssl rand -hex 32` gives"
                )
                raise DeclarationError(msg)
        self._signers = [_Signer(secret.encode()) for secret in secrets]

    @classmethod
    def from_environment(cls) -> TokenKeys:
        """Read the secrets from `WINDVANE_TOKEN_KEYS`.

        Raises:
            DeclarationError: it is not set, or a secret is too short.
        """
        text = os.environ.get(TOKEN_KEYS, "").strip()
        if not text:
            msg = (
                f"{TOKEN_KEYS}: is not set; it must hold the secret that signs tokens, such as `openssl rand -hex 32` "
                f"gives, the same wherever outcomes are reported; `{TOKEN_KEYS}={UNSIGNED}` goes without signatures"
            )
            raise DeclarationError(msg)
        if text == UNSIGNED:
            return cls()
        return cls([secret.strip() for secret in text.split(",") if secret.strip()])

    @property
    def signed(self) -> bool:
        """Whether tokens have a signature."""
        return bool(self._signers)

    def digest(self, text: str) -> bytes:
        """Return a keyed digest of a text, 16 bytes; without secrets a plain one."""
        # The first byte has the spare bit of a token's, which is never set there: no digest is a token's signature.
        content = b"key\n" + text.encode("utf-8", "replace")
        return self._signers[0].mac(content)[:16] if self._signers else hashlib.sha256(content).digest()[:16]

    def key_digest(self, model: str, key: str) -> bytes:
        """Return what stands for a caller's own key of a prediction of a model, 16 bytes."""
        return self.digest(f"{model}\n{key}")

    def write(self, tokens: Iterable[Token]) -> list[str]:
        """Write tokens.

        Args:
            tokens: their texts hold no line break, and their numbers fit their descriptions.

        Returns:
            URL-safe texts: of at most 96 characters for a score, or a class of 8 bytes, where the names have 24 bytes.
        """
        mac = self._signers[0].mac if self._signers else None
        signed = _FORMAT << _FORMAT_SHIFT | (_SIGNED if mac else 0)
        texts = []
        for model, version, variant, segment, time, trace_id, span_id, row, sampled, predicted in tokens:
            kind, prediction = _PACK[type(predicted)](predicted)
            head = signed | kind << _KIND_SHIFT | (_SAMPLED if sampled else 0)
            body = (
                _HEAD.pack(head, time, trace_id >> 64, trace_id & 0xFFFFFFFFFFFFFFFF, span_id)
                + (bytes((row,)) if row < 128 else _varint(row))  # noqa: PLR2004 - one byte of seven bits
                + prediction
                + _names(model, version, variant, segment)
            )
            if mac is not None:
                body += mac(body)[:_MAC_BYTES]
            texts.append(binascii.b2a_base64(body, newline=False).translate(_TO_URL).rstrip(b"=").decode())
        return texts

    def read(self, text: str) -> Token:
        """Read a token.

        Args:
            text: as `write` made it, to the letter.

        Raises:
            TokenError: it is none (`malformed`), or no secret made its signature (`signature`).
        """
        body, signature = _parts(text)
        if not self._trusts(body, signature):
            raise TokenError(self._distrust(signed=bool(signature)), "signature")
        return _token(body)

    def _trusts(self, body: bytes, signature: bytes) -> bool:
        if not signature or not self._signers:
            return not signature and not self._signers
        return any(compare_digest(signature, signer.mac(body)[:_MAC_BYTES]) for signer in self._signers)

    def _distrust(self, *, signed: bool) -> str:
        if not self._signers:
            return f"the token has a signature, and {TOKEN_KEYS} says {UNSIGNED}"
        if not signed:
            return f"the token has no signature, and {TOKEN_KEYS} asks for one"
        return f"no secret of {TOKEN_KEYS} made the token's signature: it was changed, or signed elsewhere"


class _Signer:
    """HMAC-SHA-256 (RFC 2104) under one secret, whose first blocks are hashed once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = (hashlib.sha256(secret).digest() if len(secret) > 64 else secret).ljust(64, b"\0")  # noqa: PLR2004 - a block
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def mac(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


def unverified(text: str) -> tuple[Token, bool]:
    """Read a token without looking at its signature, to show what it says: nobody has vouched for it.

    Args:
        text: as of `TokenKeys.read`.

    Returns:
        The token, and whether it has a signature.

    Raises:
        TokenError: it is none (`malformed`).
    """
    body, signature = _parts(text)
    return _token(body), bool(signature)


def item_digest(item: str) -> int:
    """Return what stands for an item of a ranking: the first 4 bytes of its text's SHA-256.

    Another item has the same once in 4e9 pairs.
    """
    return int.from_bytes(hashlib.sha256(item.encode("utf-8", "replace")).digest()[:_DIGEST_BYTES], "big")


def single_precision(number: float) -> float:
    """Round to single precision, as tokens carry scores; infinite beyond its range."""
    try:
        return float(_SINGLE.unpack(_SINGLE.pack(number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


# --- Writing ---------------------------------------------------------------------------------------------------


def _pack_class(predicted: PredictedClass) -> tuple[int, bytes]:
    return _CLASS, predicted.label.encode() + _SEPARATOR


def _pack_score(predicted: PredictedScore) -> tuple[int, bytes]:
    return _POSITIVE if predicted.positive else _NEGATIVE, _SINGLE.pack(predicted.score)


def _pack_number(predicted: PredictedNumber) -> tuple[int, bytes]:
    bits = int.from_bytes(_DOUBLE.pack(predicted.number), "big")
    rounded = bits + 0x8000 >> 16
    if rounded & _INFINITE == _INFINITE:  # the largest numbers would be rounded beyond all
        rounded = bits >> 16
    number = rounded.to_bytes(_NUMBER_BYTES, "big")
    if predicted.tolerance is None:
        return _NUMBER, number
    return _TOLERATED, number + _SINGLE.pack(predicted.tolerance)


def _pack_ranking(predicted: PredictedRanking) -> tuple[int, bytes]:
    items = predicted.items
    return _RANKING, bytes((len(items),)) + struct.pack(f">{len(items)}I", *items)


_PACK: Final[dict[type, Callable[[Any], tuple[int, bytes]]]] = {
    PredictedClass: _pack_class,
    PredictedScore: _pack_score,
    PredictedNumber: _pack_number,
    PredictedRanking: _pack_ranking,
}


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@lru_cache(maxsize=1024)
def _names(model: str, version: str, variant: str | None, segment: str | None) -> bytes:
    names = [model, version, variant or "", segment or ""]
    while not names[-1]:
        names.pop()
    return "\n".join(names).encode("utf-8", "replace")


# --- Reading: nothing here trusts a byte. ------------------------------------------------------------------------


def _decoded(text: str) -> bytes:
    # By type(), since isinstance also believes a value's own __class__.
    if not issubclass(type(text), str) or not 0 < len(text) <= _MAX_LENGTH:
        msg = f"this is no token: it must be a text of at most {_MAX_LENGTH} characters"
        raise TokenError(msg, "malformed")
    try:
        encoded = text.encode("ascii").translate(_FROM_URL)
        body = binascii.a2b_base64(encoded + _PADDING[len(encoded) % 4], strict_mode=True)
    except ValueError as error:
        msg = "this is no token: it is cut short, or has characters that none has"
        raise TokenError(msg, "malformed") from error
    if len(body) <= _HEAD.size or ord(text[-1]) not in _ENDS[len(text) % 4]:
        msg = "this is no token: it is cut short, or was changed"
        raise TokenError(msg, "malformed")
    return body


def _parts(text: str) -> tuple[bytes, bytes]:
    """Return what is signed, and the signature; no byte where there is none."""
    body = _decoded(text)
    head = body[0]
    if head >> _FORMAT_SHIFT != _FORMAT or head & _SPARE:
        msg = "this is no token, or one of a later format that this version of windvane cannot read"
        raise TokenError(msg, "malformed")
    return (body[:-_MAC_BYTES], body[-_MAC_BYTES:]) if head & _SIGNED else (body, b"")


def _token(body: bytes) -> Token:
    try:
        head, time, upper, lower, span_id = _HEAD.unpack_from(body)
        row = body[_HEAD.size]
        at = _HEAD.size + 1
        if row > 0x7F:  # noqa: PLR2004 - seven bits
            row, at = _unpacked_row(body)
        predicted, at = _UNPACK[head >> _KIND_SHIFT & 7](body, at)
        model, version, variant, segment = _unpacked_names(body[at:])
    except (LookupError, ValueError, struct.error) as error:
        msg = "this is no token: what it holds cannot be"
        raise TokenError(msg, "malformed") from error
    trace_id, sampled = upper << 64 | lower, bool(head & _SAMPLED)
    return Token(model, version, variant, segment, time, trace_id, span_id, row, sampled, predicted)


def _unpacked_row(body: bytes) -> tuple[int, int]:
    at = _HEAD.size
    row = shift = 0
    while shift < 35:  # noqa: PLR2004 - five bytes of seven bits
        byte = body[at]
        at += 1
        row |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last one
            if shift and not byte:
                break  # a longer way to write it
            return row, at
        shift += 7
    raise ValueError


def _unpack_class(body: bytes, at: int) -> tuple[PredictedClass, int]:
    end = body.index(_SEPARATOR, at)
    if end - at > MAX_CLASS_BYTES:
        raise ValueError
    return PredictedClass(body[at:end].decode()), end + 1


def _unpack_negative(body: bytes, at: int) -> tuple[PredictedScore, int]:
    return PredictedScore(_score(body, at), positive=False), at + 4


def _unpack_positive(body: bytes, at: int) -> tuple[PredictedScore, int]:
    return PredictedScore(_score(body, at), positive=True), at + 4


def _score(body: bytes, at: int) -> float:
    score: float = _SINGLE.unpack_from(body, at)[0]
    if not 0 <= score <= 1:
        raise ValueError
    return score


def _unpack_number(body: bytes, at: int, *, tolerated: bool) -> tuple[PredictedNumber, int]:
    end = at + _NUMBER_BYTES
    (number,) = _DOUBLE.unpack(body[at:end] + b"\0\0")
    if not math.isfinite(number):
        raise ValueError
    if not tolerated:
        return PredictedNumber(number, None), end
    (tolerance,) = _SINGLE.unpack_from(body, end)
    if not 0 <= tolerance < math.inf:
        raise ValueError
    return PredictedNumber(number, tolerance), end + 4


def _unpack_ranking(body: bytes, at: int) -> tuple[PredictedRanking, int]:
    size = body[at]
    if not 1 <= size <= MAX_RANKED:
        raise ValueError
    return PredictedRanking(struct.unpack_from(f">{size}I", body, at + 1)), at + 1 + size * _DIGEST_BYTES


_UNPACK: Final[dict[int, Callable[[bytes, int], tuple[Predicted, int]]]] = {
    _CLASS: _unpack_class,
    _NEGATIVE: _unpack_negative,
    _POSITIVE: _unpack_positive,
    _NUMBER: lambda body, at: _unpack_number(body, at, tolerated=False),
    _TOLERATED: lambda body, at: _unpack_number(body, at, tolerated=True),
    _RANKING: _unpack_ranking,
}


@lru_cache(maxsize=1024)
def _unpacked_names(body: bytes) -> tuple[str, str, str | None, str | None]:
    model, version, *further = body.decode().split("\n")
    if len(further) > 2 or (further and not further[-1]):  # noqa: PLR2004 - variant and segment
        raise ValueError
    if not _NAME.fullmatch(model) or not _NAME.fullmatch(version) or len("".join(further).encode()) > _MAX_FURTHER:
        raise ValueError
    variant, segment = [*further, "", ""][:2]
    return model, version, variant or None, segment or None

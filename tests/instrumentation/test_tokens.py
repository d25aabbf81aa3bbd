"""Tokens: what is written is read, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windvane.cli import main
from windvane.errors import DeclarationError, TokenError
from windvane.outcomes import class_of
from windvane.tokens import (
    MAX_RANKED,
    TOKEN_KEYS,
    UNSIGNED,
    PredictedClass,
    PredictedNumber,
    PredictedRanking,
    PredictedScore,
    Token,
    TokenKeys,
    item_digest,
    single_precision,
    unverified,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "an example of a secret of 32 characters"  # noqa: S105 - of a test
OTHER_SECRET = "another secret that nobody else may know"  # noqa: S105 - of a test
KEYS = TokenKeys([SECRET])
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
DOCS = Path(__file__).parents[2] / "docs" / "tokens.md"

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", fullmatch=True)
variants = st.none() | st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=32)
segments = st.none() | st.sampled_from(["00", "09", "c03", "null", "other", "t27"])
labels = st.text(max_size=32).map(class_of).map(str)
scores = st.floats(0, 1, width=32)
numbers = st.floats(allow_nan=False, allow_infinity=False)
predictions = st.one_of(
    st.builds(PredictedClass, labels),
    st.builds(PredictedScore, scores, st.booleans()),
    st.builds(PredictedNumber, numbers, st.none() | st.floats(0, 2.0**100, width=32)),
    st.builds(
        PredictedRanking,
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=MAX_RANKED).map(tuple),
    ),
)
tokens = st.builds(
    Token,
    names,
    names,
    variants,
    segments,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**35 - 1) | st.integers(0, 300),
    st.booleans(),
    predictions,
)
SHORT = Token("m", "1", None, None, 1767225600, 7, 8, 0, sampled=True, predicted=PredictedScore(0.75, positive=True))


def write(token: Token, keys: TokenKeys = KEYS) -> str:
    (text,) = keys.write([token])
    return text


def as_read(token: Token) -> Token:
    """What of a token can be carried: numbers lose the last 16 bits of their fraction."""
    if isinstance(token.predicted, PredictedNumber):
        return token._replace(predicted=None)  # type: ignore[arg-type]
    return token


def reason(text: Any, keys: TokenKeys = KEYS) -> str:
    with pytest.raises(TokenError) as caught:
        keys.read(text)
    return caught.value.reason


@given(tokens, st.sampled_from([KEYS, TokenKeys()]))
@example(SHORT, TokenKeys())
@example(SHORT._replace(predicted=PredictedClass("")), TokenKeys())
@example(SHORT._replace(predicted=PredictedNumber(1.7976931348623157e308, None)), KEYS)
@example(SHORT._replace(predicted=PredictedNumber(-1.7976931348623157e308, 0.0)), KEYS)
def test_what_is_written_is_read(token: Token, keys: TokenKeys) -> None:
    """Every token comes back as it was; a number within 7e-12 of its size."""
    text = write(token, keys)
    read = keys.read(text)
    assert as_read(read) == as_read(token)
    if isinstance(token.predicted, PredictedNumber):
        assert isinstance(read.predicted, PredictedNumber)
        assert read.predicted.tolerance == token.predicted.tolerance
        number = token.predicted.number
        assert abs(read.predicted.number - number) <= max(7.3e-12 * abs(number), 2e-319)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,700}", text)
    assert unverified(text) == (read, keys.signed)


@given(tokens, st.data())
def test_a_bit_that_is_flipped_anywhere_is_refused(token: Token, data: st.DataObject) -> None:
    """Of the bytes, and of the text."""
    text = write(token)
    body = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    at = data.draw(st.integers(0, len(body) * 8 - 1))
    body[at // 8] ^= 1 << at % 8
    flipped = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
    assert reason(flipped) in {"malformed", "signature"}
    place = data.draw(st.integers(0, len(text) - 1))
    character = chr(ord(text[place]) ^ 1 << data.draw(st.integers(0, 6)))
    assert reason(text[:place] + character + text[place + 1 :]) in {"malformed", "signature"}


def test_every_bit_of_one_token_matters() -> None:
    """All bits of the text's 75 characters, one by one, and every other character at each place."""
    text = write(SHORT._replace(model="flight-delay", version="3"))
    for place, character in enumerate(text):
        others = {chr(ord(character) ^ 1 << bit) for bit in range(7)} | set(ALPHABET)
        for other in others - {character}:
            assert reason(text[:place] + other + text[place + 1 :]) in {"malformed", "signature"}


@given(tokens, st.data())
def test_a_token_that_is_cut_or_longer_is_refused(token: Token, data: st.DataObject) -> None:
    """At both ends."""
    text = write(token)
    cut = data.draw(st.integers(1, len(text)))
    more = data.draw(st.text(ALPHABET, min_size=1, max_size=9))
    for damaged in (text[:-cut], text[cut:], text + more, more + text):
        assert reason(damaged) in {"malformed", "signature"}


@pytest.mark.parametrize(
    "text",
    [
        None, 3, b"abc", "", " ", "a", "ab", "ä" * 60, "=" * 60, "A" * 60, "Q" * 60, "Q" * 1025, "+" * 60,
        write(SHORT) + "\n", " " + write(SHORT), write(SHORT) + "=", write(SHORT).encode(), [write(SHORT)], math.nan,
    ],
)  # fmt: skip
def test_what_is_no_token_is_malformed(text: object) -> None:
    """Of any type."""
    assert reason(text) in {"malformed", "signature"}
    assert reason(text, TokenKeys()) in {"malformed", "signature"}


@given(st.binary(max_size=120))
def test_bytes_without_a_signature_are_read_or_malformed(body: bytes) -> None:
    """Where nothing is signed, whatever comes is read as what would be written for it, or refused."""
    keys = TokenKeys()
    text = base64.urlsafe_b64encode(b"\x40" + body[1:]).rstrip(b"=").decode()
    try:
        token = keys.read(text)
    except TokenError:
        assert reason(text, keys) == "malformed"
    else:
        assert write(token, keys) == text


def body_of(head: int, prediction: bytes, names: bytes = b"m\n1", row: bytes = b"\0") -> str:
    body = struct.pack(">BIQQQ", head, 1, 2, 3, 4) + row + prediction + names
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


NEGATIVE, NUMBER, TOLERATED, RANKING = 0x48, 0x58, 0x60, 0x68


def test_the_bodies_that_follow_are_readable_but_for_one_thing() -> None:
    """The helper makes tokens."""
    assert TokenKeys().read(body_of(NEGATIVE, struct.pack(">f", 0.25))).predicted == PredictedScore(
        0.25, positive=False
    )
    assert TokenKeys().read(body_of(0x40, b"a\n")).predicted == PredictedClass("a")


@pytest.mark.parametrize(
    ("head", "prediction", "names", "row"),
    [
        (NEGATIVE, struct.pack(">f", 1.5), b"m\n1", b"\0"),
        (NEGATIVE, struct.pack(">f", math.nan), b"m\n1", b"\0"),
        (NEGATIVE, struct.pack(">f", -0.5), b"m\n1", b"\0"),
        (NUMBER, struct.pack(">d", math.inf)[:6], b"m\n1", b"\0"),
        (NUMBER, struct.pack(">d", math.nan)[:6], b"m\n1", b"\0"),
        (TOLERATED, struct.pack(">d", 1.0)[:6] + struct.pack(">f", math.inf), b"m\n1", b"\0"),
        (TOLERATED, struct.pack(">d", 1.0)[:6] + struct.pack(">f", -1.0), b"m\n1", b"\0"),
        (RANKING, b"\0", b"m\n1", b"\0"),
        (RANKING, b"\x15" + b"1234" * 21, b"m\n1", b"\0"),
        (RANKING, b"\x05" + b"1234", b"m\n1", b"\0"),
        (0x40, b"x" * 33 + b"\n", b"m\n1", b"\0"),
        (0x40, b"\xff\n", b"m\n1", b"\0"),
        (0x40, b"no end", b"", b"\0"),
        (0x70, b"a\n", b"m\n1", b"\0"),  # a kind that there is not
        (0x78, b"a\n", b"m\n1", b"\0"),
        (0x41, b"a\n", b"m\n1", b"\0"),  # the spare bit
        (0x80, b"a\n", b"m\n1", b"\0"),  # another format
        (0x00, b"a\n", b"m\n1", b"\0"),
        (0x40, b"a\n", b"m", b"\0"),
        (0x40, b"a\n", b"m\n", b"\0"),
        (0x40, b"a\n", b"\n1", b"\0"),
        (0x40, b"a\n", b"m\n1\n", b"\0"),  # another way to write no variant
        (0x40, b"a\n", b"m\n1\nv\n", b"\0"),
        (0x40, b"a\n", b"m\n1\nv\n00\nx", b"\0"),
        (0x40, b"a\n", b"m m\n1", b"\0"),
        (0x40, b"a\n", b"m" * 129 + b"\n1", b"\0"),
        (0x40, b"a\n", b"m\n1\n" + b"v" * 200, b"\0"),
        (0x40, b"a\n", b"m\n1", b"\x80\0"),  # another way to write 0
        (0x40, b"a\n", b"m\n1", b"\x80\x80\x80\x80\x80\x01"),
    ],
)
def test_what_cannot_be_is_malformed(head: int, prediction: bytes, names: bytes, row: bytes) -> None:
    """Each field is checked when it is read, signed or not."""
    text = body_of(head, prediction, names, row)
    assert reason(text, TokenKeys()) == "malformed"


def test_a_foreign_key_is_refused_and_an_earlier_one_read() -> None:
    """Rotation: put the new secret first, and take the old one away when its tokens are too old."""
    old = write(SHORT, TokenKeys([OTHER_SECRET]))
    assert reason(old) == "signature"
    both = TokenKeys([SECRET, OTHER_SECRET])
    assert both.read(old) == SHORT
    assert both.write([SHORT]) == KEYS.write([SHORT])


def test_unsigned_tokens_are_a_choice_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither reads the tokens of the other, and no variable at all is an error."""
    monkeypatch.setenv(TOKEN_KEYS, UNSIGNED)
    unsigned = TokenKeys.from_environment()
    assert not unsigned.signed
    assert unsigned.read(write(SHORT, unsigned)) == SHORT
    assert reason(write(SHORT, unsigned)) == reason(write(SHORT), unsigned) == "signature"
    monkeypatch.delenv(TOKEN_KEYS)
    with pytest.raises(DeclarationError, match="openssl rand -hex 32"):
        TokenKeys.from_environment()


@pytest.mark.parametrize("text", ["short", f"{SECRET},short", f"{UNSIGNED},{SECRET}"])
def test_a_short_secret_is_named_by_its_place_and_not_shown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The message holds no secret."""
    monkeypatch.setenv(TOKEN_KEYS, text)
    with pytest.raises(DeclarationError) as caught:
        TokenKeys.from_environment()
    assert not any(secret in str(caught.value) for secret in ("short", SECRET))
    assert re.search(r"secret [12] has \d+ characters", str(caught.value))


def test_secrets_of_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces around them do not count."""
    monkeypatch.setenv(TOKEN_KEYS, f" {SECRET} , {OTHER_SECRET},")
    keys = TokenKeys.from_environment()
    assert keys.write([SHORT]) == KEYS.write([SHORT])
    assert keys.read(write(SHORT, TokenKeys([OTHER_SECRET]))) == SHORT


@pytest.mark.parametrize("secret", [SECRET, "s" * 64, "s" * 65, "ß" * 64])
def test_the_signature_is_hmac_sha_256(secret: str) -> None:
    """As Python's own says, for secrets shorter and longer than a block."""
    text = write(SHORT, TokenKeys([secret]))
    body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert hmac.digest(secret.encode(), body[:-8], "sha256")[:8] == body[-8:]


def test_a_digest_of_a_key_is_no_signature_of_a_token() -> None:
    """What is signed as a token begins otherwise than what is digested, and digests differ by text and secret."""
    assert TokenKeys([SECRET]).digest("a") != TokenKeys([OTHER_SECRET]).digest("a")
    assert KEYS.digest("a") != KEYS.digest("b")
    assert len(KEYS.digest("a")) == len(TokenKeys().digest("a")) == 16
    forged = base64.urlsafe_b64encode(b"key\n" + b"x" * 40 + KEYS.digest("x" * 40)[:8]).rstrip(b"=").decode()
    assert reason(forged) == "malformed"


@pytest.mark.parametrize(
    "predicted",
    [PredictedScore(0.123456789, positive=False), PredictedClass("ten chars!"[:8]), PredictedNumber(1e300, None)],
)
def test_a_token_is_short(predicted: PredictedScore | PredictedClass | PredictedNumber) -> None:
    """At most 96 characters for one score or class where the names of model and version have 24 bytes together."""
    token = SHORT._replace(model="m" * 16, version="v" * 8, row=127, predicted=predicted)
    assert len(write(token)) <= 96


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_single_precision_rounds_as_numpy_does(number: float) -> None:
    """Or gives infinity beyond its range."""
    np = pytest.importorskip("numpy")
    with np.errstate(over="ignore"):
        assert single_precision(number) == float(np.float32(number))


def test_an_item_is_what_its_text_hashes_to() -> None:
    """The first 4 bytes of SHA-256."""
    assert item_digest("a") == int.from_bytes(hashlib.sha256(b"a").digest()[:4], "big")


def test_the_documented_example_is_read_byte_by_byte() -> None:
    """The table of docs/tokens.md holds every byte of its example in order, under the secret that stands there."""
    text = DOCS.read_text("utf-8")
    (secret,) = re.findall(r"secret `([^`]+)`", text)
    (example_text,) = re.findall(r"^    ([A-Za-z0-9_-]{40,})$", text, re.MULTILINE)
    cells = re.findall(r"^\| \d[^|]*\|[^|]*\| `([0-9a-f ]+)` \|", text, re.MULTILINE)
    body = base64.urlsafe_b64decode(example_text + "=" * (-len(example_text) % 4))
    assert bytes.fromhex("".join(cells)) == body
    read = TokenKeys([secret]).read(example_text)
    assert (read.model, read.version, read.variant, read.segment, read.row) == ("flight-delay", "3", "canary", "c01", 5)
    assert read.predicted == PredictedScore(0.75, positive=True)
    assert read.sampled


# --- windvane token show ------------------------------------------------------------------------------------------


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["token", "show", *arguments])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out + captured.err

    return run


@pytest.mark.parametrize(
    ("predicted", "kind", "told"),
    [
        (PredictedScore(0.75, positive=True), "binary", {"score": 0.75, "positive": True}),
        (PredictedClass("late"), "multiclass", {"class": "late"}),
        (PredictedNumber(2.5, 0.5), "regression", {"number": 2.5, "tolerance": 0.5}),
        (PredictedRanking((1, 2)), "ranking", {"items": ["00000001", "00000002"]}),
    ],
)
def test_a_token_is_shown(
    show: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, predicted: Any, kind: str, told: object
) -> None:
    """With all that it tells, as JSON and as text."""
    monkeypatch.setenv(TOKEN_KEYS, SECRET)
    token = SHORT._replace(predicted=predicted, variant="canary", segment="c01")
    code, printed = show(write(token), "--json")
    assert code == 0
    assert json.loads(printed) == {
        "model": "m",
        "version": "1",
        "variant": "canary",
        "segment": "c01",
        "time": "2026-01-01T00:00:00+00:00",
        "prediction_id": token.prediction_id,
        "row": 0,
        "sampled": True,
        "kind": kind,
        "predicted": told,
        "signature": "holds",
    }
    code, printed = show(write(token))
    assert code == 0
    assert token.prediction_id in printed
    assert re.search(r"^signature +holds$", printed, re.MULTILINE)


def test_a_signature_that_does_not_hold_is_told_and_fails(
    show: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is shown all the same; no secret is."""
    monkeypatch.setenv(TOKEN_KEYS, OTHER_SECRET)
    code, printed = show(write(SHORT))
    assert code == 1
    assert "does not hold" in printed
    assert OTHER_SECRET not in printed
    monkeypatch.setenv(TOKEN_KEYS, UNSIGNED)
    assert show(write(SHORT))[0] == 1
    code, printed = show(write(SHORT, TokenKeys()))
    assert (code, bool(re.search(r"^signature +none$", printed, re.MULTILINE))) == (0, True)


def test_without_keys_a_token_is_shown_unchecked(
    show: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a forged one: nobody has vouched for it."""
    monkeypatch.delenv(TOKEN_KEYS, raising=False)
    code, printed = show(write(SHORT))
    assert code == 0
    assert "not checked" in printed


def test_what_is_no_token_ends_in_one_line(show: Callable[..., tuple[int, str]]) -> None:
    """With exit code 1."""
    code, printed = show("nonsense")
    assert code == 1
    assert printed.startswith("windvane: this is no token")
    assert printed.count("\n") == 1

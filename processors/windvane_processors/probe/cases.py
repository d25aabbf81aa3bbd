"""Files of known cases: what is asked over HTTP, and what must come back.

Everything is checked when the file is read, so that a case that runs can only pass, fail or get no answer. Places in an
answer are named by JSON Pointers (RFC 6901).
"""

from __future__ import annotations

import json
import math
import os
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPErrorProcessor, Request, build_opener

import yaml
from opentelemetry import propagate

from windvane._table import printable
from windvane._version import __version__
from windvane.baseline import check_model_name, check_model_version
from windvane.declaration import check_text, did_you_mean
from windvane.errors import DeclarationError
from windvane.probe import LONGEST_NAME, LONGEST_TIMEOUT, MAX_PROBES, check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from http.client import HTTPResponse
    from pathlib import Path

__all__ = ["Case", "Cases", "check_url", "load_cases", "value_at"]

_MAX_FILE: Final = 1 << 20
_MAX_ANSWER: Final = 1 << 20
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """One known case.

    Attributes:
        name: of the probe.
        method: of the request.
        path: what follows the endpoint's address, from its `/`.
        headers: sent along; secrets are in them already.
        body: what is sent.
        status: what the answer's status must be.
        expected: what must stand at a place of the answer: its JSON Pointer, in words, and the judge.
        timeout: seconds that the answer may take.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    status: int
    expected: tuple[tuple[str, str, Callable[[object], bool]], ...]
    timeout: float

    def check(self, url: str) -> bool:
        """Ask an endpoint, under the span of the run.

        Args:
            url: address of the endpoint, without the path.

        Raises:
            AssertionError: the answer is not as expected; the message says where.
            OSError: there is no answer.
        """
        headers = {"User-Agent": f"windvane-probe/{__version__}"}
        propagate.inject(headers)
        request = Request(url + self.path, self.body, {**headers, **self.headers}, method=self.method)  # noqa: S310 - http or https: see load_cases
        try:
            with _opener.open(request, timeout=self.timeout) as response:
                status, text = response.status, response.read(_MAX_ANSWER + 1)
        except URLError as error:
            # The reason alone: what is told must not hold the address.
            raise ConnectionError(str(error.reason)) from None
        if status != self.status:
            msg = f"the status is {status}, not {self.status}"
            raise AssertionError(msg)
        if self.expected:
            self._check_answer(text)
        return True

    def _check_answer(self, text: bytes) -> None:
        if len(text) > _MAX_ANSWER:
            msg = f"the answer is longer than {_MAX_ANSWER:,} bytes"
            raise AssertionError(msg)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            msg = "the answer is no JSON that can be read"
            raise AssertionError(msg) from None
        for pointer, words, holds in self.expected:
            where = pointer or "the answer"
            try:
                found = value_at(answer, pointer)
            except (LookupError, ValueError):
                msg = f"{where} is not there; it must be {words}"
                raise AssertionError(msg) from None
            if not holds(found):
                msg = f"{where} is {_shown(found)}, not {words}"
                raise AssertionError(msg)


@dataclass(frozen=True, slots=True)
class Cases:
    """What a file of cases says.

    Attributes:
        model: name of the model that is asked.
        version: its version, where the endpoint serves that alone.
        cases: at least one, each with a name of its own.
    """

    model: str
    version: str | None
    cases: tuple[Case, ...]


class _Unchanged(HTTPErrorProcessor):
    """Takes every answer as it is: no redirection is followed, and a status of an error is an answer too."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        """Return the answer."""
        del request
        return response

    https_response = http_response


_opener: Final = build_opener(_Unchanged)


def load_cases(path: Path, environment: Mapping[str, str] = os.environ) -> Cases:
    """Read a file of cases: YAML, or JSON, which YAML can read.

    Args:
        path: of the file, 1 MiB at most.
        environment: where headers take their secrets from.

    Raises:
        DeclarationError: it cannot be used; the message names the place and the mend.
    """
    document = _Place(str(path), _read(path)).fields("model", "version", "cases")
    model = _checked(document, "model", check_model_name)
    version = _checked(document, "version", check_model_version) if "version" in document.value else None
    listed = document.at("cases").value
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_PROBES:
        document.at("cases").refuse(f"must be a list of 1 to {MAX_PROBES} cases")
    cases = [_case(_Place(f"{path}: cases[{i}]", case), environment) for i, case in enumerate(listed)]
    names = [case.name for case in cases]
    for i, name in enumerate(names):
        if name in names[:i]:
            document.at(f"cases[{i}].name").refuse(f"{name!r} stands twice; each case needs a name of its own")
    return Cases(model, version, tuple(cases))


@dataclass(frozen=True, slots=True)
class _Place:
    """A value in the file, and where it stands."""

    where: str
    value: Any

    def refuse(self, why: str) -> NoReturn:
        msg = f"{self.where}: {why}"
        raise DeclarationError(msg)

    def at(self, key: str) -> _Place:
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return _Place(f"{self.where}: {key}" if ": " not in self.where else f"{self.where}.{key}", value)

    def fields(self, *known: str) -> _Place:
        if not isinstance(self.value, dict):
            self.refuse(f"must be a mapping with {', '.join(known)}")
        for key in self.value:
            if key not in known:
                self.refuse(f"unknown field {key!r}{did_you_mean(str(key), known)}; there are {', '.join(known)}")
        return self


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE + 1)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise DeclarationError(msg) from error
    if len(text) > _MAX_FILE:
        msg = f"{path}: longer than {_MAX_FILE:,} bytes; part the cases into several files"
        raise DeclarationError(msg)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        msg = f"{path}: is neither YAML nor JSON{line}: {getattr(error, 'problem', None) or 'it cannot be decoded'}"
        raise DeclarationError(msg) from error


def _checked(place: _Place, key: str, check: Callable[[object], str]) -> str:
    try:
        return check(place.at(key).value)
    except DeclarationError as error:
        place.refuse(str(error))


def _case(place: _Place, environment: Mapping[str, str]) -> Case:
    place.fields("name", "request", "expect", "timeout")
    name = place.at("name")
    check_text(name.where, name.value, longest=LONGEST_NAME)
    timeout = _TIMEOUT
    if "timeout" in place.value:
        timeout = place.at("timeout").value
        check_seconds(place.at("timeout").where, timeout, LONGEST_TIMEOUT)
    request = place.at("request").fields("method", "path", "headers", "json", "text")
    body, content_type = _body(request)
    method = request.value.get("method", "GET" if body is None else "POST")
    if method not in _METHODS:
        request.at("method").refuse(f"{method!r} is none of {', '.join(_METHODS)}")
    path = request.value.get("path", "/")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or not (path.isascii() and path.isprintable())
        or " " in path
    ):
        request.at("path").refuse(f"{path!r} must begin with / and be percent-encoded, such as /predict")
    headers = _headers(request.at("headers"), environment)
    if content_type and not any(header.lower() == "content-type" for header in headers):
        headers["Content-Type"] = content_type
    expect = place.at("expect").fields("status", "json")
    status = expect.value.get("status", 200)
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:  # noqa: PLR2004 - HTTP's own
        expect.at("status").refuse(f"{status!r} is no status, such as 200")
    return Case(name.value, method, path, headers, body, status, tuple(_expected(expect)), timeout)


def _body(request: _Place) -> tuple[bytes | None, str]:
    """Return what is sent, and its type."""
    if "json" in request.value and "text" in request.value:
        request.refuse("has both json and text; give one")
    if "json" in request.value:
        try:
            return json.dumps(request.value["json"], allow_nan=False).encode(), "application/json"
        except (TypeError, ValueError) as error:
            request.at("json").refuse(f"cannot be written as JSON: {error}; put dates in quotes")
    if "text" in request.value:
        if not isinstance(request.value["text"], str):
            request.at("text").refuse("must be a text; for anything else there is json")
        return request.value["text"].encode(), "text/plain; charset=utf-8"
    return None, ""


def _headers(place: _Place, environment: Mapping[str, str]) -> dict[str, str]:
    if place.value is None:
        return {}
    if not isinstance(place.value, dict):
        place.refuse("must be a mapping of names to values")
    headers = {}
    for name, value in place.value.items():
        header = place.at(str(name))
        if not isinstance(name, str) or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            header.refuse("is no name of a header")
        if not isinstance(value, str):
            header.refuse("must be a text; put it in quotes")
        template = string.Template(value)
        if not template.is_valid():
            header.refuse("has a $ that begins no ${VARIABLE}; write $$ for a $ itself")
        for variable in template.get_identifiers():
            if variable not in environment:
                header.refuse(f"the environment has no variable {variable}; set it")
        headers[name] = template.substitute(environment)
        if not (headers[name].isascii() and headers[name].isprintable()):
            header.refuse("must be printable ASCII on one line, also what its variables hold")
    return headers


def _expected(expect: _Place) -> Iterable[tuple[str, str, Callable[[object], bool]]]:
    places = expect.at("json")
    if places.value is None:
        return
    if not isinstance(places.value, dict):
        places.refuse('must be a mapping of JSON Pointers to conditions, such as "/0": {between: [0.5, 1]}')
    for pointer, condition in places.value.items():
        place = _Place(f"{places.where}[{pointer!r}]", condition)
        if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
            place.refuse("is no JSON Pointer; it is empty for the whole answer, or begins with /, such as /0/score")
        yield pointer, *_condition(place)


def _condition(place: _Place) -> tuple[str, Callable[[object], bool]]:
    """Return a condition in words, and its judge."""
    keys = set(place.fields("equals", "between", "approx", "within").value)
    if keys not in ({"equals"}, {"between"}, {"approx", "within"}):
        place.refuse("must have equals, or between, or approx and within")
    if keys == {"equals"}:
        wanted = place.value["equals"]
        return _shown(wanted), lambda found: _same(found, wanted)
    if keys == {"between"}:
        bounds = place.value["between"]
        if (
            not isinstance(bounds, list)
            or len(bounds) != 2  # noqa: PLR2004 - a pair
            or not all(map(_is_number, bounds))
            or bounds[0] > bounds[1]
        ):
            place.at("between").refuse("must be two numbers, the lower first, such as [0.5, 1]; both belong to it")
        lower, upper = bounds
        return f"between {lower:g} and {upper:g}", lambda found: _is_number(found) and lower <= found <= upper
    middle, tolerance = place.value["approx"], place.value["within"]
    if not _is_number(middle) or not _is_number(tolerance) or tolerance <= 0:
        place.refuse("approx must be a number, and within a number above 0: how far off the answer may be")
    return (
        f"{middle:g} within {tolerance:g}",
        # The sums of what is written in decimals are not exact.
        lambda found: _is_number(found) and abs(found - middle) <= tolerance * (1 + 1e-9),
    )


def _is_number(value: Any) -> bool:  # noqa: ANN401 - whatever stands in the file or the answer
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _same(found: object, wanted: object) -> bool:
    """Whether two values of JSON are equal; in Python True is 1."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[key], wanted[key]) for key in found)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def value_at(answer: Any, pointer: str) -> object:  # noqa: ANN401 - any JSON
    """Return what a JSON Pointer points at.

    Raises:
        LookupError: there is nothing.
        ValueError: the index of a list is no number.
    """
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(answer, dict):
            answer = answer[key]
        elif isinstance(answer, list) and key.isdecimal():
            answer = answer[int(key)]
        else:
            raise KeyError(key)
    found: object = answer
    return found


def _shown(value: object) -> str:
    return printable(json.dumps(value, default=str))


def check_url(url: str) -> str:
    """Return the address of an endpoint without a slash at its end.

    Raises:
        DeclarationError: it is no address over HTTP, or holds what belongs into a header or a case.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        msg = "--url: is no address such as https://models.example.com"
        raise DeclarationError(msg)
    if parts.username is not None or parts.query or parts.fragment:
        msg = (
            "--url: holds a user, a query or a fragment; secrets go into the headers of a case as ${VARIABLE}, the "
            "rest into its path"
        )
        raise DeclarationError(msg)
    return url.rstrip("/")

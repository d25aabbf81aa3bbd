"""`windvane dashboards diff` and `push`: the dashboards in a folder of a Grafana's own, people's changes left alone.

What was sent last is known by the message of a dashboard's version, which holds a fingerprint of it: a version that
somebody saved by hand has another message, so it is never taken for ours. Paths and answers are those of Grafana's HTTP
API, "Dashboard", "Folder/Dashboard search", "Folder" and "Dashboard versions" in its documentation (11 to 13).
"""

from __future__ import annotations

import hashlib
import http
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from windvane._version import __version__
from windvane_dashboards.boards import BOARDS
from windvane_dashboards.server import CommandError, Server, grafana_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from windvane_dashboards.grafana import Json

__all__ = ["Change", "Folder", "diff", "plan", "push"]

_FOLDER: Final = "windvane"
_UID_PREFIX: Final = "windvane-"
_MESSAGE: Final = re.compile(r"windvane \S+ ([0-9a-f]{16})")
_OF_GRAFANA: Final = ("id", "version")  # set by Grafana with every save
_MOST_DIFFERENCES: Final = 20
_LONGEST_VALUE: Final = 70


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--overwrite",
            is_flag=True,
            help="Replace also what windvane did not save last.",
        ),
        click.option("--folder", metavar="UID", default=_FOLDER, show_default=True, help="Folder, made where missing."),
        click.option(
            "--grafana", "url", metavar="URL", required=True, help="Grafana 11 or newer; its token is in GRAFANA_TOKEN."
        ),
    ):
        function = option(function)
    return function


@click.command("diff")
@_options
def diff(*, url: str, folder: str, overwrite: bool) -> None:
    """Show what a push would change; exit code 1 where there is something."""
    changes = plan(BOARDS, Folder(_server(url), folder), overwrite=overwrite)
    _show(changes)
    if any(change.action != "unchanged" for change in changes):
        raise click.exceptions.Exit(1)


@click.command("push")
@click.option("--yes", is_flag=True, help="Do it; without this, only show what would change.")
@_options
def push(*, url: str, folder: str, overwrite: bool, yes: bool) -> None:
    """Send the dashboards to a folder of Grafana.

    Shows what would be made, changed and deleted; --yes does it. Dashboards that somebody has changed by hand are left
    as they are unless --overwrite is given; their history keeps what was there. Data sources, alerting and all other
    folders are never written.
    """
    target = Folder(_server(url), folder)
    changes = plan(BOARDS, target, overwrite=overwrite)
    _show(changes)
    todo = [change for change in changes if change.action in {"make", "change", "delete"}]
    if not todo:
        click.echo("nothing to do")
    elif not yes:
        click.echo("nothing was sent; --yes does it")
    else:
        for change in todo:
            target.apply(change)
        click.echo(f"done: {len(todo)} of {len(changes)} dashboards")
    if any(change.action == "kept" for change in changes):
        click.echo("kept as somebody saved them; --overwrite replaces them", err=True)
        raise click.exceptions.Exit(1)


def _server(url: str) -> Server:
    return grafana_server(
        url,
        needs="read, make and write folders, and read, write and delete dashboards in them",
        missing="is this its address, with its sub-path?",
    )


def _show(changes: Iterable[Change]) -> None:
    for change in changes:
        click.echo(f"{change.action:<9} {change.uid}{f': {change.reason}' if change.reason else ''}")
        for line in change.detail:
            click.echo(f"          {line}")


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one dashboard.

    Attributes:
        action: `make`, `change`, `delete`, `unchanged`, or `kept`: somebody else saved it last.
        uid: of the dashboard.
        board: what it shall be; None where it goes.
        version: the one that it replaces, so that a change made meanwhile is not lost.
        folder: where it is, for people may have moved it; empty for where new ones go.
        reason: in a few words.
        detail: what differs.
    """

    action: str
    uid: str
    board: Json | None
    version: int = 0
    folder: str = ""
    reason: str = ""
    detail: tuple[str, ...] = ()


def plan(boards: Iterable[Json], folder: Folder, *, overwrite: bool) -> list[Change]:
    """Say what makes the dashboards that are there what they shall be.

    Args:
        boards: what shall be there.
        folder: where.
        overwrite: replace also what somebody else saved last.

    Raises:
        CommandError: Grafana does not answer, or refuses.
    """
    expected = {board["uid"]: board for board in boards}
    changes = [_change(board, folder.dashboard(uid), overwrite=overwrite) for uid, board in expected.items()]
    for uid in sorted(set(folder.uids()) - set(expected)):
        there = folder.dashboard(uid)
        if there is not None and there.fingerprint:
            changes.append(Change("delete", uid, None, reason="of another version of windvane"))
    return changes


def _change(board: Json, there: _There | None, *, overwrite: bool) -> Change:
    uid = board["uid"]
    if there is None:
        return Change("make", uid, board, reason=f"{len(board['panels'])} panels")
    found = list(differences(there.board, board))
    # Grafana may lay out anew what it was sent, so what was sent decides.
    if not found or there.fingerprint == fingerprint(board):
        return Change("unchanged", uid, board)
    detail = tuple(found[:_MOST_DIFFERENCES])
    if len(found) > len(detail):
        detail = (*detail, f"... and {len(found) - len(detail)} more")
    if there.provisioned:
        return Change("kept", uid, board, reason="Grafana loads it from files; change it there", detail=detail)
    if not there.fingerprint and not overwrite:
        return Change("kept", uid, board, reason=f"saved by {there.saved_by}", detail=detail)
    reason = "" if there.fingerprint else f"in place of what {there.saved_by} saved"
    return Change("change", uid, board, there.version, there.folder, reason, detail)


def fingerprint(board: Json) -> str:
    """Return what tells a dashboard from others, whatever Grafana numbers it."""
    kept = {key: value for key, value in board.items() if key not in _OF_GRAFANA}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: object, new: object, at: str = "") -> Iterator[str]:
    """Say what differs, a line each; panels and variables go by their titles and names."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if at or key not in _OF_GRAFANA:
                yield from differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = _named(old), _named(new)
        for name in dict.fromkeys([*before, *after]):
            yield from differences(before.get(name), after.get(name), f"{at}[{name}]")
    elif old != new:
        yield f"{at}: {_shown(old)} -> {_shown(new)}"


def _named(items: list[Any]) -> dict[str, Any]:
    names = [
        str(item.get("title") or item.get("name") or item.get("refId") or i) if isinstance(item, dict) else str(i)
        for i, item in enumerate(items)
    ]
    return dict(zip(names if len(set(names)) == len(names) else map(str, range(len(items))), items, strict=True))


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


@dataclass(frozen=True, slots=True)
class _There:
    """A dashboard as Grafana has it; its fingerprint is empty where windvane did not save it last."""

    board: Json
    version: int
    folder: str
    provisioned: bool
    saved_by: str
    fingerprint: str


class Folder:
    """The dashboards in a folder of Grafana.

    Args:
        server: the Grafana.
        uid: of the folder.
    """

    def __init__(self, server: Server, uid: str) -> None:
        """Keep where it is; nothing is sent yet."""
        self._server = server
        self._uid = uid

    def uids(self) -> list[str]:
        """Return the uids of generated dashboards in the folder, of any version."""
        query = f"type=dash-db&limit=5000&folderUIDs={quote(self._uid, safe='')}"
        found = self._server.json("GET", f"/api/search?{query}")
        return [one["uid"] for one in found if one["uid"].startswith(_UID_PREFIX)]

    def dashboard(self, uid: str) -> _There | None:
        """Return a dashboard, in whichever folder it is; None where there is none."""
        path = f"/api/dashboards/uid/{quote(uid, safe='')}"
        status, body = self._server.request("GET", path, accept=[http.HTTPStatus.NOT_FOUND])
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        try:
            found = json.loads(body)
            board, meta = found["dashboard"], found["meta"]
            version = int(board["version"])
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self._server} answers with something else than a dashboard: is this its address?"
            raise CommandError(msg) from error
        told = _MESSAGE.fullmatch(self._message(path, version))
        return _There(
            board,
            version,
            str(meta.get("folderUid") or ""),
            bool(meta.get("provisioned")),
            str(meta.get("updatedBy") or "somebody"),
            told[1] if told else "",
        )

    def _message(self, path: str, version: int) -> str:
        """Return what was said when a version was saved."""
        answer = self._server.json("GET", f"{path}/versions?limit=10")
        versions = answer.get("versions", []) if isinstance(answer, dict) else answer  # a list before Grafana 12
        return next((str(one.get("message") or "") for one in versions if one.get("version") == version), "")

    def apply(self, change: Change) -> None:
        """Make one change.

        Raises:
            CommandError: it is refused; what was changed before stays, and another push goes on from there.
        """
        try:
            if change.board is None:
                path = f"/api/dashboards/uid/{quote(change.uid, safe='')}"
                self._server.request("DELETE", path, accept=[http.HTTPStatus.NOT_FOUND])
                return
            if change.action == "make":
                self._make_folder()
            self._save(change, change.board)
        except CommandError as error:
            msg = f"{change.action} {change.uid}: {error}"
            raise CommandError(msg) from error

    def _save(self, change: Change, board: Json) -> None:
        body = {
            "dashboard": {**board, "id": None, "version": change.version},
            "folderUid": self._uid if change.action == "make" else change.folder,
            "message": f"windvane {__version__} {fingerprint(board)}",
            "overwrite": False,
        }
        status, told = self._server.request(
            "POST",
            "/api/dashboards/db",
            body=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            accept=[http.HTTPStatus.PRECONDITION_FAILED, http.HTTPStatus.CONFLICT],
        )
        if status in {http.HTTPStatus.PRECONDITION_FAILED, http.HTTPStatus.CONFLICT}:
            # 412 has several reasons, told apart by `status`: another title or uid in the way, a plugin's dashboard.
            if status == http.HTTPStatus.PRECONDITION_FAILED and b"version-mismatch" not in told:
                raise CommandError(self._server.refusal(status, told))
            msg = f"somebody saved it meanwhile ({status}); look at it with `windvane dashboards diff`, then push again"
            raise CommandError(msg)

    def _make_folder(self) -> None:
        path = f"/api/folders/{quote(self._uid, safe='')}"
        status, _ = self._server.request("GET", path, accept=[http.HTTPStatus.NOT_FOUND])
        if status == http.HTTPStatus.NOT_FOUND:
            body = json.dumps({"uid": self._uid, "title": self._uid}).encode()
            taken = [http.HTTPStatus.CONFLICT, http.HTTPStatus.PRECONDITION_FAILED]  # somebody else was quicker
            headers = {"content-type": "application/json"}
            self._server.request("POST", "/api/folders", body=body, headers=headers, accept=taken)

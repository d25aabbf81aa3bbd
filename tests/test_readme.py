"""What the README prints works as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from receivers import OtlpReceiver

from windvane import semconv

ROOT = Path(__file__).parents[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_the_quick_start_runs_as_printed_and_its_counts_arrive(tmp_path: Path) -> None:
    """The quick start predicts, and both rows and the reference reach an OTLP receiver before the process ends."""
    (code,) = blocks("python")
    script = tmp_path / "quick_start.py"
    script.write_text(code)
    receiver = OtlpReceiver()
    try:
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        done = subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        receiver.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.1466, 0.495]\n"
    assert done.stderr == ""
    wanted = {semconv.MODEL_NAME.name: "flight-delay", semconv.FEATURE_NAME.name: "distance"}
    assert sum(value for _, value in receiver.points(semconv.FEATURE_OBSERVATIONS.name, **wanted)) == 2
    assert sum(value for _, value in receiver.points(semconv.FEATURE_REFERENCE_OBSERVATIONS.name, **wanted)) == 5000
    assert len(receiver.spans()) == 1


def test_every_linked_file_exists() -> None:
    """No link of the README or the docs leads nowhere."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"

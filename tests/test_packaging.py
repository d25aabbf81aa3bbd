"""The wheel holds what an installation needs, and the bare wheel needs nothing but numpy and OpenTelemetry's API."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BARE = """
import sys
import windvane

model = windvane.Model("m", version="1", baseline=windvane.Baseline.from_frame(
    {"x": [float(i) for i in range(500)], "y": [float(i) for i in range(500)]}, model="m", version="1", output="y"))

@model.predict
def predict(rows):
    return [row["x"] for row in rows]

assert predict([{"x": 1.0}]) == [1.0]
assert not windvane.flush(1), "there is nothing to export with"
try:
    windvane.configure()
except windvane.DeclarationError as error:
    assert "pip install 'windvane[otlp]'" in str(error), error
else:
    raise AssertionError("configure() worked without the SDK")
extra = {"click", "rich", "pandas", "pyarrow", "yaml", "opentelemetry.sdk"} & set(sys.modules)
assert not extra, extra
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert (ROOT / "dashboards" / "preview" / "dist" / "index.html").is_file(), "run `make preview` first"
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return built


def environment(folder: Path, *, pip: bool) -> Path:
    venv.create(folder, with_pip=pip)
    return folder / "bin" / "python"


def test_the_bare_wheel_imports_and_decorates(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment, without extras, a function can be decorated and the missing extras are named."""
    python = environment(tmp_path / "bare", pip=True)
    locked = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(line.removesuffix(" \\") for line in locked) + "\n")
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *quiet, "-c", constraints, wheel], check=True, timeout=240)
    done = subprocess.run([python, "-c", BARE], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    command = subprocess.run(
        [python.with_name("windvane"), "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert command.returncode == 1
    assert command.stderr == "windvane: the command line needs an extra: pip install 'windvane[cli]'\n"


def test_the_wheel_with_all_extras_holds_what_the_commands_read(wheel: Path, tmp_path: Path) -> None:
    """Outside a checkout every command has its help, and configurations and rules are found in the package."""
    folder = tmp_path / "all"
    python = environment(folder, pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    # The packages of the extras, which are installed beside the tests; editable installs do not come along.
    (site / "extras.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*install, "--no-compile", "--target", site, "--upgrade", wheel], check=True, timeout=120)
    for arguments in (
        ["demo"],
        ["stack"],
        ["baseline", "build"],
        ["baseline", "show"],
        ["rules"],
        ["dashboards"],
        ["preview"],
        ["probe", "run"],
    ):
        done = subprocess.run(
            [python, "-m", "windvane", *arguments, "--help"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Usage: windvane {' '.join(arguments)}")
    code = """
import windvane_processors
from windvane_processors.stack.config import collector_config, generated
assert "site-packages" in windvane_processors.__file__, windvane_processors.__file__
assert (collector_config() / "collector.yaml").is_file()
assert "site-packages" in str(collector_config())
assert list((generated() / "rules").glob("*.yml"))
from windvane_dashboards.cli_rules.explain import runbook
assert runbook("MLFeatureDrift")
from windvane_dashboards.preview import page_folder
assert "site-packages" in str(page_folder())
assert "MIT License" in (page_folder() / "NOTICES.txt").read_text()
"""
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

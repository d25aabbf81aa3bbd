"""`windvane rules route`: three foreign routing trees, by amtool and by a real Alertmanager."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from receivers import WebhookReceiver

from windvane_dashboards.cli_rules import command
from windvane_dashboards.cli_rules.scratch_prometheus import ScratchPrometheus
from windvane_dashboards.rules import render
from windvane_dashboards.server import Server
from windvane_processors.stack import Child, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("rules-route")]

TREES = Path(__file__).parent / "trees"
ODD = 'données "ä", b\\c'
RULES = [
    rule
    for text in render().values()
    for group in yaml.safe_load(text)["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
TICKETS = {rule["alert"] for rule in RULES if rule["labels"].get("severity") == "ticket"}
NAMESPACE = ("--label", "namespace=ml-serving")

# Tree, model's options, and who is to get its pages and its tickets.
CASES: dict[str, tuple[str, tuple[str, ...], list[str], list[str]]] = {
    "team": ("by_team", ("--team", "pricing"), ["archive", "pricing-pager"], ["archive", "pricing-chat"]),
    "team, own severity": ("by_team", ("--team", "search", "--severity", "ticket"), *[["archive", "search-board"]] * 2),
    "team of odd characters": ("by_team", ("--team", ODD), *[["archive", "odd-chat"]] * 2),
    "severity": ("by_severity", ("--severity", "critical"), ["pager"], ["tracker"]),
    "severity, none declared": ("by_severity", (), ["pager"], ["tracker"]),
    "severity, unknown": ("by_severity", ("--severity", "sev1"), ["mail"], ["tracker"]),
    "namespace": ("by_namespace", NAMESPACE, ["ml-serving/team"], ["ml-serving/quiet"]),
    "no namespace": ("by_namespace", (), ["null"], ["null"]),
}


def _route(tree: str | Path, *options: str) -> tuple[int, str]:
    path = TREES / f"{tree}.yml" if isinstance(tree, str) else tree
    done = CliRunner().invoke(command, ["route", "--alertmanager-config", str(path), *options])
    return done.exit_code, done.output


@pytest.mark.parametrize("case", CASES)
def test_each_alert_reaches_who_the_tree_says(case: str) -> None:
    """By team, by severity and by namespace, in trees that know nothing of models."""
    tree, options, pages, tickets = CASES[case]
    code, output = _route(tree, "--model", 'mödel, "1"', *options, "--json")
    told = json.loads(output)
    assert [one["labels"]["alertname"] for one in told] == [rule["alert"] for rule in RULES]
    for one in told:
        expected = tickets if one["labels"]["alertname"] in TICKETS else pages
        assert one["receivers"] == expected, one
    assert code == int(any(one["default"] for one in told))


def test_what_ends_in_the_default_receiver_is_named() -> None:
    """With the label that the tree wants and the alerts do not carry."""
    code, output = _route("by_namespace", "--model", "fares")
    assert code == 1
    assert "null (the default)" in output
    assert f"{len(RULES)} of {len(RULES)} end in the default receiver, null." in output
    assert "The tree also routes by namespace, which these alerts do not carry" in output
    code, output = _route("by_severity", "--model", "fares", "--severity", "sev1")
    assert code == 1
    assert f"{len(RULES) - len(TICKETS)} of {len(RULES)} end in the default receiver, mail." in output
    assert "also routes by" not in output


# --- A real Alertmanager --------------------------------------------------------------------------


@contextlib.contextmanager
def _alertmanager(program: Path, tree: Path, hooks: WebhookReceiver, folder: Path) -> Iterator[str]:
    """Run one with the tree as it is; its webhooks are files beside it, found from its working directory."""
    (folder / "hooks").mkdir()
    for line in tree.read_text().splitlines():
        if "url_file: " in line:
            name = line.partition("hooks/")[2].partition("}")[0]
            (folder / "hooks" / name).write_text(f"{hooks.endpoint}/{name}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    arguments = [f"--config.file={tree}", "--storage.path=data", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments, "--cluster.listen-address="], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 20
        while not answers(f"http://{address}/-/ready"):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("tree", ["by_team", "by_severity", "by_namespace"])
def test_a_real_alertmanager_delivers_as_the_command_says(
    tree: str, stack_binaries: dict[str, Path], tmp_path: Path
) -> None:
    """Every alert of every model is posted and arrives at just those webhooks; the tree's file stays as it was."""
    path = TREES / f"{tree}.yml"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    expected: dict[tuple[str, ...], set[str]] = {}
    alerts = []
    for number, (one, options, _, _) in enumerate(CASES.values()):
        if one == tree:
            _, output = _route(tree, "--model", f'm{number} {{é}} "q" \\ =~', *options, "--json")
            for told in json.loads(output):
                alerts.append({"labels": {**told["labels"], "ml_feature_name": 'wind "10m", {x="y"}'}})
                expected[_key(told["labels"])] = {name.replace("/", "_") for name in told["receivers"]}
    hooks = WebhookReceiver()
    try:
        with _alertmanager(stack_binaries["alertmanager"], path, hooks, tmp_path) as url:
            body, headers = json.dumps(alerts).encode(), {"content-type": "application/json"}
            Server("Alertmanager", url).request("POST", "/api/v2/alerts", body=body, headers=headers)
            deadline = time.monotonic() + 20
            while _arrived(hooks) != expected and time.monotonic() < deadline:
                time.sleep(0.05)
    finally:
        hooks.close()
    assert len(expected) == len({_key(alert["labels"]) for alert in alerts}) > len(RULES)
    assert _arrived(hooks) == expected
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def _key(labels: dict[str, str]) -> tuple[str, ...]:
    return labels["ml_model_name"], labels["alertname"]


def _arrived(hooks: WebhookReceiver) -> dict[tuple[str, ...], set[str]]:
    arrived: dict[tuple[str, ...], set[str]] = {}
    for name, alert in list(hooks.alerts):
        arrived.setdefault(_key(alert["labels"]), set()).add(name)
    return arrived


# --- Models from Prometheus -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(stack_binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with external labels and two models, of which one has no owner."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("global: {external_labels: {namespace: ml-serving, cluster: on}}\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    flags = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--web.enable-remote-write-receiver",
    ]
    child = Child("prometheus", [stack_binaries["prometheus"], *flags], folder / "log")
    child.start(lambda: answers(f"http://{address}/-/ready"))
    try:
        now = int(time.time()) * 1000
        owners: list[dict[str, str]] = [{"team": "pricing", "severity": "critical"}, {}]
        ScratchPrometheus(f"http://{address}").write(
            ({"__name__": "ml_model_info", "ml_model_name": f"m{i}", "ml_model_version": "1", **owner}, [(now, 1.0)])
            for i, owner in enumerate(owners)
        )
        yield f"http://{address}"
    finally:
        child.stop()


def test_models_owners_and_external_labels_come_from_prometheus(prometheus: str) -> None:
    """Each model as it declares itself; without an owner it ends in the default receiver."""
    code, output = _route("by_team", "--prometheus", prometheus, "--json")
    told: list[dict[str, Any]] = json.loads(output)
    receivers = {(one["labels"]["ml_model_name"], one["labels"]["alertname"]): one["receivers"] for one in told}
    assert {model for model, _ in receivers} == {"m0", "m1"}
    assert receivers["m0", "MLModelErrors"] == ["archive", "pricing-pager"]
    assert receivers["m1", "MLModelErrors"] == ["archive"]
    assert code == 0
    code, output = _route("by_namespace", "--prometheus", prometheus)
    assert code == 0
    assert "ml-serving/quiet" in output


def test_a_label_that_is_named_goes_before_an_external_one(prometheus: str) -> None:
    """As where it is relabelled on the way."""
    code, output = _route("by_namespace", "--prometheus", prometheus, "--label", "namespace=kube-system", "--json")
    assert code == 0
    assert {name for one in json.loads(output) for name in one["receivers"]} == {"platform"}


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [b", "is no configuration of an Alertmanager"),
        ("groups: []", "it needs `route:` with a `receiver:`"),
        ("route: {receiver: a}", "amtool refuses"),
        ("route: {receiver: a, routes: [{matchers: [team]}]}\nreceivers: [{name: a}]", "amtool refuses"),
    ],
    ids=["no YAML", "no route", "no receiver of that name", "no matcher"],
)
def test_a_file_that_is_no_configuration_is_named(text: str, said: str, tmp_path: Path) -> None:
    """Exit code 2, one line."""
    path = tmp_path / "alertmanager.yml"
    path.write_text(text)
    code, output = _route(path, "--model", "a")
    assert code == 2
    assert said in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "either --prometheus URL or --model NAME"),
        (["--model", "a", "--label", "b"], "'b' is not NAME=VALUE"),
        (["--prometheus", "http://127.0.0.1:1", "--team", "a"], "--team and --severity go with --model"),
        (["--prometheus", "http://127.0.0.1:1"], "connection refused"),
    ],
    ids=["no model", "no label", "two sources", "refused"],
)
def test_bad_options_end_in_a_line(options: list[str], said: str) -> None:
    """Exit code 2."""
    code, output = _route("by_team", *options)
    assert code == 2
    assert said in output

"""The preview in a browser: the six dashboards on the running demo, its incident, and what it must withstand."""

from __future__ import annotations

import itertools
import json
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from windvane import semconv
from windvane_dashboards.boards import BOARDS, render
from windvane_dashboards.preview import Preview

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chromium import Chromium

    from windvane_processors.demo.story import Running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400), pytest.mark.xdist_group("browser")]

TIME = "from=now-10m&to=now&refresh="
HOSTILE = """<script>window.harmed=1</script><img src=x onerror="window.harmed=1">"'\\"""


def address(demo: Running, uid: str, query: str = TIME) -> str:
    parts = urlsplit(demo.dashboards)
    return f"{parts.scheme}://{parts.netloc}/d/{uid}?{query}"


@pytest.mark.parametrize("board", BOARDS, ids=[board["uid"] for board in BOARDS])
def test_every_dashboard_is_drawn_without_a_complaint(
    board: dict[str, object], demo: Running, chromium: Chromium
) -> None:
    """No error in the console, no failed request, and every panel shows what it is for."""
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]  # type: ignore[attr-defined]
    chromium.open(address(demo, str(board["uid"])))
    assert chromium.complaints() == []
    assert [title for title, _ in chromium.panels()] == [panel["title"] for panel in panels]
    assert chromium.driver.find_elements(By.CSS_SELECTOR, "main [data-testid*='status']") == []
    for panel, (title, text) in zip(panels, chromium.panels(), strict=True):
        if panel["type"] in {"timeseries", "barchart", "heatmap"} and "o data" not in text:
            assert chromium.panel(title, "canvas")
        if panel["type"] == "table" and "o data" not in text:
            assert chromium.table(title)
    empty = [title for title, text in chromium.panels() if text.lower() == "no data"]
    assert len(empty) < len(panels) / 4, empty


def test_the_incident_leads_from_the_fleet_to_the_guilty_feature(demo: Running, chromium: Chromium) -> None:
    """It stands on Fleet; one click leads to the feature, and two through the model. Time and variables go along."""
    chromium.open(address(demo, "windvane-fleet"))
    alerts = chromium.panel("Firing alerts")
    assert "MLFeatureDrift" in alerts.text
    chromium.click(alerts.find_element(By.LINK_TEXT, "distance"))
    at_feature = urlsplit(chromium.driver.current_url)
    assert at_feature.path == "/d/windvane-feature"
    for kept in ("var-feature=distance", "var-model=flight-delay", "from=now-10m"):
        assert kept in at_feature.query
    ratio = chromium.wait(
        lambda: chromium.panel("PSI / noise").text.partition("\n")[2], "the feature's drift is not shown"
    )
    assert float(ratio.replace("\n", "").replace(" ", "")) > 1

    chromium.open(address(demo, "windvane-fleet"))
    chromium.click(chromium.table("Models").find_element(By.LINK_TEXT, "flight-delay"))
    assert urlsplit(chromium.driver.current_url).path == "/d/windvane-model"
    chromium.click(chromium.panel("Features by drift").find_element(By.LINK_TEXT, "distance"))
    assert urlsplit(chromium.driver.current_url).path == "/d/windvane-feature"
    assert "var-feature=distance" in chromium.driver.current_url
    assert chromium.complaints() == []


def test_the_links_at_the_top_keep_time_and_variables(demo: Running, chromium: Chromium) -> None:
    """From Feature to Objectives the model, its version and the time stay; "back" returns."""
    chromium.open(address(demo, "windvane-feature", f"{TIME}&var-feature=distance"))
    chromium.click(chromium.driver.find_element(By.LINK_TEXT, "Objectives"))
    assert urlsplit(chromium.driver.current_url).path == "/d/windvane-objectives"
    assert "from=now-10m" in chromium.driver.current_url
    assert "var-model=flight-delay" in chromium.driver.current_url
    chromium.driver.back()
    chromium.wait(lambda: "var-feature=distance" in chromium.driver.current_url, "back does not return")
    chromium.settle()
    assert "ML / Feature" in chromium.driver.title


def test_a_click_on_the_legend_keeps_one_series(demo: Running, chromium: Chromium) -> None:
    """The others are struck from the drawing, and the same click again brings them back."""
    chromium.open(address(demo, "windvane-model"))

    def disabled() -> int:
        labels = chromium.panel("Latency of successful calls").find_elements(
            By.CSS_SELECTOR, "[class*=LegendLabelDisabled]"
        )
        return len(labels)

    def median() -> object:
        panel = chromium.panel("Latency of successful calls")
        return panel.find_element(By.XPATH, ".//button[normalize-space()='p50']")

    assert disabled() == 0
    chromium.click(median())  # type: ignore[arg-type]
    assert disabled() >= 2
    chromium.click(median())  # type: ignore[arg-type]
    assert disabled() == 0


@pytest.mark.parametrize(
    ("uid", "title", "told"),
    [
        ("windvane-model", "Latency of successful calls", "p95"),
        ("windvane-feature", "Distribution over time", "%"),
        ("windvane-feature", "Live against reference", "reference"),
    ],
)
def test_a_hover_tells_the_values(uid: str, title: str, told: str, demo: Running, chromium: Chromium) -> None:
    """Over lines, a heatmap and bars."""
    chromium.open(address(demo, uid, f"{TIME}&var-feature=distance"))
    plot = chromium.panel(title).find_element(By.CSS_SELECTOR, ".u-over")
    chromium.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    portal = chromium.driver.find_element(By.ID, "grafana-portal-container")
    # The newest values are near the right end; how near depends on how busy the machine is.
    right = plot.size["width"] // 2
    places = itertools.cycle(range(right - 12, 0, -12) if "Live" not in title else (0, 12))

    def tells() -> bool:
        ActionChains(chromium.driver).move_to_element_with_offset(plot, next(places), 10).perform()
        return told in portal.text

    chromium.wait(tells, "no tooltip")
    ActionChains(chromium.driver).move_to_element_with_offset(plot, 0, -400).perform()


def test_a_phone_shows_one_column(demo: Running, chromium: Chromium) -> None:
    """No panel is wider than the screen, and the page does not scroll sideways."""
    chromium.resize(390, 844, phone=True)
    try:
        chromium.open(address(demo, "windvane-model"))
        widths = chromium.driver.execute_script(
            "return [...document.querySelectorAll('main section')].map((panel) => panel.getBoundingClientRect().right)"
        )
        assert max(widths) <= 390
        assert chromium.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        chromium.resize(1280, 900)


def test_the_theme_can_be_changed(demo: Running, chromium: Chromium) -> None:
    """From light to dark and back; the choice outlives the page."""
    chromium.open(address(demo, "windvane-fleet"))

    def theme() -> str:
        return str(chromium.driver.execute_script("return document.body.className"))

    first = theme()
    chromium.click(chromium.driver.find_element(By.CSS_SELECTOR, "[aria-label$=' theme']"))
    assert {first, theme()} == {"theme-dark", "theme-light"}
    chromium.driver.refresh()
    chromium.settle()
    assert theme() != first
    assert chromium.complaints() == []
    chromium.click(chromium.driver.find_element(By.CSS_SELECTOR, "[aria-label$=' theme']"))


@pytest.fixture
def hostile_series(demo: Running) -> Iterator[None]:
    """A model whose name, team and runbook are an attack, told to the Collector by somebody else than windvane."""
    exporter = OTLPMetricExporter(endpoint=f"{demo.parts.otlp_http}/v1/metrics")
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter, export_interval_millis=500)], shutdown_on_exit=False
    )
    meter = provider.get_meter("hostile")
    model = {semconv.MODEL_NAME.name: HOSTILE, semconv.MODEL_VERSION.name: "1"}
    owner = {semconv.TEAM.name: HOSTILE, semconv.SEVERITY.name: "page", semconv.RUNBOOK_URL.name: "javascript:harm()"}
    meter.create_gauge(semconv.MODEL_INFO.name).set(1, {**model, **owner})
    durations = meter.create_histogram(semconv.PREDICTION_DURATION.name, unit="s")
    query = 'ml_model:ml_model_info:owner{ml_model_name=~"<script>.*"}'
    try:
        deadline = time.monotonic() + 60
        while not demo.parts.query(query):
            assert time.monotonic() < deadline, "the hostile model is not there"
            durations.record(0.01, model)
            time.sleep(0.5)
        yield
    finally:
        provider.shutdown()


@pytest.mark.usefixtures("hostile_series")
def test_hostile_labels_are_texts(demo: Running, chromium: Chromium) -> None:
    """Script in a model's name is shown, not run; quotes in it do not break the queries; no link leads to script."""
    chromium.open(address(demo, "windvane-fleet"))
    assert "<script>window.harmed=1</script>" in chromium.table("Models").text
    link = chromium.table("Models").find_element(By.PARTIAL_LINK_TEXT, "<script>")
    chromium.driver.execute_script("arguments[0].click()", link)  # its middle is cut off by the cell
    chromium.wait(lambda: urlsplit(chromium.driver.current_url).path == "/d/windvane-model", "the link leads nowhere")
    chromium.settle()
    assert quote(HOSTILE, safe="!'()*") in chromium.driver.current_url.replace("%27", "'")
    picker = chromium.driver.find_element(By.ID, "variable-model")
    assert picker.get_attribute("value") == HOSTILE
    hrefs = [a.get_attribute("href") or "" for a in chromium.driver.find_elements(By.TAG_NAME, "a")]
    assert [href for href in hrefs if href.lower().startswith("javascript")] == []
    chromium.open(address(demo, "windvane-compare", f"{TIME}&var-model={quote(HOSTILE)}"))
    assert HOSTILE in chromium.driver.find_element(By.TAG_NAME, "main").text
    assert chromium.driver.execute_script("return window.harmed") is None
    assert chromium.complaints() == []


def test_a_panel_of_unknown_type_is_named_and_the_rest_shows(demo: Running, chromium: Chromium) -> None:
    """A dashboard with a map: the map says that it cannot be shown, the others are as ever."""
    board = json.loads(render()["windvane-fleet.json"])
    board["panels"][0]["type"] = "geomap"
    board["panels"][2]["transformations"] = [{"id": "extrapolate", "options": {}}]
    with Preview(demo.parts.prometheus_url, {"x.json": json.dumps(board)}) as preview:
        chromium.open(f"{preview.url}/?{TIME}")
        texts = [text for _, text in chromium.panels()]
        assert texts[0] == "This panel type is not known to the preview: geomap"
        assert "this transformation is not known to the preview: extrapolate" in texts[2]
        assert "MLFeatureDrift" in chromium.table("Firing alerts").text
        assert chromium.complaints() == []


def test_a_dashboard_that_is_none_is_named_beside_those_that_are(demo: Running, chromium: Chromium) -> None:
    """A link from elsewhere to a dashboard that the preview does not have."""
    chromium.forget()
    chromium.driver.get(address(demo, "somebody-elses"))
    alert = chromium.wait(lambda: chromium.driver.find_elements(By.CSS_SELECTOR, "[role=alert]"), "no alert")[0]
    assert "There is no dashboard somebody-elses" in alert.text
    assert "ML / Fleet" in alert.text


def test_a_prometheus_that_does_not_answer_is_said_and_asked_again(demo: Running, chromium: Chromium) -> None:
    """The page says what is wrong and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Preview(f"http://127.0.0.1:{port}", render()) as preview:
        chromium.driver.get(preview.url)
        alert = chromium.wait(lambda: chromium.driver.find_elements(By.CSS_SELECTOR, "[role=alert]"), "no alert")[0]
        assert "Prometheus does not answer" in alert.text
        assert f"127.0.0.1:{port} does not answer: connection refused" in alert.text
    assert demo.dashboards

"""The report in a real browser: it opens without an error and without a request, and everything on it can be used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from simulations.lab.requirements import Requirement, locate, missing
from simulations.report import Report, write_report
from tests.simulations.report.made import record, report, without_data

pytestmark = pytest.mark.lab
HOUR = 3600
ADVICE = "install it, for example the Debian packages chromium and chromium-driver"
NEEDED = (
    Requirement("Chromium", "chromium", ("--version",), r"Chromium (\d+)", (109,), ADVICE),
    Requirement("ChromeDriver", "chromedriver", ("--version",), r"ChromeDriver (\d+)", (109,), ADVICE),
)
FLAGS = (
    "--headless",
    "--no-sandbox",  # as root it does not start otherwise; it only ever sees our own page
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
HOSTILE = "<img src=x onerror=\"document.title='acted'\"> & '</script>'"


@pytest.fixture(scope="module")
def why_no_browser() -> str:
    return "; ".join(missing(NEEDED))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """With a new profile and a home of its own."""
    home = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    options.binary_location = str(locate(NEEDED[0]))
    for flag in (*FLAGS, f"--user-data-dir={home / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(str(locate(NEEDED[1])), env={**os.environ, "HOME": str(home)})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(120)
        driver.set_script_timeout(30)
        driver.get("about:blank")
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(request: pytest.FixtureRequest, why_no_browser: str) -> WebDriver:
    """Where it is missing, the last line of the test run says so, as it does of the lab's programs."""
    if why_no_browser:
        rules: Any = request.config.pluginmanager.get_plugin(str(request.config.rootpath / "tests" / "conftest.py"))
        if os.environ.get(rules.REQUIRED) == "required":
            pytest.fail(f"{rules.REQUIRED}=required, but the browser cannot run: {why_no_browser}", pytrace=False)
        request.config.stash[rules.SKIPPED].setdefault(why_no_browser, []).append(request.path.name)
        pytest.skip(f"the browser cannot run: {why_no_browser}")
    driver: WebDriver = request.getfixturevalue("chromium")
    return driver


class Page:
    """One report, open."""

    def __init__(self, browser: WebDriver, path: Path) -> None:
        self.browser, self.url = browser, path.as_uri()

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def until(self, met: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, 30, 0.1).until(lambda _: met())

    def choose(self, element: str, text: str) -> None:
        Select(self.find(f"#{element}")).select_by_visible_text(text)

    def column_of(self, chart: str, name: str, field: str = "y", which: str = "true") -> list[Any]:
        """A column of the trace of that name, ``which`` narrowing it down."""
        # As text: a browser's driver takes an array apart entry by entry, which takes seconds.
        of = f"(t) => t.name === {json.dumps(name)} && {which}"
        found = self.run(f"return JSON.stringify(document.getElementById('{chart}').data.filter({of})[0]?.{field})")
        assert found is not None, f"no trace {name} in {chart}"
        column: list[Any] = json.loads(found)
        return column

    def names(self, chart: str) -> list[str]:
        drawn: list[str] = self.run(f"return document.getElementById({chart!r}).data.map((t) => t.name)")
        return drawn

    def axis(self, name: str) -> list[Any]:
        shown: list[Any] = self.run(f"return document.getElementById('timeline')._fullLayout.{name}.range.map(String)")
        return shown

    def column(self, table: str, number: int) -> list[str]:
        return [cell.text for cell in self.all(f"#{table} tbody tr > :nth-child({number})")]

    def errors(self) -> list[str]:
        """What the console was told since last asked."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.browser.get_log("browser")]

    def asked(self) -> list[str]:
        """The addresses of what was loaded since last asked."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


Open = Callable[[Report], Page]


@pytest.fixture
def opened(browser: WebDriver, tmp_path: Path) -> Iterator[Open]:
    """Opens a report; in the end the console must be empty, and nothing but the file have been loaded."""
    pages: list[Page] = []

    def open_report(shown: Report) -> Page:
        path = tmp_path / f"report-{len(pages)}.html"
        write_report(shown, path)
        page = Page(browser, path)
        page.errors(), page.asked()
        browser.get(page.url)
        page.until(lambda: page.run("return document.documentElement.dataset.drawn") == "yes")
        pages.append(page)
        return page

    yield open_report
    if pages:
        assert pages[-1].errors() == []
        loaded = [url for url in pages[-1].asked() if not url.startswith(("data:", "blob:"))]
        assert set(loaded) == {page.url for page in pages}


@pytest.fixture(scope="module")
def two() -> Report:
    return report(
        record("lagcast", ("chat", "embed"), 6 * HOUR), record("hpa_rate", ("chat", "embed"), 6 * HOUR, factor=1.0)
    )


def test_it_opens_with_every_chart_and_where_it_comes_from(opened: Open, two: Report) -> None:
    page = opened(two)
    drawn = page.names("timeline")
    for name in ("arrivals", "forecast at the lead time, 5 to 95 %", "late", "no data", "time lag", "objective, 10 s"):
        assert name in drawn
    for name in ("asked", "ready", "pending"):
        assert drawn.count(name) == 2, "of replicas and of nodes"
    assert page.names("latency") == ["lagcast", "hpa_rate"]
    sweeps = ["hpa_rate", "keda_lag", "lagcast", "static"]
    assert page.names("frontier") == [*sweeps, "cheapest for 99 % and 99.9 %", "runs of this report", "bound"]
    assert len(page.all(".main-svg")) >= 3
    for label in ("requests/s", "replicas", "nodes", "time lag, s", "time (UTC)", "latency, s", "GPU-hours"):
        assert any(label in text.text for text in page.all(".infolayer text")), label
    assert page.find("#seed").text == "7"
    assert page.find("#version").text == "0.1.0"
    assert page.find("#hash").text == two.data_hash
    assert page.find("#configuration").text == two.configuration.strip()


def test_resting_on_the_replicas_tells_the_decisions_reasons_and_numbers(opened: Open, two: Report) -> None:
    page = opened(two)
    one = two.records[0].services[0]
    box = page.find("#timeline .nsewdrag[data-subplot='x2y2']")
    ActionChains(page.browser).scroll_to_element(box).move_to_element(box).perform()
    text = page.until(lambda: page.find("#timeline .hoverlayer").get_attribute("textContent"))
    tick = (6 * HOUR // 2) // 15  # the middle
    near = [t for t in range(tick - 8, tick + 9) if f"{one.desired[t]} asked" in text]
    assert near, text
    assert any(", ".join(one.reasons[t].split()) in text for t in near), text
    for part in (
        " ready, ",
        " pending",
        "arrival rate ",
        "forecast in 90 s: ",
        "backlog ",
        "service rate 2 requests/s",
    ):
        assert part in text


def test_another_policy_and_another_service_are_drawn_when_chosen(opened: Open, two: Report) -> None:
    page = opened(two)

    def asked() -> Any:
        return page.column_of("timeline", "asked", which="t.yaxis === 'y2'")

    shown = [asked()]
    for element, name in (("service", "embed"), ("policy", "hpa_rate"), ("service", "chat")):
        page.choose(element, name)
        page.until(lambda: asked() not in shown)
        shown.append(asked())
    assert shown[-1][-1] == two.records[1].services[0].desired[-1]


def test_the_axes_of_time_move_together_and_come_back(opened: Open, two: Report) -> None:
    page = opened(two)
    whole = page.axis("xaxis")
    load = page.find("#timeline .nsewdrag[data-subplot='xy']")
    drag = ActionChains(page.browser).scroll_to_element(load).move_to_element_with_offset(load, -200, 0)
    drag.click_and_hold().move_by_offset(250, 3).release().perform()
    page.until(lambda: page.axis("xaxis") != whole)
    closer = page.axis("xaxis")
    assert [page.axis(f"xaxis{n}") for n in (2, 3, 4)] == [closer] * 3
    page.choose("policy", "hpa_rate")
    assert page.axis("xaxis") == closer, "two policies are compared at the same place"
    page.find("#whole").click()
    page.until(lambda: page.axis("xaxis4") == page.axis("xaxis") != closer)
    assert page.axis("xaxis") == whole


def test_scales_change(opened: Open, two: Report) -> None:
    page = opened(two)
    for chart in ("frontier", "latency"):
        before = page.column_of(chart, "hpa_rate")
        page.choose(f"{chart}-scale", "linear")
        page.until(lambda chart=chart, before=before: page.column_of(chart, "hpa_rate") != before)
        percents = [y for y in page.column_of(chart, "hpa_rate") if y is not None]
        assert 0 <= min(percents) <= max(percents) <= 100
    sweep = [100 * p.attainment for p in two.frontier if p.policy == "hpa_rate"][::-1]  # by rising parameter
    assert page.column_of("frontier", "hpa_rate") == pytest.approx(sweep)
    assert page.column_of("frontier", "bound") == pytest.approx([99, 99.9])


def test_a_table_is_sorted_by_a_click(opened: Open, two: Report) -> None:
    page = opened(two)
    titles = [head.text for head in page.all("#measures thead th")]
    for title in ("GPU-hours", "p99, s"):
        at = titles.index(title) + 1
        head = page.find(f"#measures thead th:nth-child({at})")
        known: dict[str, list[float]] = {}
        for way in ("ascending", "descending"):
            page.run(f"document.querySelector('#measures thead th:nth-child({at}) button').click()")
            assert head.get_attribute("aria-sort") == way
            texts = page.column("measures", at)
            numbers = [float(t.replace(",", "")) for t in texts if t != "–"]
            assert texts[len(numbers) :] == ["–"] * (len(texts) - len(numbers)), "what is not known comes last"
            known[way] = numbers
        assert known["ascending"] == sorted(known["ascending"]) == known["descending"][::-1]
    page.find("#measures thead th:nth-child(1) button").click()
    assert page.column("measures", 1) == ["hpa_rate"] * 3 + ["lagcast"] * 3


def test_names_from_users_do_nothing(opened: Open) -> None:
    hostile = report(record(HOSTILE, (HOSTILE,), HOUR), title=HOSTILE)
    page = opened(replace(hostile, frontier=tuple(replace(p, policy=HOSTILE) for p in hostile.frontier)))
    assert page.browser.title == HOSTILE
    assert page.find("h1").text == HOSTILE
    assert page.all("img") == []
    assert page.find("#policy option").text == HOSTILE
    for chart in ("latency", "frontier"):
        assert HOSTILE in [text.text for text in page.all(f"#{chart} .legendtext")]


def test_a_run_of_which_nothing_was_seen_opens(opened: Open) -> None:
    page = opened(report(without_data(record("static", ("chat",), HOUR, nodes=False)), frontier=False))
    assert "forecast, 50 %" not in page.names("timeline")
    assert page.names("latency") == []


def test_two_weeks_of_seconds_open(opened: Open, tmp_path: Path) -> None:
    long = report(record("lagcast", ("chat",), 14 * 24 * HOUR, kept=False))
    page = opened(long)
    assert (tmp_path / "report-0.html").stat().st_size < 15e6
    assert len(page.column_of("timeline", "time lag", "x", "t.hoverinfo !== 'skip'")) < 2500
    band = page.column_of("timeline", "time lag", which="t.hoverinfo === 'skip'")
    assert max(y for y in band if y is not None) == pytest.approx(long.records[0].services[0].time_lag.max(), rel=1e-4)
    assert "so that no spike is lost" in page.find("main").text


def test_it_is_readable_in_the_dark(opened: Open, two: Report) -> None:
    page = opened(two)
    ink = "return getComputedStyle(document.querySelector('#latency .xtick text')).fill"
    light = page.run(ink)
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        dark = page.until(lambda: page.run(ink) != light and page.run(ink))
        assert [light, dark] == ["rgb(27, 31, 36)", "rgb(228, 232, 237)"]
        assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_page_may_not_load_anything(browser: WebDriver, two: Report, tmp_path: Path) -> None:
    """Its own rule stops what would ask a host, whatever comes to stand in it."""
    path = tmp_path / "report.html"
    write_report(two, path)
    page = Page(browser, path)
    browser.get(page.url)
    page.errors()
    told = browser.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('loaded'), (e) => done(String(e)))"
    )
    assert "Failed to fetch" in told
    assert any("Content Security Policy" in error for error in page.errors())

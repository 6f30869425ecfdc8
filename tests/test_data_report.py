"""The report: everything that files brought along is escaped, the page needs nothing else, JSON and page agree."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tools.data_check.data_checks import KINDS, Finding
from tools.data_check.data_report import SHOWN_IN_PAGE, report_page, report_values, terminal_lines
from tools.data_check.data_survey import Survey, SurveySettings

SETTINGS = SurveySettings("dota", (608, 608), 500, "headers")
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}'
VOID_TAGS = {"meta", "img", "line", "rect", "br"}


class Page(HTMLParser):
    """Collects tags and their attributes, and checks that all tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def survey_of(*findings: Finding) -> Survey:
    survey = Survey()
    survey.add(list(findings))
    return survey


def page_of(survey: Survey, draw=lambda finding: "", data_dir: str = "/data") -> str:
    return report_page(report_values(Path(data_dir), SETTINGS, survey), survey, draw)


@pytest.fixture
def hostile() -> Survey:
    survey = survey_of(*(Finding(kind, HOSTILE, f"/data/{HOSTILE}.txt", 3, HOSTILE) for kind in KINDS))
    survey.num_lines[HOSTILE] = 3
    survey.statistics.objects[HOSTILE, "train"] = 3
    survey.statistics.image_sizes[640, 512] = 2
    return survey


def test_hostile_names_stay_text(hostile):
    page = Page(page_of(hostile, lambda finding: "data:image/jpeg;base64,AAAA", f"/data/{HOSTILE}"))
    tags = {tag for tag, _ in page.tags}
    assert "script" not in tags
    assert {attributes["src"] for tag, attributes in page.tags if tag == "img"} == {"data:image/jpeg;base64,AAAA"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in page.text  # shown as it is, and no template of its own
    assert page.open == []


def test_the_page_needs_nothing_but_itself(hostile):
    text = page_of(hostile, lambda finding: "data:image/jpeg;base64,AAAA")
    for tag, attributes in Page(text).tags:
        assert tag not in {"script", "link", "iframe", "object", "base"}
        assert not {"href", "action", "srcset"} & attributes.keys()
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert 'name="viewport"' in text


def test_the_page_shows_names_in_any_script_and_no_control_characters():
    text = page_of(survey_of(Finding("outside", "图 1", "/data/图 1.txt", 7, "船")), data_dir="/data/数据")
    assert "图 1.txt:7" in text
    assert "数据" in text
    text.encode("utf-8")
    page_of(Survey(), data_dir="/data/\udcff\x1b").encode("utf-8")


def test_charts_have_a_bar_for_every_filled_bin():
    survey = Survey()
    survey.statistics.objects["car", ""] = 8
    survey.statistics.short_side[2:4] = 5, 3
    page = Page(page_of(survey))
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert [float(bar["height"]) for bar in bars] == [120, 72]
    assert all(float(bar["y"]) + float(bar["height"]) == pytest.approx(146) for bar in bars)


def test_a_clean_and_empty_set_is_told_so():
    text = page_of(Survey())
    assert "Nothing is wrong with this data." in text
    assert terminal_lines(report_values(Path("/data"), SETTINGS, Survey()))[-1] == "0 errors, 0 warnings, 0 notes"


def test_what_is_not_shown_is_counted():
    survey = survey_of(*(Finding("outside", "a", "a.txt", line, "far") for line in range(1, SHOWN_IN_PAGE + 4)))
    assert "and 3 more" in page_of(survey)
    lines = terminal_lines(report_values(Path("/data"), SETTINGS, survey))
    assert "    a.txt:1: far" in lines
    assert f"    and {SHOWN_IN_PAGE} more" in lines
    assert lines[-1] == f"0 errors, {SHOWN_IN_PAGE + 3} warnings, 0 notes"


def test_values_are_plain_and_counts_are_of_all(hostile):
    hostile.counts["outside"] += 1000
    report = report_values(Path("/data"), SETTINGS, hostile)
    assert json.loads(json.dumps(report)) == report
    assert report["counts"]["outside"] == 1001
    assert report["errors"] + report["warnings"] + report["notes"] == sum(report["counts"].values())
    finding = report["findings"][0]
    assert set(finding) == {"severity", "kind", "file", "line", "what", "to_do"}
    assert [item["severity"] for item in report["findings"]] == sorted(
        (item["severity"] for item in report["findings"]), key=["error", "warning", "note"].index
    )


def test_terminal_lines_hold_no_terminal_codes(hostile):
    survey = survey_of(Finding("unknown-class", "a", "a.txt", 1, "x"))
    survey.num_lines["bo\x1b[31mat"] = 1
    text = "\n".join(terminal_lines(report_values(Path("/data/\x1b[2J"), SETTINGS, survey)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)

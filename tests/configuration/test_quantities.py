"""Durations, shares and quantities: exact round trips, and refusals that show the right spelling."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from scaler.api.quantities import Duration, Fraction, Share, parse_duration

MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
TEN_YEARS = 3650 * MS["d"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("720ms", 0.72),
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5400),
        ("7d", 604_800),
        ("1d1h1m1s1ms", 90_061.001),
        ("0s", 0),
        ("90m", 5400),
        ("1m500ms", 60.5),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert Duration.parse(text) == seconds
    assert parse_duration(text) == seconds
    assert type(parse_duration(text)) is float


@given(st.integers(0, TEN_YEARS))
def test_every_duration_survives_its_own_spelling(milliseconds: int) -> None:
    duration = Duration.of_milliseconds(milliseconds)
    assert duration.milliseconds == milliseconds
    assert Duration.parse(str(duration)).milliseconds == milliseconds


@given(st.lists(st.none() | st.integers(0, 99), min_size=5, max_size=5).filter(lambda p: any(x is not None for x in p)))
def test_a_duration_is_the_sum_of_its_parts(parts: list[int | None]) -> None:
    given_parts = [(n, unit) for n, unit in zip(parts, MS, strict=True) if n is not None]
    text = "".join(f"{n}{unit}" for n, unit in given_parts)
    assert Duration.parse(text).milliseconds == sum(n * MS[unit] for n, unit in given_parts)


@given(st.decimals(min_value=0, max_value=100, places=6))
def test_every_share_survives_its_own_spelling(percent: Decimal) -> None:
    share = Share.parse(f"{percent:f}%")
    assert share.percent == percent
    assert Share.parse(str(share)) == share
    assert share.fraction == pytest.approx(float(percent) / 100)


@given(
    st.decimals(min_value=0, max_value=Decimal("999999999999"), places=9),
    st.sampled_from(["", "m", "k", "M"]),
)
def test_every_quantity_survives_its_own_spelling(number: Decimal, suffix: str) -> None:
    quantity = Fraction.parse(f"{number:f}{suffix}")
    assert quantity.value == number * {"": 1, "m": Decimal("0.001"), "k": 1000, "M": 1_000_000}[suffix]
    assert Fraction.parse(str(quantity)) == quantity


def test_a_quantity_has_one_canonical_spelling() -> None:
    assert [str(Fraction.parse(text)) for text in ("0.30", "300m", "1k", "2.50")] == ["0.3", "0.3", "1000", "2.5"]
    assert str(Share.parse("99.90%")) == "99.9%"
    assert str(Duration.parse("90s")) == "1m30s"


@pytest.mark.parametrize(
    ("value", "found", "shown"),
    [
        (60, "the number 60", '"60s"'),
        ("60", '"60"', '"60s"'),
        (0.5, "the number 0.5", '"500ms"'),
        ("1.5s", '"1.5s"', '"1s500ms"'),
        ("0.5h", '"0.5h"', '"30m"'),
        ("-5s", '"-5s"', "never negative"),
        ("5 s", '"5 s"', "units d, h, m, s, ms"),
        ("5sec", '"5sec"', "units d, h, m, s, ms"),
        ("5S", '"5S"', "units d, h, m, s, ms"),
        ("30s1h", '"30s1h"', "the largest first"),
        ("5m5m", '"5m5m"', "the largest first"),
        ("", '""', "units d, h, m, s, ms"),
        (None, "nothing (null)", "units d, h, m, s, ms"),
        (True, "true (a boolean)", "units d, h, m, s, ms"),
        ([], "a list", "units d, h, m, s, ms"),
        ("\u0665s", '"\u0665s"', "units d, h, m, s, ms"),
        ("9999d", '"9999d"', "at most 3650d"),
        ("5s\n", "5s\\n", "units d, h, m, s, ms"),
        (float("nan"), "the number nan", "units d, h, m, s, ms"),
        pytest.param(1 << 20_000, "a number beyond all bounds", "units d, h, m, s, ms", id="huge"),
    ],
)
def test_a_wrong_duration_says_what_was_found_and_what_is_allowed(value: object, found: str, shown: str) -> None:
    with pytest.raises(ValueError, match="allowed: ") as refused:
        Duration.parse(value)
    assert f"found {found}" in str(refused.value).replace('"5s\\n"', "5s\\n")
    assert shown in str(refused.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (99.9, 'write "99.9%"'),
        (0.999, 'write "99.9%"'),
        ("0.999", 'write "99.9%"'),
        ("99.9", 'write "99.9%"'),
        (99, 'write "99%"'),
        ("-1%", 'such as "99.9%"'),
        ("101%", "from 0% to 100%"),
        ("99,9%", 'such as "99.9%"'),
        ("99.9 %", 'such as "99.9%"'),
        ("1e1%", 'such as "99.9%"'),
        ("NaN%", 'such as "99.9%"'),
        (float("inf"), 'such as "99.9%"'),
        (None, "nothing (null)"),
        (False, "false (a boolean)"),
        ({}, "a mapping"),
    ],
)
def test_a_wrong_share_says_what_is_allowed(value: object, shown: str) -> None:
    with pytest.raises(ValueError, match=re.escape(shown)):
        Share.parse(value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.3, 'write "0.3"'),
        (4, 'write "4"'),
        (1e-7, 'write "0.0000001"'),
        ("-0.3", "never negative"),
        (-0.3, 'such as "0.3"'),
        ("0.3/s", 'such as "0.3"'),
        ("300 m", 'such as "0.3"'),
        ("1Ki", 'such as "0.3"'),
        (".3", 'such as "0.3"'),
        ("inf", 'such as "0.3"'),
        ("nan", 'such as "0.3"'),
        (float("nan"), 'such as "0.3"'),
        (float("inf"), 'such as "0.3"'),
        ("1" * 100, "..."),
        (None, "nothing (null)"),
        (True, "true (a boolean)"),
    ],
)
def test_a_wrong_quantity_says_what_is_allowed(value: object, shown: str) -> None:
    with pytest.raises(ValueError, match=re.escape(shown)):
        Fraction.parse(value)


@given(st.text(max_size=80) | st.floats() | st.integers() | st.none() | st.booleans() | st.binary())
def test_any_value_is_read_or_refused_with_both_halves_of_the_message(value: object) -> None:
    for kind in (Duration, Share, Fraction):
        try:
            parsed = kind.parse(value)
        except ValueError as refused:
            message = str(refused)
        else:
            assert kind.parse(str(parsed)) == parsed
            continue
        assert re.match(r"found .+; allowed: .+", message, re.DOTALL)


class Resource(BaseModel):
    every: Duration = Duration.parse("60s")
    share: Share
    rate: Fraction


def test_a_model_holds_values_and_writes_strings() -> None:
    resource = Resource.model_validate({"every": "90s", "share": "99.5%", "rate": "300m"})
    assert resource.every == 90.0
    assert resource.share.fraction == 0.995
    assert float(resource.rate) == 0.3
    assert resource.model_dump(mode="json") == {"every": "1m30s", "share": "99.5%", "rate": "0.3"}
    assert Resource.model_validate_json(resource.model_dump_json()) == resource


def test_a_schema_says_string_with_a_pattern_and_the_default_as_spelled() -> None:
    properties = Resource.model_json_schema()["properties"]
    assert {name: field["type"] for name, field in properties.items()} == dict.fromkeys(properties, "string")
    assert properties["every"]["default"] == "1m"
    for name, example in (("every", "1h30m"), ("share", "99.9%"), ("rate", "0.3")):
        assert re.search(properties[name]["pattern"], example)
        assert not re.search(properties[name]["pattern"], "-1")

"""Durations, shares and fractions as a user writes them: strings with their unit, never YAML numbers with a fraction.

Each type parses one spelling family, keeps its value exactly (whole milliseconds, or Decimal) and prints a canonical
spelling that parses to the same value. A refusal says what was found and what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from scaler.api.cel import VALIDATIONS, Checked, Rule, milliseconds, whole
from scaler.api.describe import found

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
# As many digits as the longest duration needs: CEL's arithmetic holds only 292 years.
_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?", re.ASCII)
_FRACTIONAL_DURATION = re.compile(r"(\d{1,9}\.\d{1,9})(d|h|m|s|ms)", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%", re.ASCII)
_FRACTION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(m|k|M)?", re.ASCII)
_SUFFIX = {None: Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000), "M": Decimal(1_000_000)}
# Longer strings are refused before any pattern looks at them.
_LONGEST = 64

_LONGEST_MS = 3650 * _UNITS_MS["d"]

DURATION_ALLOWED = 'whole numbers with units d, h, m, s, ms, the largest first, such as "720ms", "10s", "1h30m"'
SHARE_ALLOWED = 'a percent string such as "99.9%"'
FRACTION_ALLOWED = 'a quantity string such as "0.3" or "300m" (suffixes m = 1/1000, k = 1000, M = 1000000)'


def _plain(value: Decimal) -> str:
    """Digits without exponent and without zeros that say nothing."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Spelled:
    """What pydantic needs to read a value by ``parse`` and write it by ``str``."""

    __slots__ = ()
    json_schema: ClassVar[dict[str, Any]]
    spelling: ClassVar[str]  # a pattern that Python and RE2 read alike
    allowed: ClassVar[str]

    @classmethod
    def parse(cls, value: object) -> _Spelled:
        raise NotImplementedError

    def at_least(self, subject: str, *, more: bool = False) -> str:
        """CEL for: what ``subject`` spells is at least this, or ``more``."""
        raise NotImplementedError

    def at_most(self, subject: str, *, less: bool = False) -> str:
        """CEL for: what ``subject`` spells is at most this, or ``less``."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        spelled = Rule(whole(cls.spelling), cls.allowed).as_dict()
        return {"type": "string", "minLength": 1, "maxLength": _LONGEST, VALIDATIONS: [spelled]} | cls.json_schema


class Duration(_Spelled, float):
    """A span of time: a float of seconds, >= 0, in whole milliseconds; its ``str`` is the canonical spelling."""

    __slots__ = ()
    json_schema: ClassVar[dict[str, Any]] = {
        "title": "duration",
        "pattern": r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        "examples": ["1h30m"],
    }
    spelling = "([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?"
    allowed = DURATION_ALLOWED

    def at_least(self, subject: str, *, more: bool = False) -> str:
        return f"{milliseconds(subject)} {'>' if more else '>='} {self.milliseconds}"

    def at_most(self, subject: str, *, less: bool = False) -> str:
        return f"{milliseconds(subject)} {'<' if less else '<='} {self.milliseconds}"

    @property
    def milliseconds(self) -> int:
        """Whole milliseconds, exactly."""
        return round(self * 1000)

    @classmethod
    def of_milliseconds(cls, milliseconds: int) -> Duration:
        """``milliseconds`` >= 0 as a duration."""
        return cls(milliseconds / 1000)

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Read ``"1h30m"``. Raises ValueError with the spelling that is allowed."""
        if isinstance(value, Duration):
            return value
        match = _DURATION.fullmatch(value) if isinstance(value, str) and 0 < len(value) <= _LONGEST else None
        if match is not None:
            parts = zip(match.groups(), _UNITS_MS.values(), strict=True)
            total = sum(int(digits) * unit for digits, unit in parts if digits is not None)
            if total <= _LONGEST_MS:
                return cls.of_milliseconds(total)
            raise ValueError(f"found {found(value)}; allowed: at most {cls.of_milliseconds(_LONGEST_MS)}")
        raise ValueError(f"found {found(value)}{cls._hint(value)}; allowed: {DURATION_ALLOWED}")

    @staticmethod
    def _hint(value: object) -> str:
        """The spelling that was probably meant."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
            return f' (a number without its unit: for seconds, write "{value}s")'
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
            return f' (a number without its unit: for seconds, write "{value}s")'
        if isinstance(value, float) and 0 < value < 10**6:
            return f' (a number without its unit: for seconds, write "{Duration(round(value, 3))}")'
        if isinstance(value, str) and len(value) <= _LONGEST:
            if (fractional := _FRACTIONAL_DURATION.fullmatch(value)) is not None:
                exact = Decimal(fractional[1]) * _UNITS_MS[fractional[2]]
                return f' (write "{Duration.of_milliseconds(int(exact))}")' if exact == int(exact) else ""
            if value.startswith("-"):
                return " (a duration is never negative)"
        return ""

    def __str__(self) -> str:
        rest, text = self.milliseconds, ""
        for name, unit in _UNITS_MS.items():
            whole, rest = divmod(rest, unit)
            text += f"{whole}{name}" if whole else ""
        return text or "0s"


def parse_duration(text: str) -> float:
    """Seconds of ``"1h30m"``. Raises ValueError with the spelling that is allowed."""
    return float(Duration.parse(text))


@dataclass(frozen=True, slots=True, order=True)
class Share(_Spelled):
    """A part of a whole, kept as percent, 0 to 100."""

    json_schema: ClassVar[dict[str, Any]] = {
        "title": "share",
        "pattern": r"^[0-9]+(\.[0-9]+)?%$",
        "examples": ["99.9%"],
    }
    spelling = r"[0-9]{1,3}(\.[0-9]{1,9})?%"
    allowed = SHARE_ALLOWED

    def at_least(self, subject: str, *, more: bool = False) -> str:
        return f"double({subject}.replace('%', '')) {'>' if more else '>='} {float(self.percent)!r}"

    def at_most(self, subject: str, *, less: bool = False) -> str:
        return f"double({subject}.replace('%', '')) {'<' if less else '<='} {float(self.percent)!r}"

    percent: Decimal

    @property
    def fraction(self) -> float:
        """The share in [0, 1]."""
        return float(self.percent / 100)

    @classmethod
    def parse(cls, value: object) -> Share:
        """Read ``"99.9%"``. Raises ValueError with the spelling that is allowed."""
        if isinstance(value, Share):
            return value
        match = _SHARE.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
        if match is not None and (percent := Decimal(match[1])) <= 100:
            return cls(percent)
        raise ValueError(f"found {found(value)}{cls._hint(value)}; allowed: {SHARE_ALLOWED}, from 0% to 100%")

    @staticmethod
    def _hint(value: object) -> str:
        bare: Decimal | None = None
        if _number(value):
            bare = Decimal(repr(value)) if abs(float(str(value))) < 1000 else None
        elif isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d{1,9})?", value, re.ASCII):
            bare = Decimal(value)
        if bare is None or not 0 < bare <= 100:
            return ""
        return f' (write "{_plain(bare * 100 if bare < 1 else bare)}%")'

    def __str__(self) -> str:
        return f"{_plain(self.percent)}%"


@dataclass(frozen=True, slots=True, order=True)
class Fraction(_Spelled):
    """A number >= 0 with at most twelve digits before the point, spelled as a Kubernetes quantity."""

    json_schema: ClassVar[dict[str, Any]] = {
        "title": "quantity",
        "pattern": r"^[0-9]+(\.[0-9]+)?[mkM]?$",
        "examples": ["300m"],
    }
    spelling = r"[0-9]{1,12}(\.[0-9]{1,9})?[mkM]?"
    allowed = FRACTION_ALLOWED

    def at_least(self, subject: str, *, more: bool = False) -> str:
        return f"quantity({subject}).compareTo(quantity('{self}')) {'>' if more else '>='} 0"

    def at_most(self, subject: str, *, less: bool = False) -> str:
        return f"quantity({subject}).compareTo(quantity('{self}')) {'<' if less else '<='} 0"

    value: Decimal

    def __float__(self) -> float:
        return float(self.value)

    @classmethod
    def parse(cls, value: object) -> Fraction:
        """Read ``"0.3"`` or ``"300m"``. Raises ValueError with the spelling that is allowed."""
        if isinstance(value, Fraction):
            return value
        match = _FRACTION.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
        if match is not None:
            return cls(Decimal(match[1]) * _SUFFIX[match[2]])
        raise ValueError(f"found {found(value)}{cls._hint(value)}; allowed: {FRACTION_ALLOWED}")

    @staticmethod
    def _hint(value: object) -> str:
        if _number(value) and 0 <= float(str(value)) < 1e9:
            return f' (a number, not a string: write "{_plain(Decimal(repr(value)))}")'
        if isinstance(value, str) and value.startswith("-"):
            return " (never negative)"
        return ""

    def __str__(self) -> str:
        # A suffix only where the plain spelling would have more digits than the pattern takes.
        if self.value != round(self.value, 9):
            return f"{_plain(self.value * 1000)}m"
        if self.value >= 10**15:
            return f"{_plain(self.value / 1_000_000)}M"
        if self.value >= 10**12:
            return f"{_plain(self.value / 1_000)}k"
        return _plain(self.value)


def between(least: _Spelled, most: _Spelled, *, exclusive: bool = False) -> Checked:
    """Refuse a value outside ``[least, most]``, or ``(least, most)`` when ``exclusive``; all of one type."""
    bounds = f"more than {least} and less than {most}" if exclusive else f"from {least} to {most}"

    def check(value: Any) -> Any:
        inside = least < value < most if exclusive else not (value < least or value > most)
        if inside:
            return value
        raise ValueError(f"found {value}; allowed: {bounds}")

    inside = f"{least.at_least('self', more=exclusive)} && {most.at_most('self', less=exclusive)}"
    # A wrong spelling has its own message.
    return Checked(check, (Rule(f"!{whole(type(least).spelling)} || ({inside})", bounds),))


def duration_between(least: str, most: str) -> Checked:
    """Refuse a duration outside ``[least, most]``."""
    return between(Duration.parse(least), Duration.parse(most))


def well_spelled(kind: type[Duration | Fraction], *fields: str) -> str:
    """CEL for: these fields are spelled right. A wrong spelling has its own message, and no sum can be made of it."""
    return " && ".join(whole(kind.spelling, field) for field in fields)

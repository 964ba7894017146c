"""Durations, shares and fractions as a user writes them: strings with their unit, never YAML numbers with a fraction.

Each type parses one spelling family, keeps its value exactly (whole milliseconds, or Decimal) and prints a canonical
spelling that parses to the same value. A refusal says what was found and what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from scaler.api.describe import found

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?", re.ASCII)
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

    @classmethod
    def parse(cls, value: object) -> _Spelled:
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
        return {"type": "string", "maxLength": _LONGEST} | cls.json_schema


class Duration(_Spelled, float):
    """A span of time: a float of seconds, >= 0, in whole milliseconds; its ``str`` is the canonical spelling."""

    __slots__ = ()
    json_schema: ClassVar[dict[str, Any]] = {
        "title": "duration",
        "pattern": r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        "examples": ["1h30m"],
    }

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


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...
    def __gt__(self, other: Any, /) -> bool: ...


def between(least: _Ordered, most: _Ordered, *, exclusive: bool = False) -> AfterValidator:
    """Refuse a value outside ``[least, most]``, or ``(least, most)`` when ``exclusive``."""

    def check(value: Any) -> Any:
        inside = least < value < most if exclusive else not (value < least or value > most)
        if inside:
            return value
        bounds = f"more than {least} and less than {most}" if exclusive else f"from {least} to {most}"
        raise ValueError(f"found {value}; allowed: {bounds}")

    return AfterValidator(check)


def duration_between(least: str, most: str) -> AfterValidator:
    """Refuse a duration outside ``[least, most]``."""
    return between(Duration.parse(least), Duration.parse(most))

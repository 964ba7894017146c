"""How many replicas there may be, when, and what one does: the parts ``replicas``, ``gpu`` and ``fallback``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from scaler.api.cel import Rule
from scaler.api.model import FieldErrors, Model, Name, once, rules
from scaler.api.moments import TimeOfDay, TimeZone, Weekday, to_seconds
from scaler.api.quantities import Duration, Fraction, between, duration_between
from scaler.plan.schedule import DAY, Window

MOST_SCHEDULED = 32
_LEAST_RATE, _MOST_RATE = Fraction.parse("0.000001"), Fraction.parse("1M")
_LEAST_WEIGHT, _MOST_WEIGHT = Fraction.parse("0.01"), Fraction.parse("100")
_Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
_CountOrNone = Annotated[int, Field(strict=True, ge=0, le=100_000)]


class Scheduled(Model):
    """Another minimum, or maximum, at some times of the week: by the clock on the wall, also over daylight saving."""

    model_config = rules(
        Rule("has(self.min) || has(self.max)", "a min, a max, or both", field=".min"),
        Rule("!has(self.min) || !has(self.max) || self.min <= self.max", "at least min", field=".max"),
        Rule("self.begin != self.end", "another time than begin", field=".end"),
        Rule("self.begin != '24:00'", "a time before 24:00", field=".begin"),
    )

    name: Name = Field(description="What it is called; used once.")
    days: Annotated[
        tuple[Weekday, ...], Field(min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default=tuple(Weekday),
        description="Days of the week on which it begins; every day when left out.",
    )
    begin: TimeOfDay = Field(
        default="00:00",
        validate_default=True,
        description="Time of day at which it begins. Default: with the day.",
    )
    end: TimeOfDay = Field(
        default="24:00",
        validate_default=True,
        description="Time of day at which it ends; one before begin is on the next day. Default: with the day.",
    )
    time_zone: TimeZone | None = Field(
        default=None, description="IANA name of the zone of these times. Default: forecast.timeZone."
    )
    min: _CountOrNone | None = Field(
        default=None,
        description="No fewer replicas at these times; asked for a lead time before, so that they serve when it "
        "begins. From replicas.min to replicas.max. Of several at once, the highest. Default: replicas.min.",
    )
    max: _Count | None = Field(
        default=None,
        description="No more replicas at these times. From replicas.min to replicas.max. Of several at once, the "
        "lowest; it stands above every min. Default: replicas.max.",
    )

    @field_validator("days")
    @classmethod
    def _each_day_once(cls, days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        twice = [day for day in Weekday if days.count(day) > 1]
        if twice:
            raise ValueError(f"found {twice[0]} a second time; allowed: each once")
        return days

    @model_validator(mode="after")
    def _says_something(self) -> Scheduled:
        faults = []
        if self.min is None and self.max is None:
            faults.append(("min", "found neither min nor max; allowed: a min, a max, or both"))
        elif self.min is not None and self.max is not None and self.max < self.min:
            faults.append(("max", f"found {self.max}; allowed: at least min, which is {self.min}"))
        if self.begin == self.end:
            faults.append(("end", f"found {self.end}; allowed: another time than begin"))
        if self.begin == "24:00":
            faults.append(("begin", "found 24:00; allowed: a time before 24:00"))
        if faults:
            raise FieldErrors(*faults)
        return self

    def window(self, zone: str) -> Window:
        """As the plan takes it; ``zone`` is the time zone where it names none."""
        begin, end = to_seconds(self.begin), to_seconds(self.end)
        return Window(
            name=self.name,
            days=tuple(sorted(day.number for day in self.days)),
            begin=begin,
            end=end if end > begin else end + DAY,
            time_zone=self.time_zone or zone,
            least=self.min,
            most=self.max,
        )


class Replicas(Model):
    """How many replicas there may be, and what one does."""

    model_config = rules(
        Rule(
            "self.min <= self.max",
            "at least min",
            field=".max",
        ),
        Rule(
            "!has(self.schedule) || self.schedule.all(s, [has(s.min) ? s.min : self.min, has(s.max) ? s.max : self.max]"
            ".all(n, n >= self.min && n <= self.max))",
            "each min and max from replicas.min to replicas.max",
            field=".schedule",
        ),
    )

    min: Annotated[int, Field(strict=True, ge=0, le=100_000)] = Field(description="Never fewer replicas.")
    max: _Count = Field(description="Never more replicas.")
    service_rate: Annotated[Fraction, between(_LEAST_RATE, _MOST_RATE)] = Field(
        description="Requests/s one ready replica serves: where to start until it is learned."
    )
    service_time: Annotated[Duration, duration_between("1ms", "7d")] | None = Field(
        default=None,
        description="Time one request takes in a replica at light load. Default: concurrency / serviceRate; a replica "
        "that serves batches takes longer.",
    )
    concurrency: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = Field(
        default=None,
        description="Requests one replica serves at a time, at most. With the latency histogram it tells what one "
        "serves before it was ever seen busy. Default: not known, and nothing is told by it: that one serves more "
        "than serviceRate is then seen under a backlog, or tried out with fewer replicas: after half an hour on a "
        "pool, or where requests take as long as serviceTime, else at once. serviceTime is then taken as of one at a "
        "time.",
    )
    lead_time: Annotated[Duration, duration_between("100ms", "6h")] = Field(
        default=Duration.parse("2m"),
        description="From a patch to a pod that serves: where to start until it is learned. Default: image there, "
        "model of a few GB to load.",
    )
    scale_in_hold: Annotated[Duration, duration_between("0s", "24h")] = Field(
        default=Duration.parse("60s"),
        description="How long a lower count must have been the answer before it is taken. Default: a few ticks, "
        "for what the load lately needed is held anyway.",
    )
    max_scale_out: _Count | None = Field(
        default=None,
        description="Most replicas added at one tick. Default: no limit, for a jump is dearer late than large.",
    )
    max_scale_in: _Count | None = Field(
        default=None,
        description="Most replicas removed at one tick. Default: no limit, for scaleInHold already guards it.",
    )

    schedule: Annotated[
        tuple[Scheduled, ...], Field(max_length=MOST_SCHEDULED, json_schema_extra={"x-kubernetes-list-type": "map"})
    ] = Field(
        default=(),
        description="Narrower limits at some times of the week.",
        json_schema_extra={"x-kubernetes-list-map-keys": ["name"]},
    )

    @field_validator("max")
    @classmethod
    def _at_least_min(cls, most: int, info: ValidationInfo) -> int:
        if most < (least := info.data.get("min", 0)):
            raise ValueError(f"found {most}; allowed: at least min, which is {least}")
        return most

    @field_validator("schedule")
    @classmethod
    def _within_min_and_max(cls, schedule: tuple[Scheduled, ...], info: ValidationInfo) -> tuple[Scheduled, ...]:
        least, most = info.data.get("min"), info.data.get("max")
        if least is not None and most is not None:
            bounds = f"from replicas.min to replicas.max, which are {least} and {most}"
            faults = [
                (f"[{place}].{name}", f"found {count}; allowed: {bounds}")
                for place, one in enumerate(schedule)
                for name, count in (("min", one.min), ("max", one.max))
                if count is not None and not least <= count <= most
            ]
            if faults:
                raise FieldErrors(*faults)
        return once(schedule, "name")

    @property
    def service_seconds(self) -> float:
        """Seconds one request takes in a replica."""
        if self.service_time is not None:
            return float(self.service_time)
        return (self.concurrency or 1) / float(self.service_rate)


class Gpu(Model):
    """The GPU nodes that its pods stand on, when a GpuNodePool plans them: ordered ahead, and shared."""

    pool: Name = Field(
        description="Name of the GpuNodePool. While there is none of that name, the service is planned alone and says "
        "so."
    )
    per_replica: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        default=1,
        description="GPUs of one replica, as its pods request them; at most those of a node. Default: what most "
        "inference servers take.",
    )
    weight: Annotated[Fraction, between(_LEAST_WEIGHT, _MOST_WEIGHT)] = Field(
        default=Fraction.parse("1"),
        json_schema_extra={"default": "1"},  # as it is spelled: pydantic would write its parts
        description="What its late requests weigh against those of the pool's other services, where the pool is full. "
        "Default: all the same.",
    )


class FallbackPolicy(StrEnum):
    """What stands in when the load is not known."""

    HOLD = "hold"
    STATIC = "static"
    REACTIVE = "reactive"


class Fallback(Model):
    """What is done while the topic or the group cannot be read, so that nobody knows the load. Never is the count
    lowered then.
    """

    model_config = rules(
        Rule("self.policy != 'static' || has(self.replicas)", "a count, with policy static", field=".replicas"),
        Rule("self.policy == 'static' || !has(self.replicas)", "none but with policy static", field=".replicas"),
    )

    policy: FallbackPolicy = Field(
        default=FallbackPolicy.HOLD,
        description="`hold`: the count stays, and only a forecast that was made before may raise it. `static`: it is "
        "raised to `replicas`. `reactive`: it is raised to what keeps replicas as busy as an HPA would (80 %), by the "
        "latency histogram, which then is the only word on the load. Default: an outage of Kafka is no load, and "
        "mostly stops the consumers too.",
    )
    replicas: _Count | None = Field(
        default=None, description="With `static`: the replicas to raise to, at most replicas.max. Default: none."
    )
    after: Annotated[Duration, duration_between("0s", "24h")] = Field(
        default=Duration.parse("2m"),
        description="How long the load must have been unknown. Default: longer than a broker's restart.",
    )

    @model_validator(mode="after")
    def _count_with_static(self) -> Fallback:
        static = self.policy is FallbackPolicy.STATIC
        if static and self.replicas is None:
            raise FieldErrors(("replicas", "found nothing; allowed: a count, with policy static"))
        if not static and self.replicas is not None:
            raise FieldErrors(("replicas", f"found {self.replicas}; allowed: none but with policy static"))
        return self

"""Values of many kinds, as users publish them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from pydantic import BaseModel, Field
from temporalio.api.common.v1 import Payload


class Line(BaseModel):
    article: str
    count: int = Field(ge=1)


class Order(BaseModel):
    order_id: str
    placed: datetime
    lines: list[Line]
    patience: timedelta | None = None


ORDER = Order(
    order_id="order-1",
    placed=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    lines=[Line(article="tea", count=2), Line(article="cup", count=1)],
    patience=timedelta(minutes=5),
)


class Kind(StrEnum):
    BEGUN = "begun"
    DONE = "done"


@dataclass
class Step:
    name: str
    took: float | None = None


@dataclass
class Report:
    kind: Kind
    steps: list[Step] = field(default_factory=list)
    by: dict[str, Step] = field(default_factory=dict)


REPORT = Report(Kind.DONE, [Step("cut", 1.5), Step("glue")], {"cut": Step("cut", 1.5)})

PICTURE = Payload(
    metadata={"encoding": b"binary/plain", "media-type": b"image/png"}, data=b"\x89PNG\r\n\x00\xff"
)
NOTHING = Payload()

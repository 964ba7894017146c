"""What a label selector matches, as Kubernetes defines it."""

from __future__ import annotations

import pytest

from scaler.observe.selectors import parse

CHAT = {"app": "chat", "tier": "b"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("app=chat", True),
        ("app==chat", True),
        ("app = chat", True),
        ("app=other", False),
        ("zone=", False),  # not there is not empty
        ("app=chat,tier=b", True),
        ("app=chat,tier=c", False),
        ("app!=chat", False),
        ("zone!=a", True),
        ("app in (chat,chat2),tier!=x", True),
        ("app in (other, chat)", True),
        ("app in (a,b)", False),
        ("app in ()", False),
        (f"app={'a' * 63}", False),
        ("tier notin (a,c)", True),
        ("tier notin (a,b)", False),
        ("zone notin (a)", True),
        ("app", True),
        ("zone", False),
        ("!zone", True),
        ("!app", False),
        ("app.kubernetes.io/name=x", False),
    ],
)
def test_what_matches(text: str, matches: bool) -> None:
    selector = parse(text)
    assert selector is not None
    assert selector.matches(CHAT) is matches


@pytest.mark.parametrize(
    "text",
    [
        "cpu>3",
        "a=b=c",
        "app in chat",
        "app=chat,",
        "a in (b),(c)",
        "=x",
        "app ex chat",
        "app=-x",
        "app=a_",
        f"app={'a' * 64}",
        "app in (a,b-)",
    ],
)
def test_what_cannot_be_read_is_left_to_the_server(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [("tier!=x,app=chat", ("app", "chat")), ("app in (chat)", ("app", "chat")), ("app in (a,b)", None), ("app", None)],
)
def test_the_label_that_whatever_matches_has(text: str, label: tuple[str, str] | None) -> None:
    selector = parse(text)
    assert selector is not None
    assert selector.label == label

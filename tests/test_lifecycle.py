"""Any life of any sessions, against a model that is a dictionary."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.support.phone import Phone
from wxsession.simulator import SettableClock, WeChat

IDLE, ABSOLUTE, GRACE = timedelta(days=7), timedelta(days=30), timedelta(seconds=30)
CAP = 3


class ModelSession:
    """What a session has to be like; the tokens in the order in which they were handed out."""

    def __init__(self, user: str, token: str, now: Any) -> None:
        self.user = user
        self.tokens = [token]
        self.expires = now + IDLE
        self.ends = now + ABSOLUTE
        self.rotated: Any = None
        self.confirmed = True
        self.handed_on: Any = None
        self.end_reason: str | None = None

    def verdict(self, now: Any) -> tuple[int, str, str | None] | None:
        """Return how a token is refused for the session's sake, or None while it is live."""
        if self.end_reason:
            return 401, "session_ended", self.end_reason
        if now >= self.ends:
            return 401, "session_expired", "absolute"
        if now >= self.expires:
            return 401, "session_expired", "idle"
        return None

    def accepts(self, token: str, now: Any) -> bool:
        """Tell whether the token is the one in use, or the one before it, still accepted."""
        if token == self.tokens[-1]:
            return True
        fresh = not self.confirmed or now < self.rotated + GRACE
        return len(self.tokens) > 1 and token == self.tokens[-2] and fresh

    def rotate(self, token: str, now: Any) -> None:
        """Go on with another token."""
        self.tokens.append(token)
        self.rotated = self.handed_on = now
        self.confirmed = False

    def confirm(self, now: Any) -> None:
        """Note that the newest token was used."""
        if not self.confirmed:
            self.confirmed, self.handed_on = True, now

    def use(self, now: Any) -> None:
        """Slide the expiry."""
        self.expires = max(self.expires, min(now + IDLE, self.ends))


def lifecycle(  # noqa: C901 - a list of rules, however long
    app: Flask, wechat: WeChat, clock: SettableClock
) -> type[RuleBasedStateMachine]:
    """Return the machine over a server whose users have at most three sessions."""

    class Lifecycle(RuleBasedStateMachine):
        tokens = Bundle("tokens")

        @initialize()
        def begin(self) -> None:
            self.sessions: dict[str, ModelSession] = {}
            # Another life, other users: what an earlier example left behind is not theirs.
            self.life = wechat.login("counter")

        def live(self, user: str) -> list[ModelSession]:
            mine = {id(s): s for s in self.sessions.values() if s.user == user}
            return [s for s in mine.values() if s.verdict(clock()) is None]

        def phone(self, user: str = "") -> Phone:
            return Phone(app, wechat, f"{user} {self.life}")

        def refusal(self, answer: Any) -> tuple[int, str, str | None]:
            return answer.status_code, answer.json["code"], answer.json.get("reason")

        @rule(target=tokens, user=st.sampled_from(["alice", "bob"]))
        def log_in(self, user: str) -> Any:
            answer = self.phone(user).log_in()
            assert answer.status_code == 200
            live = sorted(self.live(user), key=lambda s: s.expires)
            # Equal expiries fall to the older id, which the model does not know: told by asking.
            for session in live:
                probe = self.phone().check(session.tokens[-1])
                if probe.status_code == 401:
                    assert self.refusal(probe) == (401, "session_ended", "evicted")
                    assert session.expires == live[0].expires
                    session.end_reason = "evicted"
                else:
                    session.confirm(clock())
                    session.use(clock())
            token = answer.json["session_token"]
            self.sessions[token] = ModelSession(user, token, clock())
            assert len(self.live(user)) <= CAP
            return token

        @rule(token=tokens)
        def check(self, token: str) -> None:
            session, now = self.sessions[token], clock()
            answer = self.phone().check(token)
            if verdict := session.verdict(now):
                assert self.refusal(answer) == verdict
            elif session.accepts(token, now):
                assert answer.status_code == 200
                assert answer.json["superseded"] is (token != session.tokens[-1])
                if token == session.tokens[-1]:
                    session.confirm(now)
                session.use(now)
                assert answer.json["expires_in"] == int((session.expires - now).total_seconds())
            elif now < session.handed_on + 20 * GRACE:
                assert self.refusal(answer) == (401, "session_superseded", None)
            else:
                assert self.refusal(answer) == (401, "session_ended", "token_reused")
                session.end_reason = "token_reused"

        @rule(target=tokens, token=tokens)
        def refresh(self, token: str) -> Any:
            session, now = self.sessions[token], clock()
            answer = self.phone().refresh(token)
            if verdict := session.verdict(now):
                assert self.refusal(answer) == verdict
            elif token == session.tokens[-1]:
                assert answer.status_code == 200
                session.rotate(answer.json["session_token"], now)
                session.use(now)
                self.sessions[session.tokens[-1]] = session
                return session.tokens[-1]
            elif session.accepts(token, now):
                assert answer.json["session_token"] == session.tokens[-1]
            elif now < session.handed_on + GRACE:
                assert self.refusal(answer) == (401, "session_superseded", None)
            else:
                assert self.refusal(answer) == (401, "session_ended", "token_reused")
                session.end_reason = "token_reused"
            return multiple()

        @rule(token=tokens)
        def log_out(self, token: str) -> None:
            session = self.sessions[token]
            assert self.phone().log_out(token).status_code == 204
            if session.verdict(clock()) is None:
                session.end_reason = "logout"

        @rule(token=tokens)
        def log_out_everywhere(self, token: str) -> None:
            session, now = self.sessions[token], clock()
            assert self.phone().log_out(token, everywhere=True).status_code == 204
            if session.verdict(now) is None:
                known = token == session.tokens[-1] or session.accepts(token, now)
                for ended in self.live(session.user) if known else [session]:
                    ended.end_reason = "logout"

        @rule(seconds=st.sampled_from([1, 29, 30, 570, 3600, 86400 * 3, 86400 * 7, 86400 * 20]))
        def wait(self, seconds: int) -> None:
            clock.advance(seconds=seconds)

        @invariant()
        def no_user_has_more_sessions_than_the_cap(self) -> None:
            for user in ("alice", "bob"):
                assert len(self.live(user)) <= CAP

    return Lifecycle


@pytest.mark.parametrize(
    ("database_url", "lives"),
    [
        ("sqlite", 40),
        pytest.param("sqlite", 400, marks=pytest.mark.long),
        pytest.param("postgresql", 400, marks=pytest.mark.long),
    ],
    indirect=["database_url"],
)
def test_any_life_goes_as_the_model_says(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock, lives: int
) -> None:
    app = make_app(max_sessions=CAP, touch_interval="0")
    run_state_machine_as_test(
        lifecycle(app, wechat, clock),
        settings=settings(
            max_examples=lives,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""WeChat's messages: taken if they are WeChat's, obeyed if they are about a user."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.push import KEY, MESSAGES, SETTING, delivered
from tests.support.settings import APPID, APPS, OTHER_APPID
from wxsession.errors import InvalidRequest
from wxsession.services import Services
from wxsession.settings import PushSecrets
from wxsession.simulator import Push, SettableClock, WeChat
from wxsession.storage.tables import audit_events
from wxsession.wechat import push
from wxsession.wechat.push import SignedQuery

API_KEY = "an-api-key-that-is-made-up-for-tests"
TOKEN = "AAAAA"
ENCODING_AES_KEY = "A" * 43
SAFE = PushSecrets(TOKEN, bytes(32))
PLAIN = PushSecrets(TOKEN, None)

# The vectors of "消息推送" in the mini-program documentation.
OFFICIAL_APPID = "wxba5fad812f8e6fb9"
OFFICIAL_ENCRYPT = (
    "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcv"
    "ZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3F"
    "n2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSe"
    "OBrebufAlr7F9mFUPAJGj04="
)
OFFICIAL_MESSAGE = (
    '{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY",'
    '"CreateTime":1714112445,"MsgType":"event","Event":"debug_demo","debug_str":"hello world"}'
)
OFFICIAL_ANSWER = (
    "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
)


def at(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def test_the_official_vectors_of_the_signature() -> None:
    echo = SignedQuery("1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696")
    push.ensure_signed(SAFE, echo, at(1714036504))
    sent = SignedQuery("1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78")
    message = push.opened(OFFICIAL_APPID, PLAIN, sent, b'{"a": 1}', at(1714037059))
    assert message.members == {"a": 1}


def test_the_official_vectors_of_the_encryption_in_both_directions() -> None:
    query = SignedQuery(
        "1714112445", "415670741", msg_signature="046e02f8204d34f8ba5fa3b1db94908f3df2e9b3"
    )
    body = json.dumps({"ToUserName": "gh_97417a04a28d", "Encrypt": OFFICIAL_ENCRYPT}).encode()
    message = push.opened(OFFICIAL_APPID, SAFE, query, body, at(1714112445))
    assert message.text == OFFICIAL_MESSAGE
    for text, start, encrypted, timestamp, signed in (
        (
            OFFICIAL_MESSAGE,
            b"a8eedb185eb2fecf",
            OFFICIAL_ENCRYPT,
            "1714112445",
            query.msg_signature,
        ),
        (
            '{"demo_resp":"good luck"}',
            b"707722b803182950",
            OFFICIAL_ANSWER,
            "1713424427",
            "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1",
        ),
    ):
        assert push.sealed(text, appid=OFFICIAL_APPID, app=SAFE, random=start) == encrypted
        assert push.signature(TOKEN, timestamp, "415670741", encrypted) == signed


# An app of ours with a key, and one without.


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    return WeChat(APPS, clock=clock, push=MESSAGES)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(push=SETTING, api_keys=f"shop:{API_KEY}:manage", registration_limit="0")


Deliver = Callable[[Push], Answer]


@pytest.fixture
def deliver(app: Flask) -> Deliver:
    return partial(delivered, app)


@pytest.fixture
def known(make_phone: Callable[..., Phone]) -> Callable[..., Phone]:
    """Make a user of whom everything is known that WeChat can take back."""

    def made(user: str = "alice", appid: str = APPID) -> Phone:
        phone = make_phone(user, appid=appid)
        phone.log_in()
        profile = {"nickname": "Alice", "avatar_url": "https://example.com/a.png"}
        assert phone.send("POST", "/user", json=profile, token=phone.token).status_code == 200
        code = phone.wechat.phone_code(user, appid)
        sent = phone.send("POST", "/phone_number", json={"code": code}, token=phone.token)
        assert sent.status_code == 200
        return phone

    return made


def kept(phone: Phone) -> set[str]:
    """Return what is known of a user."""
    user = phone.send("GET", "/user", token=phone.token).json
    return {name for name in ("nickname", "avatar_url", "phone_number") if user[name] is not None}


ALL = {"nickname", "avatar_url", "phone_number"}
NUMBER = {"phone_number"}
PROFILE = ALL - NUMBER


def counted(services: Services, event: str) -> list[tuple[str | None, str | None, int]]:
    c = audit_events.c
    query = select(c.reason, c.appid, c.count).where(c.event == event).order_by(c.id)
    with services.database.statement() as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("appid", [APPID, OTHER_APPID])
def test_wechat_is_told_that_this_is_the_place(
    wechat: WeChat, deliver: Deliver, appid: str
) -> None:
    asked = wechat.verify_push(appid)
    answer = deliver(asked)
    assert (answer.status_code, answer.text) == (200, asked.query["echostr"])
    assert answer.mimetype == "text/plain"


@pytest.mark.parametrize("xml", [False, True])
@pytest.mark.parametrize("appid", [APPID, OTHER_APPID])
@pytest.mark.parametrize(
    ("event", "left"),
    [
        ("user_authorization_revoke 6", NUMBER),
        ("user_authorization_revoke 19", NUMBER),
        ("user_authorization_revoke 20", NUMBER),
        ("user_authorization_revoke 8", PROFILE),
        ("user_authorization_revoke 6,8", set()),
        ("user_authorization_revoke 13", ALL),
        ("user_info_modified", NUMBER),
        ("debug_demo", ALL),
    ],
)
def test_what_a_user_takes_back_is_removed(
    known: Callable[..., Phone],
    deliver: Deliver,
    *,
    appid: str,
    xml: bool,
    event: str,
    left: set[str],
) -> None:
    alice, bob = known("alice", appid), known("bob", appid)
    event, _, revoked = event.partition(" ")
    members = {"RevokeInfo": revoked} if revoked else {}
    answer = deliver(alice.wechat.push(event, "alice", appid, xml=xml, members=members))
    assert (answer.status_code, answer.text) == (200, "success")
    assert kept(alice) == left
    assert kept(bob) == ALL


@ON_BOTH
def test_a_message_that_comes_twice_does_no_harm(
    known: Callable[..., Phone], wechat: WeChat, deliver: Deliver, services: Services
) -> None:
    alice = known()
    message = wechat.push("user_authorization_revoke", members={"RevokeInfo": "8"})
    for _ in range(3):
        assert deliver(message).text == "success"
    assert kept(alice) == PROFILE
    by_wechat = ("user_authorization_revoke", APPID, 1)
    assert counted(services, "phone_number.set").count(by_wechat) == 1
    assert by_wechat not in counted(services, "user.updated")


def test_a_message_about_nobody_is_taken(wechat: WeChat, deliver: Deliver) -> None:
    assert deliver(wechat.push("user_info_modified", "a stranger")).text == "success"


@pytest.mark.parametrize(
    "event",
    [
        '{"MsgType": "event", "Event": ["user_info_modified"]}',
        '{"MsgType": "event", "Event": {"user_info_modified": ""}}',
        "<xml><MsgType>event</MsgType><Event>debug_demo</Event><Event>debug_demo</Event></xml>",
        "<xml><MsgType>event</MsgType><Event><Name>user_info_modified</Name></Event></xml>",
    ],
)
def test_an_event_that_is_no_word_is_taken_as_one_that_is_not_known(
    wechat: WeChat, deliver: Deliver, event: str
) -> None:
    message = wechat.push("debug_demo", "alice", OTHER_APPID)._replace(body=event.encode())
    assert deliver(message).text == "success"


# What is refused.


def refusal(answer: Answer) -> tuple[int, str, str | None]:
    status, code, reason = problem(answer)
    return status, code, reason


def replaced(message: Push, **query: str | None) -> Push:
    """Return a request with other parameters; None leaves one out."""
    changed = {**message.query, **query}
    return message._replace(query={k: v for k, v in changed.items() if v is not None})


@pytest.fixture
def revocation(wechat: WeChat) -> Push:
    return wechat.push("user_authorization_revoke", members={"RevokeInfo": "6,8"})


def test_what_is_forged_is_refused_and_counted(
    known: Callable[..., Phone],
    wechat: WeChat,
    deliver: Deliver,
    services: Services,
    revocation: Push,
) -> None:
    alice = known()
    other = wechat.push("user_info_modified", "alice", OTHER_APPID)
    clear = revocation._replace(body=other.body.replace(OTHER_APPID.encode(), APPID.encode()))
    for forged, reason in (
        (replaced(revocation, msg_signature="0" * 40), "signature"),
        (replaced(revocation, msg_signature="\u00e9"), "signature"),
        (replaced(revocation, msg_signature=None), "signature"),
        (replaced(revocation, nonce="1"), "signature"),
        (revocation._replace(path=f"/wechat/push/{OTHER_APPID}"), "signature"),
        (revocation._replace(path="/wechat/push/wx0000000000000000"), "appid"),
        (clear, "not_encrypted"),
        (replaced(wechat.verify_push(), signature=None), "signature"),
        (replaced(wechat.verify_push(OTHER_APPID), signature="0" * 40), "signature"),
    ):
        assert refusal(deliver(forged)) == (403, "push_refused", reason)
    assert kept(alice) == ALL
    reasons = {(reason, appid): count for reason, appid, count in counted(services, "push.refused")}
    assert reasons == {
        ("signature", APPID): 5,
        ("signature", OTHER_APPID): 2,
        ("appid", None): 1,
        ("not_encrypted", APPID): 1,
    }


@pytest.mark.parametrize("appid", [APPID, OTHER_APPID])
def test_what_is_older_than_five_minutes_is_refused(
    known: Callable[..., Phone], wechat: WeChat, deliver: Deliver, clock: SettableClock, appid: str
) -> None:
    alice = known("alice", appid)
    message, asked = wechat.push("user_info_modified", "alice", appid), wechat.verify_push(appid)
    clock.advance(seconds=301)
    for late in (message, asked):
        assert refusal(deliver(late)) == (403, "push_refused", "timestamp")
    clock.advance(seconds=-602)
    assert refusal(deliver(message)) == (403, "push_refused", "timestamp")
    clock.advance(seconds=302)
    assert kept(alice) == ALL
    assert deliver(message).text == "success"


def test_a_message_for_another_app_is_refused(
    known: Callable[..., Phone], clock: SettableClock, deliver: Deliver
) -> None:
    alice = known()
    one_key = dict.fromkeys((APPID, "wx0000000000000000"), MESSAGES[APPID])
    foreign = WeChat({**APPS, "wx0000000000000000": "secret"}, clock=clock, push=one_key)
    message = foreign.push("user_info_modified", "alice", "wx0000000000000000")
    sent = message._replace(path=f"/wechat/push/{APPID}")
    assert refusal(deliver(sent)) == (403, "push_refused", "appid")
    about = foreign.push("user_info_modified", "alice", APPID, members={"AppID": OTHER_APPID})
    assert refusal(deliver(about)) == (403, "push_refused", "appid")
    assert kept(alice) == ALL


def test_another_key_or_mode_than_in_the_console_is_told(
    wechat: WeChat, clock: SettableClock, deliver: Deliver
) -> None:
    encrypted = wechat.push("debug_demo")
    in_plain_mode = WeChat(APPS, clock=clock, push={OTHER_APPID: ("Plain", KEY)})
    message = in_plain_mode.push("debug_demo", "alice", OTHER_APPID)
    assert refusal(deliver(message)) == (403, "push_refused", "no_key")
    other_key = WeChat(APPS, clock=clock, push={APPID: ("Token0123", KEY[::-1])})
    message = other_key.push("debug_demo", "alice")
    assert refusal(deliver(message)) == (403, "push_refused", "encryption")
    other_token = WeChat(APPS, clock=clock, push={APPID: ("Token01234", KEY)})
    assert refusal(deliver(other_token.push("debug_demo"))) == (403, "push_refused", "signature")
    assert deliver(encrypted).text == "success"


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(10))
EXTERNAL = '<!ENTITY l9 SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize(
    "body",
    [
        f"<!DOCTYPE xml [{LAUGHS}]><xml><Event>&l9;</Event></xml>",
        f"<!DOCTYPE xml [{EXTERNAL}]><xml><Event>&l9;</Event></xml>",
        "<!DOCTYPE xml SYSTEM 'http://127.0.0.1/xml.dtd'><xml><Event>a</Event></xml>",
        "<xml>" * 5_000,
        "<a>" * 33 + "</a>" * 33,
        "<xml>text</xml>",
        "<xml><a></xml>",
        "<",
        "",
        "[" * 60_000,
        '{"a":' * 10_000,
        "[1]",
        '"text"',
        '{"a": NaN}',
        '{"a": "\\ud800"}',
        b"\xff\xfe",
        b"\x00",
    ],
)
@pytest.mark.parametrize("appid", [APPID, OTHER_APPID])
def test_a_body_that_is_none_is_refused(
    wechat: WeChat, deliver: Deliver, services: Services, body: str | bytes, appid: str
) -> None:
    sent = body if isinstance(body, bytes) else body.encode()
    message = wechat.push("debug_demo", "alice", appid)._replace(body=sent)
    status, code, _ = problem(deliver(message))
    assert (status, code) == (400, "invalid_request")
    assert counted(services, "push.refused") == [("invalid_request", appid, 1)]


def test_entities_are_refused_before_one_is_declared() -> None:
    with pytest.raises(InvalidRequest) as refused:
        push.parsed(f"<!DOCTYPE xml [{LAUGHS}]><xml><Event>&l9;</Event></xml>")
    assert refused.value.errors[0]["message"] == "must not have a DOCTYPE"


def test_a_huge_body_is_refused(wechat: WeChat, deliver: Deliver) -> None:
    for appid in APPS:
        huge = wechat.push("debug_demo", "alice", appid, members={"Content": "x" * 70_000})
        assert refusal(deliver(huge))[:2] == (413, "content_too_large")


def test_xml_is_read_as_wechat_writes_it() -> None:
    text = "<xml><A><![CDATA[<b>&]]></A> <B>1</B><C><D>2</D></C><E>3</E><E>4</E><F></F></xml>"
    assert push.parsed("\ufeff" + text) == {
        "A": "<b>&",
        "B": "1",
        "C": {"D": "2"},
        "E": ["3", "4"],
        "F": "",
    }


# Every byte of a message is protected, or makes no difference.


@pytest.mark.parametrize("mutations", [500, pytest.param(5000, marks=pytest.mark.long)])
@pytest.mark.parametrize("xml", [False, True])
def test_mutated_messages_change_nothing(
    known: Callable[..., Phone],
    deliver: Deliver,
    services: Services,
    *,
    xml: bool,
    mutations: int,
) -> None:
    alice, chance = known(), random.Random(65)  # noqa: S311 - the same every time
    members = {"RevokeInfo": "6,8"}
    message = alice.wechat.push("user_authorization_revoke", xml=xml, members=members)
    statuses = Counter(deliver(mutated(message, chance)).status_code for _ in range(mutations))
    assert kept(alice) == ALL
    assert set(statuses) <= {400, 403}, statuses
    assert sum(count for *_, count in counted(services, "push.refused")) == mutations
    assert deliver(message).text == "success"
    assert kept(alice) == set()


def mutated(message: Push, chance: random.Random) -> Push:
    """Return a message of which something that WeChat signs is another."""
    if chance.random() < 0.3:
        name = chance.choice(["timestamp", "nonce", "msg_signature"])
        return replaced(message, **{name: other_text(message.query[name], chance)})
    start, end = message.body.index(b"Encrypt") + 10, len(message.body) - 25
    while True:
        at_, body = chance.randrange(start, end), bytearray(message.body)
        match chance.randrange(4):
            case 0:
                body[at_] ^= 1 << chance.randrange(8)
            case 1:
                del body[at_ : at_ + chance.randrange(1, 20)]
            case 2:
                body[at_:at_] = chance.randbytes(chance.randrange(1, 20))
            case _:
                body = body[:at_]
        try:  # a blank or a comment that means nothing is no forgery
            same = (
                push.parsed(body.decode())["Encrypt"]
                == push.parsed(message.body.decode())["Encrypt"]
            )
        except (InvalidRequest, UnicodeDecodeError, KeyError):
            same = False
        if not same:
            return message._replace(body=bytes(body))


def other_text(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    new = chance.choice([c for c in "0123456789abcdefX-é\n\0 " if c != text[place]])
    return text[:place] + new + text[place + 1 :]


# Operators whose one URL is taken by something else.


def pass_on(app: Flask, members: Mapping[str, object], key: str | None = API_KEY) -> Answer:
    """Send a message that somebody else has verified."""
    whole = {"MsgType": "event", "AppID": APPID, "CreateTime": 1764000000, **members}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return cast("Answer", app.test_client().post("/wechat/events", json=whole, headers=headers))


def test_a_message_that_a_back_end_passes_on_is_obeyed(
    app: Flask, known: Callable[..., Phone], wechat: WeChat, services: Services
) -> None:
    alice = known()
    members = {"Event": "user_authorization_revoke", "OpenID": wechat.openid("alice")}
    answer = pass_on(app, {**members, "RevokeInfo": "8", "ToUserName": "gh_0", "PluginID": ""})
    assert (answer.status_code, answer.json) == (200, {"taken": True})
    assert kept(alice) == PROFILE
    assert pass_on(app, {**members, "RevokeInfo": 6}).json == {"taken": True}
    assert kept(alice) == set()
    for event in "user.updated", "phone_number.set":
        assert counted(services, event)[-1] == ("user_authorization_revoke", APPID, 1)


def test_a_message_about_something_else_is_left_to_the_back_end(app: Flask) -> None:
    assert pass_on(app, {"Event": "debug_demo"}).json == {"taken": False}
    assert pass_on(app, {"MsgType": "text", "Content": "Hello"}).json == {"taken": False}


def test_what_a_back_end_may_not_pass_on(
    app: Flask, known: Callable[..., Phone], wechat: WeChat
) -> None:
    alice = known()
    about = {"Event": "user_info_modified", "OpenID": wechat.openid("alice")}
    assert refusal(pass_on(app, about, key=None))[1] == "invalid_api_key"
    assert refusal(pass_on(app, about, key="wrong"))[1] == "invalid_api_key"
    for field, value in (
        ("AppID", "wx0000000000000000"),
        ("AppID", None),
        ("OpenID", None),
        ("OpenID", "\0"),
        ("OpenID", 1),
        ("MsgType", None),
    ):
        answer = pass_on(app, {**about, field: value})
        assert refusal(answer)[:2] == (400, "invalid_request")
        assert [error["field"] for error in answer.json["errors"]] == [field]
    assert kept(alice) == ALL


# Whoever closes the WeChat account.

CANCELLATION = "user_authorization_cancellation"


@ON_BOTH
def test_who_closes_the_wechat_account_is_deleted(
    known: Callable[..., Phone], wechat: WeChat, deliver: Deliver, services: Services
) -> None:
    alice, bob = known("alice"), known("bob")
    old = alice.send("GET", "/user", token=alice.token).json["id"]
    message = wechat.push(CANCELLATION)
    for _ in range(2):
        assert deliver(message).text == "success"
    assert problem(alice.check())[2] == "user_deleted"
    assert kept(bob) == ALL
    [(_, _, count)] = counted(services, "user.deleted")
    assert count == 1
    alice.log_in()
    assert alice.send("GET", "/user", token=alice.token).json["id"] != old
    assert kept(alice) == set()


@ON_BOTH
@pytest.mark.parametrize("way", ["/register", "another app"])
def test_who_has_another_way_to_log_in_remains(
    known: Callable[..., Phone], wechat: WeChat, deliver: Deliver, *, way: str
) -> None:
    alice = known("alice")
    account = {"username": "alice", "password": "correct horse battery"}
    answer = alice.send("POST", "/register", json=account, token=alice.token)
    if way == "another app":
        other = known("alice", OTHER_APPID)
        answer = other.send("POST", "/bind", json=account, token=other.token)
    token = answer.json["session_token"]
    assert deliver(wechat.push(CANCELLATION)).text == "success"
    by_password = alice.app.test_client().post("/login", json=account)
    assert by_password.status_code == 200
    user = by_password.json
    assert user is not None
    assert user["user"]["nickname"] == "Alice"
    if way == "another app":
        assert alice.check(token).status_code == 200  # begun in the other app
    else:
        assert problem(alice.check(token))[2] == "unbound"
    first = alice.log_in().json["user"]
    assert first["new"]
    assert first["id"] != user["user"]["id"]


@ON_BOTH
@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.long)])
def test_a_cancellation_beside_a_login_and_a_refresh_leaves_nothing_half(
    known: Callable[..., Phone], deliver: Deliver, rounds: int
) -> None:
    for number in range(rounds):
        phone = known(f"user {number}")
        id_, code = phone.send("GET", "/user", token=phone.token).json["id"], phone.code()
        message = phone.wechat.push(CANCELLATION, phone.user)
        body = {"code": code, "appid": phone.appid}
        with ThreadPoolExecutor(3) as several:
            login = several.submit(phone.send, "POST", "/login", json=body)
            refresh = several.submit(phone.send, "POST", "/refresh", token=phone.token)
            assert several.submit(deliver, message).result().text == "success"
        assert problem(phone.check())[1] in {"session_ended", "invalid_token"}
        assert refresh.result().status_code in {200, 401}
        assert login.result().status_code == 200
        token = login.result().json["session_token"]
        alive = phone.check(token)
        if alive.status_code == 200:  # the login was the later one, and made a new user
            assert alive.json["user"]["id"] != id_


# Beside what else the user does.


@ON_BOTH
@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.long)])
def test_what_is_taken_back_while_the_user_is_merged_does_not_survive_in_the_account(
    app: Flask, known: Callable[..., Phone], deliver: Deliver, rounds: int
) -> None:
    for number in range(rounds):
        phone = known(f"user {number}")
        account = {"username": f"name-{number}", "password": "correct horse battery"}
        assert app.test_client().post("/register", json=account).status_code == 201
        members = {"RevokeInfo": "6,8"}
        message = phone.wechat.push("user_authorization_revoke", phone.user, members=members)
        with ThreadPoolExecutor(2) as both:
            binding = both.submit(phone.send, "POST", "/bind", json=account, token=phone.token)
            delivery = both.submit(deliver, message)
        assert (binding.result().status_code, delivery.result().text) == (200, "success")
        phone.token = binding.result().json["session_token"]
        assert kept(phone) == set()


@ON_BOTH
def test_a_message_during_an_outage_is_left_to_wechat_to_repeat(
    known: Callable[..., Phone], wechat: WeChat, deliver: Deliver, services: Services
) -> None:
    alice = known()
    message = wechat.push("user_info_modified")
    with services.database.statement() as connection:
        connection.exec_driver_sql("ALTER TABLE wxsession_identities RENAME TO away")
    try:
        assert refusal(deliver(message))[:2] == (503, "not_ready")
    finally:
        with services.database.statement() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO wxsession_identities")
    assert kept(alice) == ALL
    assert deliver(message).text == "success"
    assert kept(alice) == NUMBER

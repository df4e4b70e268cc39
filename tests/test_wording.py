"""What people read is there in Chinese as well: problems, and what commands print."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from string import Formatter
from typing import get_args

import pytest
from flask import Flask

from tests.support.phone import Phone
from tests.support.service import ROOT
from wxsession import session_required
from wxsession.cli.base import _CURES, _NO_CURE, _RUNNING
from wxsession.common.wording import CHINESE, IN_CHINESE, Sentence, language_of_locale
from wxsession.operations.findings import Subject
from wxsession.web.problems import PROBLEM_TYPES

NOBODY = "01a1fbd2-0809-779e-9835-7cdddeb1adf8"
CHINESE_CHARACTER = re.compile("[\u4e00-\u9fff]")


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_error_has_a_title_and_a_detail_in_chinese(code: str) -> None:
    kind = PROBLEM_TYPES[code]
    for text in kind.title, kind.detail:
        assert CHINESE_CHARACTER.search(IN_CHINESE[text])


REFUSING_TO_COMMANDS = (
    "accounts/passwords.py",
    "events/feed.py",
    "events/search.py",
    "storage/migrate.py",
)
"""What else refuses arguments of commands."""


def told_to_people() -> Iterator[str]:
    yield from (*_CURES.values(), *_RUNNING.values(), _NO_CURE, *get_args(Subject))
    for folder in "cli", "operations":
        for path in (ROOT / "wxsession" / folder).rglob("*.py"):
            yield from said_in(ast.parse(path.read_text(encoding="utf-8")))
    for name in REFUSING_TO_COMMANDS:
        path = ROOT / "wxsession" / name
        yield from said_in(ast.parse(path.read_text(encoding="utf-8")))


def said_in(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Name(id="words" | "Progress" | "Sentence"),
                args=[ast.Constant(value=str(text)), *_],
            ):
                if has_words(text):
                    yield text
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="InvalidRequest"), attr="of"),
                args=[_, ast.Constant(value=str(text))],
            ):
                yield text
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="InvalidRequest"), attr="of"),
                args=[_, argument],
            ):
                assert not isinstance(argument, ast.JoinedStr), ast.unparse(argument)
            case ast.Call(func=ast.Name(id="words" | "Progress" | "Sentence"), args=[argument, *_]):
                assert isinstance(argument, ast.Name | ast.Attribute | ast.IfExp), ast.unparse(
                    argument
                )


def has_words(template: str) -> bool:
    """Return whether a template has words of its own, besides its values and names."""
    own = "".join(text for text, *_ in Formatter().parse(template))
    return bool(re.search("[a-z]", re.sub("PostgreSQL|SQLite", "", own)))


@pytest.mark.parametrize("text", sorted(set(told_to_people())))
def test_everything_that_commands_and_the_doctor_say_is_there_in_chinese_with_the_same_values(
    text: str,
) -> None:
    assert values_in(IN_CHINESE[text]) == values_in(text)
    assert CHINESE_CHARACTER.search(IN_CHINESE[text])


def values_in(template: str) -> list[tuple[str | None, str | None]]:
    """Return the names of the values in a template, and their formats."""
    return sorted((name, spec) for _, name, spec, _ in Formatter().parse(template) if name)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-CN", "zh"),
        ("zh", "zh"),
        ("ZH-Hans-CN", "zh"),
        ("fr,zh;q=0.5", "zh"),
        ("en,zh;q=0.9", "en"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("zh;q=0", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("", "en"),
        ("zh;q=nonsense", "en"),
        ("zh" * 4000, "en"),
        (None, "en"),
    ],
)
@pytest.mark.parametrize("path", ["/check_session", "/user", "/nowhere", "/wechat/push/wx0"])
def test_a_problem_is_told_in_the_language_of_whoever_asks(
    phone: Phone, path: str, accepted: str | None, language: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    answer = phone.send("GET", path, headers=headers)
    assert answer.headers["Content-Language"] == language
    kind = PROBLEM_TYPES[answer.json["code"]]
    told = (answer.json["title"], answer.json["detail"])
    english = (kind.title, kind.detail)
    assert told == (english if language == "en" else tuple(IN_CHINESE[text] for text in english))
    assert all(name.isascii() and value.isascii() for name, value in answer.headers)


@pytest.mark.parametrize(("accepted", "said"), [("zh-CN", "会话令牌无效。"), ("en", "not valid.")])
def test_a_client_of_another_dialect_is_told_in_its_language(
    make_app: Callable[..., Flask], accepted: str, said: str
) -> None:
    headers = {"Accept-Language": accepted, "X-WX-Code": "1", "X-WX-Skey": "none"}
    app = make_app(dialects="wafer")

    @app.get("/orders")
    @session_required
    def orders() -> str:
        return ""

    answer = app.test_client().get("/orders", headers=headers)
    assert said in answer.get_json()["message"]


def test_commands_speak_the_language_of_the_terminal(app: Flask) -> None:
    for language, said in ("zh_CN.UTF-8", "没有这个 id 的用户"), ("C", "no user has this id"):
        run = app.test_cli_runner(env={"LC_ALL": language})
        result = run.invoke(args=["users", "enable", NOBODY, "--as", "tests"])
        assert result.exit_code == 1
        assert said in result.output


@pytest.mark.parametrize(
    ("arguments", "chinese", "english"),
    [
        (("users", "create", "--username", "a"), "username 需要 3 到", "username needs 3 to"),
        (("audit", "list", "--after", NOBODY), "after 没有这个事件", "after is no event"),
        (("admins", "add", "b ob"), "name 需要 1 到 32 个字符", "name needs 1 to 32 characters"),
    ],
)
def test_commands_refuse_an_argument_in_the_language_of_the_terminal(
    app: Flask, arguments: tuple[str, ...], chinese: str, english: str
) -> None:
    for language, said in ("zh_CN.UTF-8", chinese), ("C", english):
        result = app.test_cli_runner(env={"LC_ALL": language}).invoke(args=arguments)
        assert result.exit_code == 1
        assert said in result.output


def test_the_doctor_speaks_the_language_of_the_terminal(app: Flask) -> None:
    for language, *said in (
        (
            "zh_CN.UTF-8",
            "定期清理",
            "还没有完成过清理",
            "请用 cron 或定时器每天执行 purge-sessions",
        ),
        ("C", "purge: ", "no purge has finished yet", "run purge-sessions every day, by cron or a"),
    ):
        run = app.test_cli_runner(env={"LC_ALL": language})
        lines = run.invoke(args=["doctor"]).output.splitlines()
        assert any(all(words in line for words in ("warning ", *said)) for line in lines)
        as_json = json.loads(run.invoke(args=["doctor", "--json"]).output)
        assert "no purge has finished yet" in [one["found"] for one in as_json["findings"]]


def test_a_value_of_a_sentence_that_is_a_sentence_is_translated_with_it() -> None:
    sentence = Sentence(
        "every user of this machine can read {what}",
        what=Sentence("the file of {setting}", setting="WXSESSION_APPS_FILE"),
    )
    assert sentence == "every user of this machine can read the file of WXSESSION_APPS_FILE"
    assert sentence.in_language(CHINESE) == "本机的所有用户都能读取WXSESSION_APPS_FILE 指定的文件"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8", "LC_ALL": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": ""}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_of_a_terminal(environment: dict[str, str], language: str) -> None:
    assert language_of_locale(environment) == language

"""The door: however many requests are stuck, it is told that the process is alive."""

import queue
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import Client

from wxsession.web.api import Door

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ALIVE = "/healthz"


class Application:
    """Some answers take a moment, some are an error, and some never come unless it is let go."""

    def __init__(self) -> None:
        self.stuck: queue.Queue[str] = queue.Queue()
        self.let_go = threading.Event()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer as the path says."""
        match path := environ["PATH_INFO"]:
            case "/broken":
                raise RuntimeError("as broken as can be")
            case "/slow":
                time.sleep(0.002)
            case "/stuck":
                self.stuck.put(path)
                assert self.let_go.wait(60)
        start_response("200 OK", [])
        return iter([b"some of it", b"and the rest"])


@pytest.mark.parametrize(("threads", "let_in"), [(1, 1), (2, 1), (32, 30), (128, 120)])
def test_the_last_threads_refuse_and_say_that_they_live(threads: int, let_in: int) -> None:
    application = Application()
    door = Door(application, ALIVE, threads=threads)
    with ThreadPoolExecutor(let_in) as pool:
        for _ in range(2):
            stuck = [pool.submit(Client(door).get, "/stuck") for _ in range(let_in)]
            for _ in stuck:
                application.stuck.get(timeout=60)
            for path in "/stuck", "/slow", "/broken":
                refused = Client(door).get(path)
                assert refused.status_code == 503
                assert refused.mimetype == "application/problem+json"
                assert refused.get_json()["code"] == "overloaded"
                assert int(refused.headers["Retry-After"]) > 0
            assert Client(door).get(ALIVE).status_code == 200
            application.let_go.set()
            assert {answer.result(60).status_code for answer in stuck} == {200}
            application.let_go.clear()


def test_more_clients_than_threads_wait_for_one_another() -> None:
    door = Door(Application(), ALIVE, threads=2)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: Client(door).get("/slow").status_code, range(160)))
    assert set(answers) == {200}


def test_an_error_leaves_its_place() -> None:
    client = Client(Door(Application(), ALIVE, threads=2))
    for _ in range(10):
        with pytest.raises(RuntimeError):
            client.get("/broken")
    assert client.get("/slow").status_code == 200

"""What Windows has not is not needed: the tools of mini-programs run there, and so may a server.

A process that has none of it stands for Windows.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.service import ROOT, plain_environment
from tests.support.settings import APPID, environment

WITHOUT: Final = """
import os, signal, sys, warnings
sys.modules["fcntl"] = None  # importing it is an ImportError
del os.register_at_fork, os.fork
# A text file without an encoding is read in that of the machine, which is none of ours there.
warnings.filterwarnings("error", category=EncodingWarning, module="wxsession")
"""

STORY: Final = """
from flask import Flask
from wxsession import WxSession, current_session, session_required
from wxsession.simulator import WeChat, wechat_transport

appid, secret = os.environ["WXSESSION_APPS"].split(",")[0].split(":")
wechat = WeChat({appid: secret})
app = Flask("shop")
WxSession(app, http=wechat_transport(wechat))

@app.get("/orders")
@session_required
def orders():
    return {"orders_of": str(current_session.user_id)}

def command(*words):
    done = app.test_cli_runner().invoke(args=words)
    assert done.exit_code == 0, done.output
    return done.output

command("wxsession", "upgrade-database")
client = app.test_client()
grant = client.post("/auth/login", json={"code": wechat.login("alice")})
assert grant.status_code == 200, grant.text
headers = {"Authorization": f"Bearer {grant.json['session_token']}"}
for path in ("/auth/check_session", "/orders"):
    assert client.get(path, headers=headers).status_code == 200
account = {"username": "alice", "password": "correct horse battery"}
assert client.post("/auth/register", json=account, headers=headers).status_code == 201
print(command("wxsession", "purge-sessions"))
"""


def test_a_login_and_a_purge_need_neither_fork_nor_fcntl(tmp_path: Path) -> None:
    """As on Windows, on the database that a developer has there."""
    told = environment(f"sqlite:///{tmp_path}/wxsession.db", apps=f"{APPID}:an-app-secret")
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", WITHOUT + STORY],
        cwd=ROOT,
        env=plain_environment() | told,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "0 sessions" in done.stdout

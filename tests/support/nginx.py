"""A real nginx, unprivileged: by itself, and with the files of `deploy/nginx/`."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.recipes import API_KEY
from tests.support.service import ROOT, Server, free_port

FILES: Final = ROOT / "deploy" / "nginx"

_FRAME: Final = """
daemon off;
master_process off;    # one process, which stays who started it
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {servers}
}}
"""


class NginxProgram(Server):
    """An nginx with the given blocks, one of which listens at `port`."""

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        super().__init__({})
        self._folder = folder

    def configure(self, *blocks: str) -> None:
        """Write its file, before it is started."""
        frame = _FRAME.format(servers="\n".join(blocks))
        self._file.write_text(frame)

    @property
    def _file(self) -> Path:
        return self._folder / "nginx.conf"

    def command(self) -> list[str]:
        """Return how nginx is called."""
        # Debian keeps it where only root looks for programs.
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        assert program, "nginx is missing: apt install nginx"
        return [program, "-p", str(self._folder), "-c", str(self._file), "-e", "stderr"]


class Nginx(NginxProgram):
    """Two servers: one before wxsession, one before an application of somebody's.

    `login` and `plain` are the addresses of the first, by HTTPS and without; `shop` is the second.
    `certificate` is whom a client has to trust.
    """

    def __init__(self, folder: Path, *, service: str, application: str, bare: bool = False) -> None:
        """Start nothing yet; a `bare` one says a 401 in words of its own."""
        super().__init__(folder)
        ports = [str(free_port()) for _ in range(3)]
        self.login, self.plain, self.shop = (
            f"{scheme}://127.0.0.1:{port}"
            for scheme, port in zip(("https", "http", "http"), ports, strict=True)
        )
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        _certify(self.certificate, key)
        here = {
            "listen 443 ssl;": f"listen 127.0.0.1:{ports[0]} ssl;",
            "listen 80;": f"listen 127.0.0.1:{ports[1]};",
            "/etc/ssl/login.example.com.pem": str(self.certificate),
            "/etc/ssl/login.example.com.key": str(key),
            "/var/www/html": str(folder),
            "/var/log/nginx/wxsession.log": str(folder / "access.log"),
            "rate=10r/s": "rate=1r/m",  # a slow machine must not stay below it
            "server 127.0.0.1:8000;": f"server {urlsplit(service).netloc};",
            "http://127.0.0.1:8080": application,
            "YOUR-API-KEY": API_KEY,
        }
        names = ("upstream", "wxsession", "auth-request")
        files = [(FILES / f"{name}.conf").read_text(encoding="utf-8") for name in names]
        for shipped, meant in here.items():
            assert any(shipped in file for file in files)
            files = [file.replace(shipped, meant) for file in files]
        upstream, login, guard = files
        if bare:
            guard = re.sub(r"error_page 401 .*", "", guard)
        alive = f"server {{ listen 127.0.0.1:{self.port}; location / {{ return 200; }} }}"
        shop = f"server {{ listen 127.0.0.1:{ports[2]}; {guard} }}"
        self.configure(alive, upstream, login, shop)

    def access_log(self) -> str:
        """Return what it has written about requests to the first server."""
        return (self._folder / "access.log").read_text()


def _certify(certificate: Path, key: Path) -> None:
    """Make a key for 127.0.0.1, and a certificate of it that it signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

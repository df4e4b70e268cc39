"""The API page: Swagger UI, which shows `/openapi.json` and tries calls out, off unless asked for.

`swagger_ui` has files of the npm package swagger-ui-dist 5.35.0, unchanged, with its licence
(Apache-2.0); a test knows their hashes. So the page asks no foreign host for anything.
"""

from functools import cache
from pathlib import Path

from flask import Blueprint, Response

_FILES = Path(__file__).with_name("swagger_ui")
_JAVASCRIPT = "text/javascript"

_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wxsession</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#page',
  deepLinking: true,
  validatorUrl: null
})
"""

# Swagger UI sets styles of elements; everything else comes from here or is in the files.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_page(api: Blueprint) -> None:
    """Serve the page at ``/docs``, and what it consists of below that."""
    files = {"swagger-ui-bundle.js": _JAVASCRIPT, "swagger-ui.css": "text/css"}

    @cache
    def content(name: str) -> bytes:
        return (_FILES / name).read_bytes()

    @api.get("/docs")
    def docs() -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return Response(_HTML, headers=headers, mimetype="text/html")

    @api.get("/docs/start.js")
    def docs_start() -> Response:
        return Response(_START, mimetype=_JAVASCRIPT)

    for name, media_type in files.items():

        def docs_file(name: str = name, media_type: str = media_type) -> Response:
            kept = {"Cache-Control": "private, max-age=3600"}
            return Response(content(name), headers=kept, mimetype=media_type)

        api.add_url_rule(f"/docs/{name}", f"docs_{Path(name).stem}", docs_file)

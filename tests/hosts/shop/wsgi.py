"""The shop as it is served: what happened while it was away comes first."""

from . import create_app
from .customers import catch_up

app = create_app()
with app.app_context():
    catch_up()

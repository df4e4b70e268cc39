"""A shop: `uvicorn shop:app`."""

from typing import Annotated

from fastapi import Depends, FastAPI
from sessions import Session, introspected, verified

app = FastAPI()


@app.get("/orders")
async def orders(session: Annotated[Session, Depends(introspected)]) -> dict[str, str]:
    """Show the orders of whoever asks."""
    return {"orders_of": str(session.sub)}


@app.get("/prices")
async def prices(session: Annotated[Session, Depends(verified)]) -> dict[str, str]:
    """Show prices, without a question to wxsession."""
    return {"prices_for": str(session.sub), "tea": "12"}

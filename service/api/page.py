"""The page at ``/`` and the description of the API at ``/docs``: plain files, no requests elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

FOLDER: Final = Path(__file__).parent / "page"
FILES: Final = frozenset(path.name for path in FOLDER.iterdir() if path.suffix in {".js", ".css"})

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(FOLDER / "index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    return FileResponse(FOLDER / "docs.html")


@router.get("/page/{name}")
async def file(name: str) -> FileResponse:
    if name not in FILES:
        raise HTTPException(404)
    return FileResponse(FOLDER / name, headers={"Cache-Control": "no-cache"})

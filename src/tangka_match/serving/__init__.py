"""Search page and its API: FastAPI and uvicorn, extra ``search``; no request leaves the machine."""

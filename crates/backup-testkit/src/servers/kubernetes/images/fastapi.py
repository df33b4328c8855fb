"""A small service that keeps its state in files below /app and re-reads them."""

import json
import os
import pickle
from pathlib import Path

from fastapi import FastAPI

APP = Path(os.environ.get("STATE_DIR", "/app"))
MODEL, SETTINGS, SESSION = APP / "models/model.pkl", APP / "settings.json", APP / "data/session.state"
app = FastAPI()
state = {}


def save():
    for path in (MODEL, SETTINGS, SESSION):
        path.parent.mkdir(parents=True, exist_ok=True)
    MODEL.write_bytes(pickle.dumps({"weights": state["weights"]}))
    SETTINGS.write_text(json.dumps({"replica": state["replica"]}))
    SESSION.write_bytes(b"session " + str(state["count"]).encode() + b"\n")


def load():
    state["weights"] = pickle.loads(MODEL.read_bytes())["weights"]
    state["replica"] = json.loads(SETTINGS.read_text())["replica"]
    state["count"] = int(SESSION.read_bytes().split()[1])
    return state


@app.on_event("startup")
def start():
    try:
        load()
    except FileNotFoundError:
        replica = os.environ.get("HOSTNAME", "app-0")
        state.update(replica=replica, weights=[len(replica), *replica.encode()], count=0)
        save()


@app.get("/healthz")
def healthz():
    return {"ok": True}


@app.get("/state")
def show():
    return state


@app.post("/count/{count}")
def count(count: int):
    state["count"] = count
    save()
    return state


@app.post("/reload")
def reload():
    return load()

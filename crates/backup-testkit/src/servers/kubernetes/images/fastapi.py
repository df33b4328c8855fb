"""A small service that keeps its state in files below /app. It reads them when it starts, and when told to."""

import json
import os
import pickle
from pathlib import Path

from fastapi import FastAPI

APP = Path("/app")
MODEL, SETTINGS, SESSION = APP / "models/model.pkl", APP / "settings.json", APP / "data/session.state"
app = FastAPI()
state = {}


def save():
    for path in (MODEL, SETTINGS, SESSION):
        path.parent.mkdir(parents=True, exist_ok=True)
    MODEL.write_bytes(pickle.dumps({"weights": state["weights"]}))
    SETTINGS.write_text(json.dumps({"replica": state["replica"]}))
    SESSION.write_bytes(b"session %d\n" % state["count"])


def load():
    state["weights"] = pickle.loads(MODEL.read_bytes())["weights"]
    state["replica"] = json.loads(SETTINGS.read_text())["replica"]
    state["count"] = int(SESSION.read_bytes().split()[1])
    return state


@app.on_event("startup")
def start():
    replica = os.environ["HOSTNAME"]
    state.update(replica=replica, weights=[len(replica), *replica.encode()], count=0)
    if SESSION.exists():
        state["count"] = int(SESSION.read_bytes().split()[1])
    if MODEL.exists() and SETTINGS.exists():
        load()
    save()


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

"""Work for the runner's tests; each task's process imports it from here."""

import ctypes
import os
import time

import numpy as np
from threadpoolctl import threadpool_info


def anything(key, payload, begin):
    """Do what the key says."""
    kind = key["kind"]
    time.sleep(payload.get("seconds", 0.0))
    begin()
    if kind == "hang":
        time.sleep(600)
    if kind == "hang in C":
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock
    if kind == "crash":
        os.write(2, b"about to fall\n")
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(3)
    if kind == "eat":
        kept = []
        while True:
            kept.append(np.ones(2**21))  # 16 MB at a time
            time.sleep(0.01)
    if kind == "threads":
        return {"threads": max(library["num_threads"] for library in threadpool_info())}
    if kind == "raise":
        raise ValueError("no such luck")
    return {"square": key.get("number", 0) ** 2}

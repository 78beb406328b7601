"""Python programs without the time of their start: forks of a process that has imported the libraries.

A job of a small workflow computes for moments, and imports PyTorch and pandas for seconds. ``serve`` imports once, and
each program that is handed to it runs in a fork with its own arguments, folder, variables and streams. A fork imports
Elision itself, from its own PYTHONPATH, and transformers, which tests want to see imported by few jobs. Workflows whose
subject is a start, a kill or what is imported run without it.
"""

import json
import os
import socket
import sys

LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.decomposition", "jinja2", "pydantic", "typer"),
    *("torch", "torch._dynamo", "safetensors.torch", "snakemake.cli"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg"),
)


def client(folder: str) -> list[str]:
    """Words to put before the name of a module and its arguments."""
    return [sys.executable, "-IS", __file__, folder]


def shell(folder: str) -> str:
    """Lines for BASH_ENV, after which bash hands ``python -m elision`` to the server of a folder."""
    words = " ".join(f"'{word}'" for word in client(folder))
    return f"""python() {{ if [ "$1 $2" = "-m elision" ]; then {words} "${{@:2}}"; else command python "$@"; fi; }}\n"""


def serve(folder: str) -> None:
    """Import the libraries, then fork for every program that comes; returns in the forks."""
    import contextlib
    import gc
    import importlib
    import selectors
    from pathlib import Path

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{folder}/binding")
    listener.listen(64)
    Path(folder, "binding").rename(Path(folder, "socket"))  # only now is there anyone who answers
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is sys.stdin:  # closed, because the tests are over or were killed
                os._exit(0)
            if key.fileobj is not listener:  # a program is over
                program, connection = key.data
                waiting.unregister(key.fileobj)
                os.close(key.fileobj)
                code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
                with connection, contextlib.suppress(BrokenPipeError):  # whoever asked may be gone
                    connection.send(str(code).encode())
                continue
            connection, _ = listener.accept()
            request, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            if not (program := os.fork()):
                return become(json.loads(request), streams)
            for stream in streams:
                os.close(stream)
            waiting.register(os.pidfd_open(program), selectors.EVENT_READ, (program, connection))


def become(request: list, streams: list[int]) -> None:
    """Take over the streams, the folder, the variables and the words of a program, as ``python -m`` has them."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv, where, variables = request
    os.chdir(where)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:1] = [where, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]


def ask(folder: str, words: list[str]) -> int:
    """Have a program run in this folder, with these streams; returns its exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(f"{folder}/socket")
        request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()  # noqa: PTH109 (pathlib takes longer)
        socket.send_fds(connection, [request], [0, 1, 2])
        return int(connection.recv(64))


if __name__ == "__main__":
    if words := sys.argv[2:]:
        code = ask(sys.argv[1], words)
        sys.exit(code if code >= 0 else 128 - code)
    serve(sys.argv[1])
    import atexit
    import runpy
    import traceback

    known, code = set(sys.modules), 0
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    if os.environ.get("PYTHONPROFILEIMPORTTIME"):  # it tells of what is not among the libraries, in Python's form
        for name in sorted(set(sys.modules) - known):
            print(f"import time: 0 | 0 | {name}", file=sys.stderr)
    # Not the end of an interpreter, which takes every library apart and so copies the memory that forks share.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)

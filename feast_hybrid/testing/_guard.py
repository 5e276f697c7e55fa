"""Run one command, and end it when standard input ends.

Standard input is a pipe that the starting process holds open: it ends when that process closes it, and also
when that process dies, however it dies. (A parent-death signal would do this on Linux only, and it fires when
the starting *thread* ends.) Run as a script, in a process group of its own; knows the standard library only.

Usage: ``python _guard.py --data FOLDER COMMAND…``; the folder is removed when the command has ended, and stays with
``--keep FOLDER``. SIGUSR1 holds the command still, and SIGUSR2 has it go on. Or ``python _guard.py --at-end
COMMAND…`` to run the command only when standard input ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 8.0


def main(arguments: list[str]) -> None:
    """Run the command until it ends, or until standard input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if arguments[0] == "--at-end":
        sys.stdin.buffer.read()
        subprocess.run(arguments[1:], stdin=subprocess.DEVNULL, check=False)
        return
    option, data, *command = arguments
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end() -> None:
        sys.stdin.buffer.read()
        child.terminate()
        child.send_signal(signal.SIGCONT)  # one that was held still would not notice
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=end, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    signal.signal(signal.SIGUSR1, lambda *_: child.send_signal(signal.SIGSTOP))
    signal.signal(signal.SIGUSR2, lambda *_: child.send_signal(signal.SIGCONT))
    code = child.wait()
    sys.stdout.write(f"[the process ended with exit code {code}]\n")
    sys.stdout.flush()
    if option == "--data":
        shutil.rmtree(data, ignore_errors=True)  # a starter that was killed cannot do it
    os.killpg(os.getpgrp(), signal.SIGKILL)  # what the command started and left, such as executors


if __name__ == "__main__":
    main(sys.argv[1:])

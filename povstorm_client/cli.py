"""The entry point of ``povstorm``: however a command ends, it ends in a line and an exit code.

Exit codes: 0 it was done; 1 it was not, and a line says why and what helps; 2 the command line was
not understood; 70 a bug of povstorm's (EX_SOFTWARE of sysexits.h), its traceback in a file that the
line names; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP. ``POVSTORM_DEBUG=1`` shows tracebacks instead.

Nothing heavy is imported before main() can answer Ctrl-C.
"""

from __future__ import annotations

import os
import sys

from povstorm_client.termination import ToldInterrupt, end_as_by_ctrl_c, tell_stopped

_DONE = 0
_FAILED = 1
_BUG = 70
_INTERRUPTED = 130


def main() -> None:
    """Run the command that the process's arguments name, and exit."""
    ended_by = end_as_by_ctrl_c()
    try:
        _open_closed_streams()
        if sys.argv[1:] == ["--version"]:
            from povstorm_client.version import povstorm_version

            print(f"povstorm {povstorm_version()}")
            code = _DONE
        else:
            code = _run(sys.argv[1:])
        code = _flushed(code)
    except KeyboardInterrupt as stop:
        if not isinstance(stop, ToldInterrupt):
            tell_stopped()
        code = _flushed(_INTERRUPTED)
    if code == _INTERRUPTED and ended_by:
        code = 128 + ended_by[0]
    sys.exit(code)


def _open_closed_streams() -> None:
    """Put /dev/null where the caller closed a stream, so that no other file takes its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _run(words: list[str]) -> int:
    """The command's exit code; what it says of its failure is printed."""
    from povstorm_client.errors import PovstormError
    from povstorm_client.terminal import print_only_text

    print_only_text()
    try:
        from povstorm_client.command_line import run

        return run(words)
    except PovstormError as error:
        _complain(str(error))
    except BrokenPipeError:
        pass  # who read the output has gone, as `head` does when it has enough
    except OSError as error:
        # Of the machine, the terminal or a file, where no better words were found.
        _complain(_os_words(error))
    except Exception as error:  # whatever else it is, it is a bug
        _complain(f"a bug of povstorm's: {_in_a_line(error)}; {_kept_traceback()}")
        return _BUG
    return _FAILED


def _complain(message: str) -> None:
    if os.environ.get("POVSTORM_DEBUG"):
        import traceback

        traceback.print_exc()
    print(f"povstorm: {message}", file=sys.stderr, flush=True)


def _os_words(error: OSError) -> str:
    reason = error.strerror or _in_a_line(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _in_a_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _kept_traceback() -> str:
    """Where the traceback of the exception in hand is now, in words."""
    import tempfile
    import traceback

    if os.environ.get("POVSTORM_DEBUG"):
        return "its traceback is above"
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="povstorm-bug-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(traceback.format_exc())
    except OSError:
        return "POVSTORM_DEBUG=1 shows its traceback"
    return f"please report it with its traceback, which is in {file.name}"


def _flushed(code: int) -> int:
    """The exit code after all output has gone out: a full disk is told, a gone reader is not."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Or Python tries once more when it ends, and complains in its own words.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
                print(f"povstorm: the output: {_os_words(error)}", file=sys.stderr)
            code = code or _FAILED
    return code

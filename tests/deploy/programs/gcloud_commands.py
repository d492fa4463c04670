"""The gcloud commands of docs/deploy.md, docs/first-run.md and terraform/, and what they take.

From ``gcloud COMMAND --help``; where gcloud is installed, tests/deploy/test_gcloud_commands.py
compares the flags with its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    """arguments: how many, at least and at most. flags have a value, switches have none."""

    arguments: tuple[int, int]
    flags: frozenset[str] = frozenset()
    switches: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()


# Every command takes these: https://cloud.google.com/sdk/gcloud/reference.
EVERYWHERE = frozenset({"--project", "--impersonate-service-account", "--account", "--format"})


SWITCHES_EVERYWHERE = frozenset({"--quiet"})


def _command(
    least: int, most: int, flags: str = "", switches: str = "", required: str = ""
) -> Command:
    parts = (flags, switches, required)
    some, on, needed = (frozenset(f"--{name}" for name in part.split()) for part in parts)
    return Command((least, most), some | needed, on, needed)


COMMANDS: dict[str, Command] = {
    "auth login": _command(0, 1, switches="no-launch-browser update-adc"),
    "auth print-access-token": _command(0, 1, "lifetime"),
    "auth application-default login": _command(
        0, 0, "scopes client-id-file", "no-launch-browser disable-quota-project"
    ),
    "auth application-default revoke": _command(0, 0),
    "builds submit": _command(
        0, 1, "config gcs-source-staging-dir region service-account substitutions tag timeout"
    ),
    "config get": _command(1, 1),
    "config set": _command(2, 2),
    "iam service-accounts add-iam-policy-binding": _command(
        1, 1, "condition", required="member role"
    ),
    "iam service-accounts keys create": _command(1, 1, "key-file-type", required="iam-account"),
    "run services proxy": _command(1, 1, "port region tag token"),
    "secrets add-iam-policy-binding": _command(1, 1, "condition location", required="member role"),
    "secrets create": _command(1, 1, "data-file labels locations replication-policy"),
    "secrets delete": _command(1, 1, "etag location"),
    "secrets versions access": _command(1, 1, "location out-file", required="secret"),
    "services enable": _command(1, 20, switches="async"),
    "storage cp": _command(2, 100, switches="recursive no-clobber"),
    "storage mv": _command(2, 100, switches="no-clobber"),
    "storage rm": _command(1, 100, switches="recursive"),
}
SHORT = {"-r": "--recursive", "-R": "--recursive", "-n": "--no-clobber"}


class UsageError(Exception):
    """The command line is none that gcloud takes."""


@dataclass(frozen=True)
class Typed:
    """A command line that was understood."""

    command: str
    arguments: tuple[str, ...]
    flags: dict[str, str] = field(default_factory=dict)


def understood(words: list[str]) -> Typed:
    """The command, its arguments and flags; UsageError for what gcloud would refuse."""
    name = next((each for each in _longest_first() if _begins_with(words, each)), None)
    if name is None:
        raise UsageError(f"Invalid choice: '{' '.join(words)}'")
    command, rest = COMMANDS[name], words[len(name.split()) :]
    arguments: list[str] = []
    flags: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            continue
        flag, equals, value = SHORT.get(word, word).partition("=")
        if flag in command.switches | SWITCHES_EVERYWHERE and not equals:
            flags[flag] = ""
        elif flag in command.flags | EVERYWHERE:
            if not equals and not rest:
                raise UsageError(f"argument {flag}: expected one argument")
            flags[flag] = value if equals else rest.pop(0)
        else:
            raise UsageError(f"unrecognized arguments: {word}")
    least, most = command.arguments
    if not least <= len(arguments) <= most:
        raise UsageError(f"gcloud {name}: {len(arguments)} arguments: {arguments}")
    if missing := command.required - set(flags):
        raise UsageError(f"argument {' '.join(sorted(missing))}: Must be specified.")
    return Typed(name, tuple(arguments), flags)


def _longest_first() -> list[str]:
    return sorted(COMMANDS, key=lambda name: -len(name.split()))


def _begins_with(words: list[str], name: str) -> bool:
    parts = name.split()
    return words[: len(parts)] == parts

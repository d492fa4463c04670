"""The commands of ``povstorm``, their groups and examples; cli.py runs what the user typed.

commands/ has them, a file each.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
import typer.core

from povstorm_client.cluster import DEFAULT_DEPLOYMENT
from povstorm_client.commands.adopt import adopt
from povstorm_client.commands.cancel import cancel
from povstorm_client.commands.check import check
from povstorm_client.commands.chosen_cluster import ClusterChoice
from povstorm_client.commands.clean import clean
from povstorm_client.commands.doctor import doctor
from povstorm_client.commands.fetch import fetch
from povstorm_client.commands.frame import frame
from povstorm_client.commands.jobs import jobs
from povstorm_client.commands.live import live
from povstorm_client.commands.notify import notify
from povstorm_client.commands.render import render, retry
from povstorm_client.commands.report import report
from povstorm_client.commands.scene_options import CLOUD
from povstorm_client.commands.server import server
from povstorm_client.commands.status import status
from povstorm_client.commands.submit import submit
from povstorm_client.commands.ui import ui
from povstorm_client.commands.watch import watch
from povstorm_client.termination import ToldInterrupt, tell_stopped
from povstorm_client.version import povstorm_version

_RENDER, _LOOK, _KEEP = "Render", "Look", "Keep house"
_HELP_NAMES = ["-h", "--help"]

# typer has no public name for what a command line that is not understood raises, and for all that
# is shown without a traceback.
_UsageError: Any = typer.BadParameter.__mro__[1]
_ClickException: Any = typer.BadParameter.__mro__[2]


class _WithFlags:
    """What has options without a value: its help names no type for them, as typer's would."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - click's context
        """The parameters, --help among them."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Commands(_WithFlags, typer.core.TyperGroup):
    """All commands."""


class Command(_WithFlags, typer.core.TyperCommand):
    """A command whose mistakes are told with its usage."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's context
        """Whoever stops a command is told so, by it or here."""
        try:
            return super().invoke(ctx)
        except ToldInterrupt:
            raise
        except KeyboardInterrupt:
            tell_stopped()
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's context
        """An option without its value is told without the command that lacks it."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            error.ctx = error.ctx or ctx
            raise


class CommandWithSwitches(Command):
    """A command that takes POV-Ray's own options, such as -D or Quality=9, among its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's context
        """POV-Ray's options have one dash, so what has two and is not known here is misspelt."""
        known = [name for option in self.get_params(ctx) for name in option.opts]
        known += [name for option in self.get_params(ctx) for name in option.secondary_opts]
        words = []
        for place, word in enumerate(args):
            if word == "--":
                words += args[place:]
                break
            name = word.partition("=")[0]
            if name.startswith("--") and name not in known:
                error = _UsageError(f"No such option: {name}{_suggested(name, known)}", ctx=ctx)
                error.option_name = name
                raise error
            # Not one of click's short options: -Lhome would be one with it.
            words.append("--help" if word == "-h" else word)
        return super().parse_args(ctx, words)


def _suggested(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, [name for name in known if name.startswith("--")], 1)
    return f". Did you mean {near[0]}?" if near else ""


app = typer.Typer(
    cls=Commands,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": _HELP_NAMES},
    epilog="Example: povstorm render anim.ini --frames 1-24 --preview\n\n"
    "Exit codes: 0 done, 1 not done, 2 command line not understood, 70 a bug, 130 Ctrl-C",
)


def _add(command: Any, group: str, example: str, *, switches: bool = False) -> None:  # noqa: ANN401
    app.command(
        rich_help_panel=group,
        epilog=f"Example: {example}",
        cls=CommandWithSwitches if switches else Command,
        context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]}
        if switches
        else {"help_option_names": _HELP_NAMES},
    )(command)


_add(render, _RENDER, "povstorm render anim.ini +W640 +H480 --fps 30", switches=True)
_add(watch, _RENDER, "povstorm watch anim.ini +W640 +H480", switches=True)
_add(check, _RENDER, "povstorm check anim.ini", switches=True)
_add(retry, _RENDER, "povstorm retry anim-20260102-030405-ab12")
_add(submit, _RENDER, "povstorm --cluster outputs.json submit anim.ini", switches=True)
_add(cancel, _RENDER, "povstorm cancel anim-20260102-030405-ab12")
_add(status, _LOOK, "povstorm status anim-20260102-030405-ab12 --watch")
_add(live, _LOOK, "povstorm live anim-20260102-030405-ab12")
_add(fetch, _LOOK, "povstorm fetch anim-20260102-030405-ab12 --output results")
_add(report, _LOOK, "povstorm report anim-20260102-030405-ab12")
_add(frame, _LOOK, "povstorm frame anim-20260102-030405-ab12 42 +A0.1", switches=True)
_add(ui, _LOOK, "povstorm ui anim-20260102-030405-ab12")
_add(jobs, _KEEP, "povstorm jobs --last 50")
_add(clean, _KEEP, "povstorm clean --older-than 30d --keep 5 --dry-run")
_add(adopt, _KEEP, "povstorm adopt --yes")
_add(server, _KEEP, "povstorm server start")
_add(notify, _KEEP, "povstorm notify https://example.com/hook")
_add(doctor, _KEEP, "povstorm --cluster outputs.json doctor")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"povstorm {povstorm_version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _povstorm(
    context: typer.Context,
    cluster: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            metavar="OUTPUTS.JSON",
            envvar="POVSTORM_CLUSTER",
            help="Render on Google Cloud: the file of `terraform output -json`",
            rich_help_panel=CLOUD,
        ),
    ] = None,
    deployment: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FLOW/NAME",
            envvar="POVSTORM_DEPLOYMENT",
            help=f"Run the flow on this Prefect deployment: {DEFAULT_DEPLOYMENT}, or, with a "
            "worker on this machine, render-job/local",
        ),
    ] = None,
    gcp_credentials: Annotated[
        str,
        typer.Option(
            metavar="BLOCK",
            help="A GcpCredentials block instead of the application default",
            rich_help_panel=CLOUD,
        ),
    ] = "",
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Render POV-Ray animations: frames in parallel, images, video and statistics back."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)
    context.obj = ClusterChoice(cluster, deployment or None, gcp_credentials)


def run(words: list[str]) -> int:
    """Run the command that the words name; returns its exit code.

    A command line that is not understood is told in a line, with the usage; other errors are the
    caller's to show.
    """
    try:
        return app(words, prog_name="povstorm", standalone_mode=False) or 0
    except typer.Abort:
        return 130
    except _UsageError as error:
        print(f"povstorm: {_words(error)}", file=sys.stderr)
        context = error.ctx or typer.Context(typer.main.get_command(app), info_name="povstorm")
        print(" ".join(context.get_usage().split()), file=sys.stderr)
        print(f"{context.command_path} --help says more", file=sys.stderr)
        return int(error.exit_code)
    except _ClickException as error:
        print(f"povstorm: {_words(error)}", file=sys.stderr)
        return int(error.exit_code)


def _words(error: Any) -> str:  # noqa: ANN401 - click's exception
    words = " ".join(str(error.format_message()).split())
    name = str(getattr(error, "option_name", ""))
    if name in ("--cluster", "--deployment", "--gcp-credentials"):
        return f"{name} stands before the command's name: povstorm {name} … COMMAND …"
    return words

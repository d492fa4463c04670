"""Have a Prefect server tell of each job that ends, whoever started it; ``povstorm notify`` does.

What tells is Prefect's own: a notification block, or a Webhook block for a plain address, and
automations that use it, to be seen and changed in Prefect's pages. Prefect is imported by what is
called, and not with this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from povstorm_client.errors import InputError, ToolError
from povstorm_client.launch.prefect_server import PrefectServer
from povstorm_client.launch.web_address import check_web_address
from povstorm_client.terminal import one_line

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.actions import CallWebhook, SendNotification
    from prefect.events.schemas.automations import AutomationCore

# The Webhook block of a plain address.
BLOCK = "povstorm-notify"
JOB_ENDS = "povstorm: a job has ended"
# For what fails before there is a job, as where the scene is not there. Of a job that fails its
# own end is told too.
SCENE_FAILS = "povstorm: a scheduled scene has failed"
_FAILURES = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
_ENDS = _FAILURES | {"prefect.flow-run.Completed"}

# Jinja of Prefect's: https://docs.prefect.io/v3/concepts/automations. A run that never began has no
# name of povstorm's yet, and its job no report.
_SET = (
    "{% set state = flow_run.state.name %}"
    "{% set uri = flow_run.parameters.job_uri or '' %}"
    "{% set job = uri.split('/')[-1] or flow_run.name %}"
    "{% set report = uri.replace('gs://', 'https://storage.cloud.google.com/') ~ '/report.html' "
    "if uri and state != 'Crashed' else '' %}"
)
_SUBJECT = _SET + "povstorm: {{ job }} {{ state.lower() }}"
_BODY = (
    _SET + "{{ flow_run.state.message or state }}\n"
    "{% if report %}report: {{ report }}\n{% endif %}"
    "{% if flow_run | ui_url %}run: {{ flow_run | ui_url }}{% endif %}"
)
# In the shape of --notify's, which is Apprise's, with what programs want to know.
_PAYLOAD = (
    _SET + "{% set message %}" + _BODY.removeprefix(_SET) + "{% endset %}"
    """{
  "version": "1.0",
  "title": {{ ("povstorm: " ~ job ~ " " ~ state.lower()) | tojson }},
  "message": {{ message | string | tojson }},
  "type": {{ ("success" if state == "Completed" else "failure") | tojson }},
  "job": {{ job | tojson }},
  "state": {{ state.lower() | tojson }},
  "reason": {{ (flow_run.state.message or "") | tojson }},
  "report": {{ report | tojson }},
  "run": {{ (flow_run | ui_url or "") | tojson }}
}"""
)
_ANSWER_SECONDS = 10.0
_HELLO_TITLE = "povstorm: you will be told here"
_HELLO_TEXT = "of each job that ends on this Prefect server"


def told(server: PrefectServer) -> str:
    """Which block the server tells by, TYPE/NAME; "" where it tells nobody."""
    with _client(server) as client:
        for automation in client.read_automations_by_name(JOB_ENDS):
            for action in automation.actions:
                if automation.enabled and (block := getattr(action, "block_document_id", None)):
                    document = client.read_block_document(block)
                    kind = document.block_type.slug if document.block_type else "block"
                    return f"{kind}/{document.name}"
    return ""


def tell(server: PrefectServer, target: str) -> None:
    """Have the server tell target of each job that ends, in place of whom it told before.

    target: an http(s) address, which gets JSON by POST, or TYPE/NAME of a notification block of
    Prefect's. It is told so at once.

    Raises InputError for what is neither or does not take that, ToolError where the server does
    not do it.
    """
    with _client(server) as client:
        action = _webhook(target) if "://" in target else _notification(target)
        for automation in (
            _automation(JOB_ENDS, "render-job", _ENDS, action),
            _automation(SCENE_FAILS, "render-scene", _FAILURES, action),
        ):
            there = client.read_automations_by_name(automation.name)
            if there:
                client.update_automation(there[0].id, automation)
            else:
                client.create_automation(automation)


def tell_nobody(server: PrefectServer) -> bool:
    """Take back what tell() made; False if there was nothing."""
    from prefect.exceptions import ObjectNotFound

    with _client(server) as client:
        found = [
            automation
            for name in (JOB_ENDS, SCENE_FAILS)
            for automation in client.read_automations_by_name(name)
        ]
        for automation in found:
            client.delete_automation(automation.id)
        try:
            block = client.read_block_document_by_name(BLOCK, "webhook")
        except ObjectNotFound:
            return bool(found)
        client.delete_block_document(block.id)
    return True


def _webhook(url: str) -> CallWebhook:
    """What calls the address, which has answered a first call."""
    import httpx
    from prefect.blocks.webhook import Webhook
    from prefect.events.actions import CallWebhook
    from prefect.types import SecretDict
    from pydantic import SecretStr

    scheme = url.partition("://")[0].casefold()
    if scheme not in ("http", "https"):
        raise InputError(
            f"{scheme}://… is no address that Prefect calls: give https://…, or TYPE/NAME of a "
            "notification block, such as slack-webhook/team (Prefect's pages make them, `prefect "
            "block ls` lists them)"
        )
    host = check_web_address(url, f"the address {scheme}://…")
    hello = {"version": "1.0", "title": _HELLO_TITLE, "message": _HELLO_TEXT, "type": "info"}
    try:
        # From here, as the server will.
        answer = httpx.post(url, json=hello, timeout=_ANSWER_SECONDS)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        # Its words name the address, which may have a secret in it.
        raise InputError(
            f"{scheme}://{host}/… answers {error.response.status_code} to a message in JSON: a "
            "service that wants it in its own form has a notification block (TYPE/NAME)"
        ) from None
    except httpx.InvalidURL:
        raise InputError(
            f"{scheme}://{host}/… is no address that can be called: look at how it is written"
        ) from None
    except httpx.HTTPError as error:
        raise InputError(f"{scheme}://{host}/… does not answer: {type(error).__name__}") from None
    block = Webhook(url=SecretStr(url), headers=SecretDict({"Content-Type": "application/json"}))
    # Called where no event loop runs, it is not awaited.
    saved = cast("UUID", block.save(BLOCK, overwrite=True))
    return CallWebhook(block_document_id=saved, payload=_PAYLOAD)


def _notification(slug: str) -> SendNotification:
    """What notifies by a saved block, which has taken a first message."""
    from prefect.blocks.core import Block
    from prefect.events.actions import SendNotification

    try:
        block: Any = Block.load(slug)
    except ValueError as error:
        raise InputError(
            f"{slug!r} is neither an address nor a block on this server: give https://…, or one "
            "of those that `prefect block ls` lists, such as slack-webhook/team"
        ) from error
    if "notify" not in block.get_block_capabilities():
        raise InputError(f"{slug} is a block that notifies nobody: give a notification block")
    try:
        with block.raise_on_failure():
            block.notify(_HELLO_TEXT, subject=_HELLO_TITLE)
    except Exception as error:
        # Each kind has errors of its own; some name the address, which may have a secret in it.
        raise InputError(
            f"{slug} does not take a message ({type(error).__name__}): look at it in Prefect's "
            "pages, under Blocks"
        ) from error
    return SendNotification(
        block_document_id=block._block_document_id, subject=_SUBJECT, body=_BODY
    )


def _automation(
    name: str, flow: str, expect: set[str], action: CallWebhook | SendNotification
) -> AutomationCore:
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": flow},
        for_each={"prefect.resource.id"},
        expect=expect,
        posture=Posture.Reactive,
        threshold=1,
    )
    return AutomationCore(
        name=name,
        description="Made by `povstorm notify`; `povstorm notify --off` takes it back.",
        trigger=trigger,
        actions=[action],
    )


@contextmanager
def _client(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    """A client of the server, for as long as the block runs, in which Prefect uses that server."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    try:
        with (
            temporary_settings({PREFECT_API_URL: server.url}),
            get_client(sync_client=True) as client,
        ):
            yield client
    except httpx.HTTPError as error:
        raise ToolError(
            f"the Prefect server at {server.url}, chosen by {server.chosen_by}, does not do that "
            f"({one_line(error)}): look whether it runs, and whether you may make blocks and "
            "automations there"
        ) from error

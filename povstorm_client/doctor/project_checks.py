"""The checks of ``povstorm doctor`` that look at a project on Google Cloud, before it costs money.

Each is one function, and says what is fine, what is wrong, or that it can't be told: the account of
flows may see little of a project. account_checks.py has those of the service accounts,
quota_check.py the one about room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from povstorm_client.cloud_run.terraform_outputs import TerraformOutputs
from povstorm_client.doctor.account_checks import (
    APPLY,
    acting_accounts,
    acting_name,
    check_account_keys,
    check_acting,
    check_flows_read_secret,
    check_renderer_rights,
    check_submitter_reads_images,
    short,
)
from povstorm_client.doctor.check import Check, told
from povstorm_client.doctor.google_apis import SCOPE, TOKEN_VARIABLE, GoogleApis, Json
from povstorm_client.doctor.image_place import image_place
from povstorm_client.doctor.quota_check import NEW_PROJECT, check_quota
from povstorm_client.errors import CloudError

_AS_OWNER = (
    "an owner of the project is told: "
    f"{TOKEN_VARIABLE}=$(gcloud auth print-access-token) povstorm --cluster outputs.json doctor"
)
# Of terraform/: who else names them.
_ALERT, _METRIC = "povstorm: frames failed", "povstorm_failed_frames"
_SERVER, _DATABASE = "povstorm-prefect", "povstorm-prefect"
# By it Prefect's server asks for a login: https://docs.prefect.io/v3/advanced/security-settings.
_LOGIN = "PREFECT_SERVER_API_AUTH_STRING"
# Where Prefect's servers have what they tell their services; and a server without any.
_BROKER, _NO_SERVICES = "PREFECT_MESSAGING_BROKER", "--no-services"
# Of a Cloud Run service that says nothing: https://cloud.google.com/run/docs/configuring/max-instances.
_MOST_INSTANCES = 100
# What a container that was lost leaves in the log, as Cloud Run says it, is a warning.
_LOST_CONTAINER = "Container called exit"


def check_project(apis: GoogleApis, outputs: TerraformOutputs) -> Iterator[Check]:
    """All of them; one that Google does not tell says so, and what would have it told."""
    looks: list[tuple[str, Callable[[], Check | None]]] = [
        (
            "quota",
            lambda: check_quota(apis, outputs, has_server=server_in_network(apis, outputs)),
        ),
        *(
            (f"image {image.rpartition('/')[2]}", partial(check_image, apis, image))
            for image in (outputs.render_image, outputs.render_image.replace("/render:", "/flow:"))
        ),
        ("the submitter's images", lambda: check_submitter_reads_images(apis, outputs)),
        ("the renderer's rights", lambda: check_renderer_rights(apis, outputs)),
        *(
            (acting_name(acted), partial(check_acting, apis, outputs, actor, acted))
            for actor, acted in acting_accounts(outputs)
        ),
        *(
            (f"keys of {short(email)}", partial(check_account_keys, apis, email))
            for email in (outputs.renderer_service_account, outputs.orchestrator_service_account)
        ),
        ("alert of failed frames", lambda: check_alert(apis, outputs)),
        ("way to Prefect's server", lambda: check_reaching_server(apis, outputs)),
        ("Prefect's login", lambda: check_server_login(apis, outputs)),
        ("Prefect's records", lambda: check_server_records(apis, outputs)),
        ("Prefect's database", lambda: check_database(apis, outputs)),
    ]
    for name, look in looks:
        found = told(name, look, _AS_OWNER if name != "quota" else f"{NEW_PROJECT}; {_AS_OWNER}")
        if found is not None:
            yield found


def check_secret_of_flows(
    apis: GoogleApis, outputs: TerraformOutputs, name: str, secret: str, version: str
) -> Check:
    """As account_checks.check_flows_read_secret; where Google does not tell, one that says so."""
    return told(
        name, lambda: check_flows_read_secret(apis, outputs, name, secret, version), _AS_OWNER
    )


def server_in_network(apis: GoogleApis, outputs: TerraformOutputs) -> bool:
    """Whether flows have a Prefect server that answers inside of the project's network alone."""
    try:
        return apis.get("run", f"v2/{_in_region(outputs)}/services/{_SERVER}-internal") is not None
    except CloudError:
        return False


def check_login(outputs: TerraformOutputs) -> Check:
    """Whoever asks acts as the orchestrator, as flows do, and without a key."""
    import google.auth
    from google.auth import exceptions, impersonated_credentials
    from google.oauth2 import service_account

    name, orchestrator = "login", outputs.orchestrator_service_account
    remedy = f"gcloud auth application-default login --impersonate-service-account {orchestrator}"
    try:
        login: Any = google.auth.default(scopes=[SCOPE])[0]
    except exceptions.DefaultCredentialsError:
        return Check(name, passed=False, finding="there is none here", remedy=remedy)
    email = getattr(login, "service_account_email", "")
    if isinstance(login, service_account.Credentials):
        return Check(
            name,
            passed=False,
            finding=f"by a key file of {email}, which is good until somebody deletes the key",
            remedy=remedy,
        )
    if isinstance(login, impersonated_credentials.Credentials) and email != orchestrator:
        return Check(
            name,
            passed=False,
            finding=f"you act as {email}, and flows as {orchestrator}",
            remedy=remedy,
        )
    who = email if isinstance(login, impersonated_credentials.Credentials) else "yourself"
    return Check(name, passed=True, finding=f"you act as {who}, by tokens of an hour")


def check_image(apis: GoogleApis, image: str) -> Check:
    """An image is in its repository: without it, nothing starts."""
    name = f"image {image.rpartition('/')[2]}"
    place = image_place(image)
    if place is None:
        return Check(
            name,
            passed=True,
            finding=f"{image} is in no Artifact Registry that could be asked",
            known=False,
        )
    path = f"{place.path}/packages/{place.package}/tags/{place.tag}"
    if apis.get("artifactregistry", path) is None:
        return Check(
            name,
            passed=False,
            finding=f"there is no {image}",
            remedy=f"{APPLY}, which builds it; or push it yourself, and set build_images = false",
        )
    return Check(name, passed=True, finding="is in its repository")


def check_alert(apis: GoogleApis, outputs: TerraformOutputs) -> Check:
    """Lost containers and failed frames are counted, and somebody is told."""
    name = "alert of failed frames"
    project = outputs.project_id
    policies = apis.get(
        "monitoring", f"v3/projects/{project}/alertPolicies", filter=f'display_name="{_ALERT}"'
    )
    found: list[Json] = (policies or {}).get("alertPolicies", [])
    if not found or not found[0].get("enabled", True):
        finding = "it is switched off" if found else "there is none"
        return Check(name, passed=False, finding=finding, remedy=APPLY)
    metric = apis.get("logging", f"v2/projects/{project}/metrics/{_METRIC}")
    if metric is None or _LOST_CONTAINER not in metric.get("filter", ""):
        return Check(
            name,
            passed=False,
            finding=f"the metric {_METRIC} does not count lost containers, of which Cloud Run "
            f"tells in warnings ({_LOST_CONTAINER}(1).)",
            remedy=APPLY,
        )
    if not found[0].get("notificationChannels"):
        return Check(
            name,
            passed=True,
            finding="it shows in the console and tells nobody: alert_emails is empty",
        )
    return Check(name, passed=True, finding="it is on, and tells somebody")


def check_reaching_server(apis: GoogleApis, outputs: TerraformOutputs) -> Check | None:
    """Where terraform made a Prefect server, who asks this reaches it through gcloud's proxy."""
    name = "way to Prefect's server"
    service = f"v2/{_in_region(outputs)}/services/{_SERVER}"
    if apis.get("run", service) is None:
        return None
    needed = ["run.services.get", "run.routes.invoke"]
    answer = apis.ask("run", f"{service}:testIamPermissions", {"permissions": needed}) or {}
    missing = [each for each in needed if each not in answer.get("permissions", ())]
    if missing:
        return Check(
            name,
            passed=False,
            finding=f"you lack {', '.join(missing)} on {_SERVER}: `gcloud run services proxy` "
            "would fail",
            remedy="add yourself to users in terraform.tfvars and run `terraform apply`",
        )
    return Check(name, passed=True, finding=f"you may reach {_SERVER}")


def check_server_login(apis: GoogleApis, outputs: TerraformOutputs) -> Check | None:
    """Where there is a Prefect server, what is in its network cannot do with it as it likes."""
    service = apis.get("run", f"v2/{_in_region(outputs)}/services/{_SERVER}-internal")
    if service is None:
        return None
    containers = service.get("template", {}).get("containers", ())
    names = {each["name"] for container in containers for each in container.get("env", ())}
    if _LOGIN in names:
        return Check("Prefect's login", passed=True, finding="the internal server asks for one")
    return Check(
        "Prefect's login",
        passed=False,
        finding="the internal server asks for none: what is in its network may do anything with it",
        remedy=APPLY,
    )


def check_server_records(apis: GoogleApis, outputs: TerraformOutputs) -> Check | None:
    """Where there is a Prefect server, what it is told of tasks reaches the database.

    A server tells its services of it in its own memory, unless it is given Redis:
    https://docs.prefect.io/v3/advanced/self-hosted.
    """
    name, remedy = "Prefect's records", f"{APPLY}, which makes one server with its services"
    service = apis.get("run", f"v2/{_in_region(outputs)}/services/{_SERVER}-internal")
    people = apis.get("run", f"v2/{_in_region(outputs)}/services/{_SERVER}")
    if service is None or people is None:
        return None
    template = service.get("template", {})
    containers: list[Json] = template.get("containers", [])
    brokers = [
        each.get("value", "")
        for container in containers
        for each in container.get("env", ())
        if each["name"] == _BROKER
    ]
    if any("redis" in broker for broker in brokers):
        return Check(name, passed=True, finding="the servers tell each other by Redis")
    for server, its_containers in (
        (f"{_SERVER}-internal", containers),
        (_SERVER, people.get("template", {}).get("containers", [])),
    ):
        if any(_NO_SERVICES in container.get("args", ()) for container in its_containers):
            return Check(
                name,
                passed=False,
                finding=f"{server} runs with {_NO_SERVICES}: no task run that it is told of is "
                "recorded",
                remedy=remedy,
            )
    most = template.get("scaling", {}).get("maxInstanceCount", _MOST_INSTANCES)
    if most > 1:
        return Check(
            name,
            passed=False,
            finding=f"{_SERVER}-internal may have {most} instances, which know nothing of each "
            "other: what one is told of task runs may not be recorded",
            remedy=f"{remedy}, or give them Redis ({_BROKER})",
        )
    return Check(name, passed=True, finding="one server records the task runs of all who tell it")


def check_database(apis: GoogleApis, outputs: TerraformOutputs) -> Check | None:
    """What costs money all month is known to do so, and can be got rid of."""
    # Without a server Cloud SQL is switched off, and would be said to be denied.
    if apis.get("run", f"v2/{_in_region(outputs)}/services/{_SERVER}") is None:
        return None
    instance = apis.get("sqladmin", f"v1/projects/{outputs.project_id}/instances/{_DATABASE}")
    if instance is None:
        return None
    protected = instance.get("settings", {}).get("deletionProtectionEnabled", False)
    return Check(
        "Prefect's database",
        passed=True,
        finding=f"{_DATABASE} runs all month, for about $140 with its server"
        + (", and Google refuses to delete it" if protected else ""),
        remedy="to be rid of it: set prefect_database_protection = false in terraform.tfvars, run "
        "`terraform apply`, take prefect_server out of that file, and apply again (docs/deploy.md)",
    )


def _in_region(outputs: TerraformOutputs) -> str:
    return f"projects/{outputs.project_id}/locations/{outputs.region}"

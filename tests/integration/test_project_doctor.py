"""``povstorm doctor`` on a project: it is fine, wrong with a remedy, or can't be told.

Google's REST APIs are stood in for by servers that judge who asks by the project's IAM policy, as
terraform makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from povstorm_client.cloud_run.terraform_outputs import CloudRunJob, TerraformOutputs
from povstorm_client.doctor.check import Check
from povstorm_client.doctor.google_apis import TOKEN_VARIABLE, GoogleApis
from povstorm_client.doctor.key_files import check_key_files
from povstorm_client.doctor.pool_checks import check_pool
from povstorm_client.doctor.project_checks import (
    check_login,
    check_project,
    check_secret_of_flows,
    server_in_network,
)
from povstorm_client.doctor.quota_check import FLOW_AND_SERVER, RegionQuota
from tests.e2e.cluster_policy import cluster_policy
from tests.e2e.granted_cloud import GrantedCloud
from tests.emulators.iam import token_server
from tests.emulators.iam.policy import (
    Binding,
    Policy,
    bucket_name,
    service_account_name,
)
from tests.emulators.iam.project import GoogleProject, ObjectGrants
from tests.emulators.iam.tokens import email_of, token_of
from tests.terraform.project_facts import quota

PROJECT, REGION = "my-project", "europe-west1"
OWNER = "user:ann@example.com"
IN_REGION = f"projects/{PROJECT}/locations/{REGION}"
REPOSITORY = f"{IN_REGION}/repositories/povstorm"
QUOTAS = (
    f"cloudquotas/v1/projects/{PROJECT}/locations/global/services/run.googleapis.com/quotaInfos"
)
SERVICE = f"{IN_REGION}/services/povstorm-prefect"
ALERTS = f"monitoring/v3/projects/{PROJECT}/alertPolicies"
METRIC = f"logging/v2/projects/{PROJECT}/metrics/povstorm_failed_frames"
BUCKET = bucket_name("my-bucket")


def account(who: str) -> str:
    return f"povstorm-{who}@{PROJECT}.iam.gserviceaccount.com"


def image(name: str) -> str:
    return f"{REGION}-docker.pkg.dev/{PROJECT}/povstorm/{name}:1.0"


OUTPUTS = TerraformOutputs(
    project_id=PROJECT,
    region=REGION,
    bucket="my-bucket",
    render_image=image("render"),
    renderer_service_account=account("renderer"),
    orchestrator_service_account=account("orchestrator"),
    submitter_service_account=account("submitter"),
    render_jobs=(
        CloudRunJob("render-2g", 1, 2048, 19, 0, 3600),
        CloudRunJob("render-8g", 2, 8192, 4, 0, 3600),
    ),
)


def internal_server(*words: str, most: int | None = 1, **variables: str) -> dict[str, Any]:
    """What the Admin API shows of it. words, variables: further ones of its command."""
    login = {"name": "PREFECT_SERVER_API_AUTH_STRING", "valueSource": {}}
    env = [login, *({"name": name, "value": value} for name, value in variables.items())]
    container = {"args": ["server", "start", *words], "env": env}
    scaling = {} if most is None else {"scaling": {"maxInstanceCount": most}}
    template = {"containers": [container, {"args": ["--private-ip"]}], **scaling}
    return {"name": "povstorm-prefect-internal", "template": template}


HEALTHY: dict[str, dict[str, Any]] = {
    f"{QUOTAS}/CpuAllocPerProjectRegion": quota(20_000),
    f"{QUOTAS}/MemAllocPerProjectRegion": quota(40 * 2**30),
    ALERTS: {
        "alertPolicies": [
            {"displayName": "another"},
            {
                "displayName": "povstorm: frames failed",
                "enabled": True,
                "notificationChannels": ["ann"],
            },
        ]
    },
    METRIC: {"filter": 'severity>=ERROR OR textPayload=~"(Container called exit.[1-9]|…)"'},
}
SERVER = {
    SERVICE: {"template": {"containers": [{"args": ["exec caddy reverse-proxy"]}]}},
    f"{SERVICE}-internal": internal_server(),
}
DATABASE = {f"sqladmin/v1/projects/{PROJECT}/instances/povstorm-prefect": {"settings": {}}}
NAMES = [
    *("quota", "image render:1.0", "image flow:1.0", "the submitter's images"),
    *("the renderer's rights", "acting as povstorm-renderer", "acting as povstorm-orchestrator"),
    *("keys of povstorm-renderer", "keys of povstorm-orchestrator", "alert of failed frames"),
]
APIS = (
    *("artifactregistry", "cloudquotas", "cloudresourcemanager", "iam", "logging", "monitoring"),
    *("run", "sqladmin", "storage"),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrantedCloud]:
    with GrantedCloud(tmp_path_factory.mktemp("google"), PROJECT, OWNER) as cloud:
        yield cloud


@pytest.fixture
def google(servers: GrantedCloud, monkeypatch: pytest.MonkeyPatch) -> GrantedCloud:
    """The project as terraform makes it; its owner is logged in."""
    google, project = servers, servers.project
    for file in project.folder.glob("*.json"):
        file.unlink()
    made = cluster_policy(OUTPUTS, [])
    project.policy = made.plus(
        Binding(OWNER, "roles/owner", f"projects/{PROJECT}"),
        Binding(OWNER, "roles/storage.legacyBucketOwner", BUCKET),
    )
    google.storage.grants = ObjectGrants(project, OUTPUTS.bucket)
    project.enable(*(f"{api}.googleapis.com" for api in APIS))
    for name in ("render", "flow"):
        project.push_image(image(name))
    google.apis.answers = dict(HEALTHY)
    for name, value in google.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    return google


class Login(Credentials):
    """Somebody's, who is named by it if it is an account's."""

    def __init__(self, member: str) -> None:
        super().__init__(token_of(member))  # type: ignore[no-untyped-call]
        if member.startswith("serviceAccount:"):
            self.service_account_email = email_of(member)


def checks(member: str = OWNER, outputs: TerraformOutputs = OUTPUTS) -> dict[str, Check]:
    return {each.name: each for each in check_project(GoogleApis(PROJECT, Login(member)), outputs)}


def member(who: str) -> str:
    return f"serviceAccount:{account(who)}"


def take(google: GrantedCloud, who: str, resource: str = "") -> None:
    """Take an account's grants, on a resource alone if it is named."""
    policy = google.project.policy
    kept = [
        each
        for each in policy.bindings
        if each.member != member(who) or (resource and each.resource != resource)
    ]
    google.project.policy = replace(policy, bindings=kept)


def grant(google: GrantedCloud, who: str, role: str, resource: str, names: str = "") -> None:
    added = Binding(member(who), role, resource, names)
    google.project.policy = google.project.policy.plus(added)


def test_a_project_as_terraform_makes_it_is_fine(google: GrantedCloud):
    found = checks()

    assert list(found) == NAMES
    assert [each for each in found.values() if not (each.passed and each.known)] == []
    assert not any(each.remedy for each in found.values())
    assert found["quota"].finding == (
        "europe-west1 allows 20 vCPU and 40 GiB of memory, of which 1 vCPU and 2 GiB are the "
        "flow's; plans use the rest"
    )


def test_to_who_may_see_nothing_each_says_so_and_who_is_told(google: GrantedCloud):
    found = checks("user:bob@example.com")

    of_server = ["way to Prefect's server", "Prefect's login"]
    of_server += ["Prefect's records", "Prefect's database"]
    assert list(found) == [*NAMES, *of_server]
    for check in found.values():
        assert check.passed
        assert not check.known
        assert "denied on resource" in check.finding
        assert f"{TOKEN_VARIABLE}=$(gcloud auth print-access-token) povstorm" in check.remedy
    assert "about 20 vCPU and 40 GiB" in found["quota"].remedy


def test_a_person_s_token_counts_more_than_the_login(
    google: GrantedCloud, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(TOKEN_VARIABLE, token_of(OWNER))

    assert all(each.known for each in checks(member("orchestrator")).values())


def test_an_api_that_is_switched_off_is_named(google: GrantedCloud):
    enabled = google.project.folder / "enabled.json"
    enabled.write_text(json.dumps(dict.fromkeys(["run.googleapis.com", "storage.googleapis.com"])))

    quota_check = checks()["quota"]

    assert (quota_check.passed, quota_check.known) == (True, False)
    assert "cloudquotas API has not been used in project my-project" in quota_check.finding


def test_without_a_network_the_first_that_fails_is_the_last_that_waits(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    found = list(check_project(GoogleApis(PROJECT, Login(OWNER)), OUTPUTS))

    assert {each.known for each in found} == {False}
    assert len({each.finding for each in found}) == 1
    assert "Google does not answer" in found[0].finding


def wrong(name: str) -> tuple[str, str]:
    """The finding and the remedy of the one check that fails, to an owner."""
    failed = [each for each in checks().values() if not each.passed]
    assert [each.name for each in failed] == [name]
    return failed[0].finding, failed[0].remedy


def test_a_quota_below_what_plans_count_on_is_told_with_what_to_set(google: GrantedCloud):
    less = quota(40 * 2**30, europe_west1=32 * 2**30)
    google.apis.answers[f"{QUOTAS}/MemAllocPerProjectRegion"] = less

    finding, remedy = wrong("quota")

    assert "20 vCPU and 32 GiB" in finding
    assert "15 tasks of render-2g, and plans count on 19" in finding
    assert "3 tasks of render-8g, and plans count on 4" in finding
    assert "region_quota = { vcpus = 20, memory_gib = 32 }" in remedy


def test_a_larger_quota_is_told_and_how_it_is_used(google: GrantedCloud):
    google.apis.answers[f"{QUOTAS}/CpuAllocPerProjectRegion"] = quota(20_000, europe_west1=200_000)
    google.apis.answers[f"{QUOTAS}/MemAllocPerProjectRegion"] = quota(
        400 * 2**30, us_central1=2**30
    )

    check = checks()["quota"]

    assert check.passed
    assert "plans use 19 of 199 tasks of render-2g, 4 of 49 tasks of render-8g" in check.finding
    assert "region_quota = { vcpus = 200, memory_gib = 400 }" in check.remedy


def test_a_quota_without_a_limit_is_room_for_any_number(google: GrantedCloud):
    google.apis.answers[f"{QUOTAS}/CpuAllocPerProjectRegion"] = quota(-1)
    google.apis.answers[f"{QUOTAS}/MemAllocPerProjectRegion"] = quota(-1)

    assert "plans use 19 of any number tasks" in checks()["quota"].finding


def test_a_prefect_server_takes_its_part_of_the_quota(google: GrantedCloud):
    google.project.set_services(SERVER)

    check = checks()["quota"]

    assert not check.passed
    assert "4.5 vCPU and 4.25 GiB are the flow's and the Prefect server's" in check.finding
    assert "15 tasks of render-2g, and plans count on 19" in check.finding
    beside = FLOW_AND_SERVER
    assert [RegionQuota(20, 40).tasks(job, beside) for job in OUTPUTS.render_jobs] == [15, 4]


@pytest.mark.parametrize("what", ["render", "flow"])
def test_an_image_that_nobody_has_built_is_told(google: GrantedCloud, what: str):
    google.project.set_images({image("render"), image("flow")} - {image(what)})

    finding, remedy = wrong(f"image {what}:1.0")

    assert f"there is no {image(what)}" in finding
    assert "terraform apply" in remedy


def test_images_in_another_registry_cannot_be_told(google: GrantedCloud):
    elsewhere = replace(OUTPUTS, render_image="docker.io/me/render:1.0")

    found = checks(outputs=elsewhere)

    assert not found["image render:1.0"].known
    assert not found["the submitter's images"].known


@pytest.mark.parametrize("who", [OWNER, member("submitter")], ids=["an owner", "itself"])
def test_a_submitter_that_may_not_read_the_repository_is_told(google: GrantedCloud, who: str):
    assert checks(who)["the submitter's images"].passed

    take(google, "submitter", REPOSITORY)
    check = checks(who)["the submitter's images"]

    assert not check.passed
    assert f"{account('submitter')} may not read the repository povstorm" in check.finding
    assert "roles/artifactregistry.reader" in check.remedy


def test_a_submitter_that_reads_all_of_the_project_reads_the_repository(google: GrantedCloud):
    take(google, "submitter", REPOSITORY)
    grant(google, "submitter", "roles/artifactregistry.reader", f"projects/{PROJECT}")

    assert checks()["the submitter's images"].passed


@pytest.mark.parametrize(
    ("actor", "acted"), [("orchestrator", "renderer"), ("submitter", "orchestrator")]
)
@pytest.mark.parametrize("asked_by", ["an owner", "itself"])
def test_who_may_not_act_as_the_account_of_what_it_starts_is_told(
    google: GrantedCloud, actor: str, acted: str, asked_by: str
):
    name, who = f"acting as povstorm-{acted}", OWNER if asked_by == "an owner" else member(actor)
    assert checks(who)[name] == Check(name, passed=True, finding=f"povstorm-{actor} may")

    take(google, actor, service_account_name(PROJECT, account(acted)))
    check = checks(who)[name]

    assert not check.passed
    assert f"{account(actor)} lacks iam.serviceAccounts.actAs on {account(acted)}" in check.finding
    assert "grant it roles/iam.serviceAccountUser on that account" in check.remedy


def test_who_may_act_as_every_account_may_as_this_one(google: GrantedCloud):
    take(google, "orchestrator", service_account_name(PROJECT, account("renderer")))
    grant(google, "orchestrator", "roles/iam.serviceAccountUser", f"projects/{PROJECT}")

    assert checks()["acting as povstorm-renderer"].passed


def test_a_renderer_without_rights_is_told(google: GrantedCloud):
    take(google, "renderer")

    assert "may not use the bucket" in wrong("the renderer's rights")[0]


@pytest.mark.parametrize("role", ["objectAdmin", "objectViewer", "legacyBucketReader"])
def test_a_renderer_with_another_role_on_the_bucket_is_told(google: GrantedCloud, role: str):
    grant(google, "renderer", f"roles/storage.{role}", BUCKET)

    finding, remedy = wrong("the renderer's rights")

    assert f"{account('renderer')} has roles/storage.{role} on the bucket" in finding
    assert "gcloud storage buckets remove-iam-policy-binding gs://my-bucket" in remedy
    assert remedy.partition(" --member ")[2].startswith(f"{member('renderer')} --role roles/")


def test_a_renderer_with_its_role_on_all_of_the_bucket_is_told(google: GrantedCloud):
    grant(google, "renderer", f"projects/{PROJECT}/roles/povstormRenderer", BUCKET)

    assert "in the whole bucket" in wrong("the renderer's rights")[0]


@pytest.mark.parametrize(
    "role", ["editor", "viewer", "storage.admin", "storage.objectViewer", "run.developer"]
)
def test_a_renderer_with_a_role_on_the_whole_project_is_told(google: GrantedCloud, role: str):
    grant(google, "renderer", f"roles/{role}", f"projects/{PROJECT}")

    finding, remedy = wrong("the renderer's rights")

    assert f"{account('renderer')} has roles/{role} on the whole project" in finding
    assert f"gcloud projects remove-iam-policy-binding {PROJECT} --member" in remedy


def test_a_renderer_that_writes_logs_besides_is_fine(google: GrantedCloud):
    grant(google, "renderer", "roles/logging.logWriter", f"projects/{PROJECT}")

    assert checks()["the renderer's rights"].passed


@pytest.mark.parametrize("who", ["renderer", "orchestrator"])
def test_a_lasting_key_of_an_account_is_told_with_the_command_that_ends_it(
    google: GrantedCloud, who: str
):
    token_server.make_key(google.project, account(who))

    finding, remedy = wrong(f"keys of povstorm-{who}")

    assert "there are 1" in finding
    assert f"keys delete 1 --iam-account {account(who)}" in remedy


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("orchestrator", {"acting as povstorm-renderer"}),
        (
            "submitter",
            {
                *("image render:1.0", "image flow:1.0", "the submitter's images"),
                *("acting as povstorm-orchestrator", "way to Prefect's server"),
                *("Prefect's login", "Prefect's records", "Prefect's database"),
            },
        ),
    ],
)
def test_an_account_is_told_what_its_roles_let_it_see_and_nothing_else(
    google: GrantedCloud, who: str, seen: set[str]
):
    google.project.set_services(SERVER)
    google.apis.answers |= DATABASE

    found = checks(member(who)).values()

    assert {each.name for each in found if each.known} == seen - {"Prefect's database"}
    for each in found:
        assert each.known or (each.passed and TOKEN_VARIABLE in each.remedy)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({ALERTS: {"alertPolicies": []}}, "there is none"),
        (
            {
                ALERTS: {
                    "alertPolicies": [{"displayName": "povstorm: frames failed", "enabled": False}]
                }
            },
            "it is switched off",
        ),
        ({METRIC: {"filter": "severity>=ERROR"}}, "does not count lost containers"),
    ],
    ids=["none", "off", "blind"],
)
def test_an_alert_that_would_tell_nothing_is_told(
    google: GrantedCloud, answers: dict[str, Any], words: str
):
    google.apis.answers |= answers

    finding, remedy = wrong("alert of failed frames")

    assert words in finding
    assert "terraform apply" in remedy


def test_an_alert_that_tells_nobody_is_said_to(google: GrantedCloud):
    google.apis.answers[ALERTS] = {"alertPolicies": [{"displayName": "povstorm: frames failed"}]}

    assert "alert_emails is empty" in checks()["alert of failed frames"].finding


def test_where_there_is_a_prefect_server_the_way_to_it_and_its_cost_are_told(google: GrantedCloud):
    google.project.set_services(SERVER)
    google.apis.answers |= DATABASE

    found = checks()

    assert found["way to Prefect's server"].passed
    assert found["Prefect's database"].passed
    assert "about $140" in found["Prefect's database"].finding
    remedy = found["Prefect's database"].remedy
    assert "prefect_database_protection = false in terraform.tfvars" in remedy
    assert "take prefect_server out of that file" in remedy
    assert server_in_network(GoogleApis(PROJECT, Login(OWNER)), OUTPUTS)


def test_an_internal_server_that_asks_for_no_login_is_told(google: GrantedCloud):
    google.project.set_services(SERVER)
    assert checks()["Prefect's login"].passed

    open_to_all = {"template": {"containers": [{"env": []}]}}
    google.project.set_services({**SERVER, f"{SERVICE}-internal": open_to_all})
    check = checks()["Prefect's login"]

    assert not check.passed
    assert "terraform apply" in check.remedy


def test_an_internal_server_that_records_what_flows_tell_it_is_fine(google: GrantedCloud):
    google.project.set_services(SERVER)

    check = checks()["Prefect's records"]

    assert check.passed
    assert check.finding == "one server records the task runs of all who tell it"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (internal_server("--no-services"), "povstorm-prefect-internal runs with --no-services"),
        (internal_server(most=2), "may have 2 instances"),
        (internal_server(most=None), "may have 100 instances"),
    ],
    ids=["no services", "two", "as many as it likes"],
)
def test_an_internal_server_that_would_lose_task_runs_is_told(
    google: GrantedCloud, server: dict[str, Any], words: str
):
    google.project.set_services({**SERVER, f"{SERVICE}-internal": server})

    check = checks()["Prefect's records"]

    assert not check.passed
    assert words in check.finding
    assert "terraform apply" in check.remedy


def test_a_server_for_people_that_records_no_task_runs_is_told(google: GrantedCloud):
    google.project.set_services({**SERVER, SERVICE: internal_server("--no-services")})

    check = checks()["Prefect's records"]

    assert not check.passed
    assert "povstorm-prefect runs with --no-services" in check.finding
    assert "terraform apply" in check.remedy


def test_several_internal_servers_with_redis_are_fine(google: GrantedCloud):
    google.project.set_services(SERVER)
    broker = "prefect_redis.messaging"
    three = internal_server("--no-services", most=3, PREFECT_MESSAGING_BROKER=broker)
    google.project.set_services({**SERVER, f"{SERVICE}-internal": three})

    assert checks()["Prefect's records"].passed


def test_a_person_who_cannot_reach_the_prefect_server_is_told(google: GrantedCloud):
    google.project.set_services(SERVER)
    bob = Binding("user:bob@example.com", "roles/run.viewer", f"{IN_REGION}/services")
    google.project.policy = google.project.policy.plus(bob)

    check = checks("user:bob@example.com")["way to Prefect's server"]

    assert not check.passed
    assert "run.routes.invoke" in check.finding
    assert "users in terraform.tfvars" in check.remedy


KEY = {"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----"}


def test_a_key_file_in_the_folder_is_told(tmp_path: Path):
    (tmp_path / "outputs.json").write_text('{"type": "service_account"}', encoding="utf-8")
    assert check_key_files(tmp_path).passed

    key = tmp_path / "deployments" / "key.json"
    key.parent.mkdir()
    key.write_text(json.dumps(KEY), encoding="utf-8")
    check = check_key_files(tmp_path)

    assert not check.passed
    assert str(key) in check.finding
    assert "gcloud iam service-accounts keys" in check.remedy


def test_what_others_have_brought_along_is_no_key_of_ours(tmp_path: Path):
    sample = tmp_path / ".venv" / "lib" / "sample.json"
    sample.parent.mkdir(parents=True)
    sample.write_text(json.dumps(KEY), encoding="utf-8")

    assert check_key_files(tmp_path).passed


def logged_in(folder: Path, patch: pytest.MonkeyPatch, content: dict[str, Any]) -> Check:
    file = folder / "login.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return check_login(OUTPUTS)


def test_who_acts_as_the_orchestrator_by_tokens_is_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    right = token_server.impersonation(OWNER, account("orchestrator"))
    check = logged_in(tmp_path, monkeypatch, right)
    assert check.passed
    assert account("orchestrator") in check.finding

    as_another = token_server.impersonation(OWNER, account("submitter"))
    check = logged_in(tmp_path, monkeypatch, as_another)
    assert not check.passed
    assert f"--impersonate-service-account {account('orchestrator')}" in check.remedy


def test_a_login_by_a_key_or_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = GoogleProject(tmp_path)
    project.policy = Policy(PROJECT, [])
    key = token_server.make_key(project, account("orchestrator"))
    check = logged_in(tmp_path, monkeypatch, key)
    assert not check.passed
    assert "by a key file" in check.finding

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    check = check_login(OUTPUTS)
    assert not check.passed
    assert "there is none here" in check.finding


def pool_template(**defaults: Any) -> dict[str, Any]:
    """povstorm's own template, with defaults of some variables set."""
    file = Path(__file__).parents[2] / "deployments" / "pools" / "cloud-run.json"
    template: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for name, value in defaults.items():
        template["variables"]["properties"][name]["default"] = value
    return template


def pool_secret(asked_by: str = OWNER) -> Check:
    apis = GoogleApis(PROJECT, Login(asked_by))
    return check_secret_of_flows(apis, OUTPUTS, "login of p", SECRET["secret"], SECRET["version"])


@pytest.fixture
def secret_of_flows(google: GrantedCloud) -> str:
    """As docs/deploy.md has it made; its full name."""
    google.project.enable("secretmanager.googleapis.com")
    google.project.add_secret(SECRET["secret"], "key")
    name = f"projects/{PROJECT}/secrets/{SECRET['secret']}"
    grant(google, "orchestrator", "roles/secretmanager.secretAccessor", name)
    return name


@pytest.mark.usefixtures("secret_of_flows")
def test_a_secret_that_flows_may_read_is_fine_and_they_are_not_told_of_it(google: GrantedCloud):
    assert pool_secret() == Check(
        "login of p", passed=True, finding="flows are given the secret prefect-api-key"
    )
    by_flows = pool_secret(member("orchestrator"))
    assert (by_flows.passed, by_flows.known) == (True, False)
    assert TOKEN_VARIABLE in by_flows.remedy


@pytest.mark.usefixtures("secret_of_flows")
def test_a_secret_that_nobody_has_made_is_told(google: GrantedCloud):
    google.project.delete_secret(SECRET["secret"])

    check = pool_secret()

    assert not check.passed
    assert "there is no secret prefect-api-key" in check.finding
    assert "gcloud secrets create prefect-api-key --data-file=-" in check.remedy


def test_where_secret_manager_is_switched_off_there_is_no_secret(google: GrantedCloud):
    assert "there is no secret prefect-api-key" in pool_secret().finding
    assert not pool_secret().passed


def test_a_secret_that_flows_may_not_read_is_told(google: GrantedCloud, secret_of_flows: str):
    take(google, "orchestrator", secret_of_flows)
    check = pool_secret()
    assert not check.passed
    assert f"{account('orchestrator')} may not read the secret prefect-api-key" in check.finding
    assert f"--member {member('orchestrator')} --role roles/secret" in check.remedy

    grant(google, "orchestrator", "roles/secretmanager.secretAccessor", f"projects/{PROJECT}")
    assert pool_secret().passed


BLOCK = {"$ref": {"block_document_id": "…"}}
SECRET = {"secret": "prefect-api-key", "version": "latest"}


def pool(
    kind: str, template: dict[str, Any], *, server_in_network: bool = False
) -> dict[str, bool]:
    def there(name: str, secret: str, version: str) -> Check:
        return Check(name, passed=(secret, version) == ("prefect-api-key", "latest"), finding="")

    found = list(
        check_pool("p", kind, template, server_in_network=server_in_network, look_at_secret=there)
    )
    assert all(each.passed != bool(each.remedy) for each in found)
    return {each.name.removesuffix(" of p"): each.passed for each in found}


def test_a_push_pool_has_povstorm_s_template_credentials_and_a_secret():
    push = "cloud-run-v2:push"
    ready = pool_template(credentials=BLOCK, prefect_api_key_secret=SECRET)
    assert pool(push, ready) == {"template": True, "credentials": True, "API key": True}
    assert pool(push, pool_template()) == {"template": True, "credentials": False, "API key": False}


def test_a_worker_s_pool_has_povstorm_s_template_and_where_it_must_the_server_s_network_and_login():
    kind, network = "cloud-run-v2", {"network": "povstorm"}
    ready = pool_template(vpc_access=network, prefect_api_auth_string_secret=SECRET)
    assert pool(kind, pool_template()) == {"template": True}
    assert pool(kind, ready, server_in_network=True) == {
        "template": True,
        "network": True,
        "login": True,
    }
    without = pool(kind, pool_template(), server_in_network=True)
    assert without == {"template": True, "network": False, "login": False}


def test_a_pool_that_a_worker_has_made_by_itself_is_told():
    assert pool("cloud-run-v2", {"variables": {"properties": {}}}) == {"template": False}


def test_pools_of_other_kinds_have_no_such_template():
    assert pool("process", {}) == {}

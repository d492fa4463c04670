"""What Google's predefined roles permit, as far as the stand-ins are asked for it.

From https://cloud.google.com/iam/docs/roles-permissions/run, …/storage, …/iam, …/artifactregistry,
…/secretmanager, …/logging and …/cloudsql. A role that is not here is an error: look it up.
"""

from __future__ import annotations


def _each(resource: str, *verbs: str) -> frozenset[str]:
    return frozenset(f"{resource}.{verb}" for verb in verbs)


_PROJECT = _each("resourcemanager.projects", "get", "list")
_RUN_READ = (
    _each("run.executions", "get", "list")
    | _each("run.jobs", "get", "getIamPolicy", "list", "listEffectiveTags", "listTagBindings")
    | _each("run.locations", "list")
    | _each("run.operations", "get", "list")
    | _each("run.revisions", "get", "list")
    | _each("run.routes", "get", "list")
    | _each("run.services", "get", "getIamPolicy", "list")
    | _each("run.tasks", "get", "list")
    | _each("run.workerpools", "get", "getIamPolicy", "list")
    | _PROJECT
)
_RUN_WRITE = (
    _each("run.executions", "cancel", "delete")
    | _each("run.jobs", "create", "delete", "run", "runWithOverrides", "update")
    | _each("run.operations", "delete")
    | _each("run.revisions", "delete")
    | _each("run.routes", "invoke")
    | _each("run.services", "create", "delete", "update")
    | _each("run.workerpools", "create", "delete", "update")
)
_ARTIFACTS_READ = (
    _each("artifactregistry.dockerimages", "get", "list")
    | _each("artifactregistry.repositories", "downloadArtifacts", "get", "list")
    | _each("artifactregistry.tags", "get", "list")
    | _each("artifactregistry.versions", "get", "list")
)
_ARTIFACTS_WRITE = (
    _each("artifactregistry.repositories", "uploadArtifacts")
    | _each("artifactregistry.tags", "create", "update")
    | _each("artifactregistry.versions", "update")
)
_SECRETS = (
    _each("secretmanager.secrets", "create", "delete", "get", "getIamPolicy", "list")
    | _each("secretmanager.secrets", "setIamPolicy", "update")
    | _each("secretmanager.versions", "access", "add", "destroy", "disable", "get", "list")
)
_BUCKET = (
    _each("storage.buckets", "get", "getIamPolicy", "setIamPolicy", "update")
    | _each("storage.managedFolders", "create", "delete", "get", "list", "setIamPolicy")
    | _each("storage.multipartUploads", "abort", "create", "list", "listParts")
)

PREDEFINED: dict[str, frozenset[str]] = {
    "roles/artifactregistry.reader": _ARTIFACTS_READ,
    "roles/artifactregistry.writer": _ARTIFACTS_READ | _ARTIFACTS_WRITE,
    "roles/cloudbuild.builds.editor": _PROJECT
    | _each("cloudbuild.builds", "create", "get", "list", "update"),
    "roles/cloudsql.client": _each("cloudsql.instances", "connect", "get"),
    "roles/cloudsql.instanceUser": _each("cloudsql.instances", "get", "login"),
    "roles/iam.serviceAccountTokenCreator": _PROJECT
    | _each("iam.serviceAccounts", "get", "getAccessToken", "getOpenIdToken")
    | _each("iam.serviceAccounts", "implicitDelegation", "list", "signBlob", "signJwt"),
    "roles/iam.serviceAccountUser": _PROJECT | _each("iam.serviceAccounts", "actAs", "get", "list"),
    "roles/logging.logWriter": _each("logging.logEntries", "create"),
    # What makes tokens, and with them acts as an account, is in no basic role:
    # https://cloud.google.com/iam/docs/service-account-impersonation.
    "roles/owner": _RUN_READ
    | _RUN_WRITE
    | _each("run.jobs", "setIamPolicy")
    | _each("run.services", "setIamPolicy")
    | _ARTIFACTS_READ
    | _ARTIFACTS_WRITE
    | _each("artifactregistry.repositories", "create", "delete", "getIamPolicy", "setIamPolicy")
    | _each("cloudbuild.builds", "create", "get", "list")
    | _each("cloudquotas.quotas", "get", "update")
    | _each("cloudsql.instances", "create", "delete", "get", "list", "update")
    | _each("iam.roles", "create", "get", "update")
    | _each("iam.serviceAccountKeys", "create", "delete", "get", "list")
    | _each("iam.serviceAccounts", "actAs", "create", "delete", "get", "getIamPolicy", "list")
    | _each("iam.serviceAccounts", "setIamPolicy")
    | _each("logging.logEntries", "create", "list")
    | _each("logging.logMetrics", "create", "delete", "get", "list", "update")
    | _each("monitoring.alertPolicies", "create", "delete", "get", "list", "update")
    | _each("resourcemanager.projects", "get", "getIamPolicy", "setIamPolicy")
    | _SECRETS
    | _each("serviceusage.services", "enable", "list", "use")
    | _each("storage.buckets", "create", "delete", "list"),
    # A read-only user of executions is to be given run.viewer beside it.
    "roles/run.jobsExecutorWithOverrides": _each("run.executions", "cancel")
    | _each("run.jobs", "run", "runWithOverrides"),
    "roles/run.developer": _RUN_READ | _RUN_WRITE,
    "roles/run.invoker": _each("run.jobs", "run") | _each("run.routes", "invoke"),
    "roles/run.viewer": _RUN_READ,
    "roles/secretmanager.secretAccessor": _PROJECT | _each("secretmanager.versions", "access"),
    # A new bucket with uniform access gives these two to the project's owners and editors:
    # https://cloud.google.com/storage/docs/access-control/iam#convenience-values.
    "roles/storage.legacyBucketOwner": _BUCKET
    | _each("storage.objects", "create", "delete", "list", "restore", "setRetention"),
    "roles/storage.legacyObjectOwner": _each(
        "storage.objects", "get", "getIamPolicy", "setIamPolicy", "update"
    ),
    "roles/storage.objectAdmin": _PROJECT
    | _each("storage.managedFolders", "create", "delete", "get", "list")
    | _each("storage.multipartUploads", "abort", "create", "list", "listParts")
    | _each("storage.objects", "create", "delete", "get", "getIamPolicy", "list", "move")
    | _each("storage.objects", "restore", "setIamPolicy", "setRetention", "update"),
    "roles/storage.objectCreator": _PROJECT
    | _each("storage.managedFolders", "create")
    | _each("storage.multipartUploads", "abort", "create", "listParts")
    | _each("storage.objects", "create"),
    "roles/storage.objectUser": _PROJECT
    | _each("storage.managedFolders", "create", "delete", "get", "list")
    | _each("storage.multipartUploads", "abort", "create", "list", "listParts")
    | _each("storage.objects", "create", "delete", "get", "list", "move", "restore", "update"),
    "roles/storage.objectViewer": _PROJECT
    | _each("storage.managedFolders", "get", "list")
    | _each("storage.objects", "get", "list"),
}

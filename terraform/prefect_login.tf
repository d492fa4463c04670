# The login of the internal Prefect server: "admin:PASSWORD", in Secret Manager. Who applies makes it
# before (docs/deploy.md), so that it is in no state; flows and the worker have it as a secret too.

locals {
  prefect_login_secret = "povstorm-prefect-login"
  reads_prefect_login = var.prefect_server ? {
    server = google_service_account.prefect[0].member
    worker = google_service_account.submitter.member
    flows  = google_service_account.orchestrator.member
  } : {}
}

resource "google_secret_manager_secret_iam_member" "reads_prefect_login" {
  for_each  = local.reads_prefect_login
  project   = var.project_id
  secret_id = local.prefect_login_secret
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}

# The login of the Prefect server: "admin:PASSWORD", in Secret Manager. Who applies makes it before
# (docs/deploy.md), so that it is in no state; flows, the worker and people read it there too: Prefect
# asks for it once more inside of a connection that tells of task runs, where no proxy can add it.

locals {
  prefect_login_secret = "povstorm-prefect-login"
  reads_prefect_login = var.prefect_server ? merge(
    {
      server = google_service_account.prefect[0].member
      people = google_service_account.prefect_people[0].member
      worker = google_service_account.submitter.member
      flows  = google_service_account.orchestrator.member
    },
    { for user in var.users : user => user },
  ) : {}
}

resource "google_secret_manager_secret_iam_member" "reads_prefect_login" {
  for_each  = local.reads_prefect_login
  project   = var.project_id
  secret_id = local.prefect_login_secret
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}

# The two roles that Prefect asks for (https://docs.prefect.io/v3/how-to-guides/deployment_infra/serverless),
# the second on the one account that flows run as, where its guide grants it on the whole project.
# Prefect Cloud wants a key of this account: made with gcloud (docs/deploy.md), it is not in the state.

resource "google_project_iam_member" "submitter_runs_flows" {
  project = var.project_id
  role    = "roles/run.developer"
  member  = google_service_account.submitter.member
}

# Who makes a Cloud Run job has to be able to read its image:
# https://cloud.google.com/run/docs/reference/iam/roles#additional-configuration.
resource "google_artifact_registry_repository_iam_member" "submitter_reads_images" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.submitter.member
}

resource "google_service_account_iam_member" "submitter_runs_them_as_orchestrator" {
  service_account_id = google_service_account.orchestrator.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.submitter.member
}

resource "google_service_account" "renderer" {
  account_id   = "povstorm-renderer"
  display_name = "povstorm renderer"
  description  = "What the render containers are: scenes are not trusted, so it can do the least"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "orchestrator" {
  account_id   = "povstorm-orchestrator"
  display_name = "povstorm orchestrator"
  description  = "What flows are: runs the render jobs, reads and writes the bucket"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "submitter" {
  account_id   = "povstorm-submitter"
  display_name = "povstorm submitter"
  description  = "What starts flows as Cloud Run jobs: Prefect Cloud's push pool, or the worker"
  depends_on   = [google_project_service.apis]
}

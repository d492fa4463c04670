# The orchestrator reads and writes the bucket, and runs, watches and cancels the render jobs. It
# cannot change them, and so cannot have another image run as the renderer.

resource "google_storage_bucket_iam_member" "orchestrator_uses_bucket" {
  bucket = google_storage_bucket.render.name
  role   = "roles/storage.objectUser"
  member = google_service_account.orchestrator.member
}

resource "google_cloud_run_v2_job_iam_member" "orchestrator_runs" {
  for_each = google_cloud_run_v2_job.render
  location = each.value.location
  name     = each.value.name
  role     = "roles/run.jobsExecutorWithOverrides"
  member   = google_service_account.orchestrator.member
}

resource "google_cloud_run_v2_job_iam_member" "orchestrator_watches" {
  for_each = google_cloud_run_v2_job.render
  location = each.value.location
  name     = each.value.name
  role     = "roles/run.viewer"
  member   = google_service_account.orchestrator.member
}

# To run a job may take this on the job's account: Google's documentation asks it of who makes or
# changes a job, which the orchestrator cannot, and reports are of who runs one too. Without rights to
# make anything that runs as the renderer, the orchestrator gains nothing by it.
resource "google_service_account_iam_member" "orchestrator_runs_as_renderer" {
  service_account_id = google_service_account.renderer.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.orchestrator.member
}

# People act as the orchestrator with tokens of an hour: nobody has a key of it.
resource "google_service_account_iam_member" "users_act_as_orchestrator" {
  for_each           = var.users
  service_account_id = google_service_account.orchestrator.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

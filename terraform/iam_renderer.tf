# The renderer reads shared/ and jobs/ and creates objects below jobs/. It has its frames from its own
# job by their names, so it lists shared/ alone: the files that a scene sees.
#
# It replaces nothing: povstorm deletes what an attempt has left before the next one starts. Only where
# Cloud Run itself retries tasks does a second attempt meet what the first has stored: it then looks
# for it (who may not list is told 403, not 404, of an object that is not there), and replaces it
# (which takes storage.objects.delete).

locals {
  objects            = "projects/_/buckets/${google_storage_bucket.render.name}/objects"
  listed_by_renderer = concat(["shared/"], local.tasks_are_retried ? ["jobs/"] : [])
}

resource "google_project_iam_custom_role" "renderer" {
  role_id     = "povstormRenderer"
  title       = "povstorm renderer"
  description = "Reads a job's objects and adds to them"
  permissions = concat(
    ["storage.objects.create", "storage.objects.get"],
    local.tasks_are_retried ? ["storage.objects.delete"] : [],
  )
  depends_on = [google_project_service.apis]
}

resource "google_storage_bucket_iam_member" "renderer_works_on_jobs" {
  bucket = google_storage_bucket.render.name
  role   = google_project_iam_custom_role.renderer.name
  member = google_service_account.renderer.member
  condition {
    title       = "jobs"
    description = "Objects of jobs alone"
    expression  = "resource.name.startsWith(\"${local.objects}/jobs/\")"
  }
}

resource "google_storage_managed_folder_iam_member" "renderer_lists" {
  for_each       = google_storage_managed_folder.listed_by_renderer
  bucket         = each.value.bucket
  managed_folder = each.value.name
  role           = "roles/storage.objectViewer"
  member         = google_service_account.renderer.member
}

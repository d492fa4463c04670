# A Cloud Run job cannot be made before its image is there, and the repository is new: so apply builds
# both images, by gcloud, from this checkout. A new tag builds them anew; so does
# terraform apply -replace='terraform_data.images[0]'.
resource "terraform_data" "images" {
  count            = var.build_images ? 1 : 0
  triggers_replace = [local.render_image, local.flow_image]

  provisioner "local-exec" {
    working_dir = "${path.module}/.."
    # Without a shell: the command is the last argument, the folder to build.
    interpreter = [
      "gcloud", "builds", "submit",
      "--project=${var.project_id}",
      "--config=${basename(abspath(path.module))}/build_images.yaml",
      "--substitutions=_RENDER_IMAGE=${local.render_image},_FLOW_IMAGE=${local.flow_image}",
      "--service-account=${google_service_account.builder[0].name}",
      "--gcs-source-staging-dir=gs://${google_storage_bucket.render.name}/builds",
    ]
    command = "."
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.builder_pushes,
    google_project_iam_member.builder_logs,
    google_storage_bucket_iam_member.builder_reads_sources,
  ]
}

resource "google_service_account" "builder" {
  count        = var.build_images ? 1 : 0
  account_id   = "povstorm-builder"
  display_name = "povstorm builder"
  description  = "Builds and pushes the images, in Cloud Build"
  depends_on   = [google_project_service.apis]
}

resource "google_storage_bucket_iam_member" "builder_reads_sources" {
  count  = var.build_images ? 1 : 0
  bucket = google_storage_bucket.render.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder[0].member
  condition {
    title      = "sources"
    expression = "resource.name.startsWith(\"${local.objects}/builds/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "builder_pushes" {
  count      = var.build_images ? 1 : 0
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder[0].member
}

resource "google_project_iam_member" "builder_logs" {
  count   = var.build_images ? 1 : 0
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder[0].member
}

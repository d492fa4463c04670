# Who may do what. Needs no credentials: terraform itself stands in for the provider.

mock_provider "google" {}
mock_provider "google" {
  alias = "on_behalf_of_the_project"
}

override_resource {
  target = google_service_account.renderer
  values = {
    email  = "renderer@example.iam.gserviceaccount.com"
    member = "serviceAccount:renderer@example.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.orchestrator
  values = {
    email  = "orchestrator@example.iam.gserviceaccount.com"
    member = "serviceAccount:orchestrator@example.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.submitter
  values = {
    email  = "submitter@example.iam.gserviceaccount.com"
    member = "serviceAccount:submitter@example.iam.gserviceaccount.com"
  }
}

variables {
  project_id   = "povstorm-test"
  build_images = false
}

run "the_bucket_is_not_public" {
  assert {
    condition     = google_storage_bucket.render.public_access_prevention == "enforced"
    error_message = "public access prevention is off"
  }
  assert {
    condition     = google_storage_bucket.render.uniform_bucket_level_access
    error_message = "single objects can be shared"
  }
}

run "the_renderer_may_not_write_shared" {
  assert {
    condition = google_storage_bucket_iam_member.renderer_works_on_jobs.condition[0].expression == (
      "resource.name.startsWith(\"projects/_/buckets/povstorm-test-render/objects/jobs/\")"
    )
    error_message = "the renderer's role on the bucket is not limited to jobs/"
  }
  assert {
    condition = alltrue([
      for grant in google_storage_managed_folder_iam_member.renderer_lists :
      grant.role == "roles/storage.objectViewer"
    ])
    error_message = "the renderer may do more than read where it lists"
  }
  assert {
    condition     = google_project_iam_custom_role.renderer.permissions == toset(["storage.objects.create", "storage.objects.get"])
    error_message = "the renderer may do more to jobs than read and add"
  }
}

run "tasks_that_cloud_run_retries_may_replace_what_they_left" {
  variables {
    render_jobs = { "2g" = { vcpus = 1, memory_mib = 2048, max_retries = 2 } }
  }
  assert {
    condition     = contains(google_project_iam_custom_role.renderer.permissions, "storage.objects.delete")
    error_message = "a second attempt cannot replace what the first has stored"
  }
  assert {
    condition     = keys(google_storage_managed_folder_iam_member.renderer_lists) == ["jobs/", "shared/"]
    error_message = "a second attempt cannot look for what the first has stored"
  }
}

run "the_orchestrator_runs_the_render_jobs_and_cannot_change_them" {
  assert {
    condition = alltrue([
      for name in ["2g", "8g"] :
      google_cloud_run_v2_job_iam_member.orchestrator_runs[name].role == "roles/run.jobsExecutorWithOverrides" &&
      google_cloud_run_v2_job_iam_member.orchestrator_watches[name].role == "roles/run.viewer"
    ])
    error_message = "the orchestrator's roles on the render jobs are others"
  }
  assert {
    condition = (
      google_service_account_iam_member.orchestrator_runs_as_renderer.role == "roles/iam.serviceAccountUser" &&
      google_service_account_iam_member.orchestrator_runs_as_renderer.service_account_id == google_service_account.renderer.name
    )
    error_message = "the orchestrator cannot run jobs as the renderer, or can run them as another account"
  }
}

run "the_submitter_has_what_prefect_asks_for" {
  assert {
    condition     = google_project_iam_member.submitter_runs_flows.role == "roles/run.developer"
    error_message = "the submitter cannot make Cloud Run jobs"
  }
  assert {
    condition = (
      google_service_account_iam_member.submitter_runs_them_as_orchestrator.role == "roles/iam.serviceAccountUser" &&
      google_service_account_iam_member.submitter_runs_them_as_orchestrator.service_account_id == google_service_account.orchestrator.name
    )
    error_message = "the submitter cannot run flows as the orchestrator, or can run them as another account"
  }
}

run "users_act_as_the_orchestrator_without_a_key" {
  variables {
    users = ["group:artists@example.com"]
  }
  assert {
    condition     = google_service_account_iam_member.users_act_as_orchestrator["group:artists@example.com"].role == "roles/iam.serviceAccountTokenCreator"
    error_message = "users cannot act as the orchestrator"
  }
}

run "the_prefect_server_is_not_open_to_the_world" {
  variables {
    prefect_server = true
    users          = ["user:ann@example.com"]
  }
  override_resource {
    target = google_sql_database_instance.prefect[0]
    values = { connection_name = "povstorm-test:europe-west1:povstorm-prefect" }
  }
  assert {
    condition = alltrue([
      for service in concat(google_cloud_run_v2_service.prefect, google_cloud_run_v2_service.prefect_people) :
      service.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" || service.invoker_iam_disabled != true
    ])
    error_message = "a service answers the internet without asking who calls"
  }
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_member.users_reach_prefect) == ["user:ann@example.com"]
    error_message = "others than the users may call the server"
  }
  assert {
    condition     = !google_sql_database_instance.prefect[0].settings[0].ip_configuration[0].ipv4_enabled
    error_message = "the database has an address on the internet"
  }
  assert {
    condition     = google_sql_user.prefect[0].type == "CLOUD_IAM_SERVICE_ACCOUNT" && google_sql_user.prefect[0].password == null
    error_message = "there is a password to leak"
  }
}

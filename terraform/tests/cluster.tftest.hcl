# What the cluster consists of, and that the outputs tell all of it.

mock_provider "google" {}
mock_provider "google" {
  alias = "on_behalf_of_the_project"
}

variables {
  project_id   = "povstorm-test"
  build_images = false
}

run "the_outputs_are_complete" {
  assert {
    condition     = output.project_id == "povstorm-test" && output.region == "europe-west1"
    error_message = "project or region are others"
  }
  assert {
    condition     = output.bucket == google_storage_bucket.render.name
    error_message = "the output bucket is not the bucket"
  }
  assert {
    condition = (
      output.renderer_service_account == google_service_account.renderer.email &&
      output.orchestrator_service_account == google_service_account.orchestrator.email &&
      output.submitter_service_account == google_service_account.submitter.email
    )
    error_message = "the outputs name other service accounts"
  }
  assert {
    condition     = [for job in output.render_jobs : job.name] == ["povstorm-render-2g", "povstorm-render-8g"]
    error_message = "the render jobs are others"
  }
}

run "the_render_jobs_are_told_as_they_are" {
  variables {
    render_jobs = {
      large  = { vcpus = 8, memory_mib = 32768, parallelism = 10, task_timeout_seconds = 86400 }
      small  = { vcpus = 1, memory_mib = 512 }
      medium = { vcpus = 2, memory_mib = 4096, max_retries = 1 }
    }
  }
  assert {
    condition     = [for job in output.render_jobs : job.memory_mib] == [512, 4096, 32768]
    error_message = "the render jobs are not ascending by memory"
  }
  assert {
    condition = alltrue([
      for job in output.render_jobs : alltrue([
        for made in google_cloud_run_v2_job.render : made.name != job.name || (
          made.template[0].template[0].max_retries == job.max_retries &&
          made.template[0].template[0].timeout == "${job.task_timeout_seconds}s" &&
          made.template[0].template[0].containers[0].image == output.render_image &&
          made.template[0].template[0].containers[0].resources[0].limits == tomap({
            cpu    = tostring(job.vcpus)
            memory = "${job.memory_mib}Mi"
          })
        )
      ])
    ])
    error_message = "a render job is not as its output says"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.render : job.template[0].template[0].service_account == google_service_account.renderer.email])
    error_message = "a render job runs as another account than the renderer"
  }
}

run "each_prefix_has_its_age" {
  variables {
    retention_days = { jobs = 30, results = 29, blobs = 0, shared = 40, estimates = 50 }
  }
  assert {
    condition = {
      for rule in google_storage_bucket.render.lifecycle_rule :
      one(one(rule.condition).matches_prefix) => one(rule.condition).age
    } == { "jobs/" = 30, "results/" = 29, "shared/" = 40, "estimates/" = 50 }
    error_message = "the lifecycle rules are others"
  }
  assert {
    condition     = alltrue([for rule in google_storage_bucket.render.lifecycle_rule : one(rule.action).type == "Delete"])
    error_message = "a lifecycle rule does not delete"
  }
}

run "without_a_billing_account_there_is_no_budget" {
  assert {
    condition     = length(google_billing_budget.monthly) == 0
    error_message = "a budget without a billing account"
  }
}

run "people_are_told_of_the_budget_and_of_failed_frames" {
  variables {
    billing_account = "012345-6789AB-CDEF01"
    monthly_budget  = 20
    alert_emails    = ["ann@example.com"]
  }
  assert {
    condition     = google_billing_budget.monthly[0].amount[0].specified_amount[0].units == "20"
    error_message = "the budget is another"
  }
  assert {
    condition     = length(google_billing_budget.monthly[0].all_updates_rule[0].monitoring_notification_channels) == 1
    error_message = "nobody is told of the budget"
  }
  assert {
    condition     = length(google_monitoring_alert_policy.failed_frames.notification_channels) == 1
    error_message = "nobody is told of failed frames"
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.failed_frames.conditions[0].condition_prometheus_query_language[0].query, "user_${google_logging_metric.failed_frames.name}{")
    error_message = "the alert looks at another metric"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.render : strcontains(google_logging_metric.failed_frames.filter, "\"${job.name}\"")])
    error_message = "the metric leaves out a render job"
  }
}

run "without_a_prefect_server_nothing_runs_all_month" {
  assert {
    condition = (
      length(google_cloud_run_v2_service.prefect) == 0 &&
      length(google_cloud_run_v2_worker_pool.prefect) == 0 &&
      length(google_sql_database_instance.prefect) == 0
    )
    error_message = "an idle cluster costs more than its storage"
  }
}

# What is refused before anything is made: each run must fail by the named variable's validation.

mock_provider "google" {}
mock_provider "google" {
  alias = "on_behalf_of_the_project"
}

variables {
  project_id   = "povstorm-test"
  build_images = false
}

run "a_name_of_a_project" {
  command = plan
  variables {
    project_id = "My Project"
  }
  expect_failures = [var.project_id]
}

run "a_zone" {
  command = plan
  variables {
    region = "europe-west1-b"
  }
  expect_failures = [var.region]
}

run "a_bucket_with_its_scheme" {
  command = plan
  variables {
    bucket_name = "gs://frames"
  }
  expect_failures = [var.bucket_name]
}

run "a_cache_as_old_as_its_images" {
  command = plan
  variables {
    retention_days = { jobs = 30, results = 30 }
  }
  expect_failures = [var.retention_days]
}

run "a_cache_that_is_never_deleted" {
  command = plan
  variables {
    retention_days = { results = 0 }
  }
  expect_failures = [var.retention_days]
}

run "files_that_go_before_their_jobs" {
  command = plan
  variables {
    retention_days = { blobs = 10 }
  }
  expect_failures = [var.retention_days]
}

run "half_a_day" {
  command = plan
  variables {
    retention_days = { jobs = 1.5 }
  }
  expect_failures = [var.retention_days]
}

run "a_soft_delete_that_cloud_storage_has_not" {
  command = plan
  variables {
    soft_delete_days = 3
  }
  expect_failures = [var.soft_delete_days]
}

run "no_render_job" {
  command = plan
  variables {
    render_jobs = {}
  }
  expect_failures = [var.render_jobs]
}

run "a_render_job_in_capitals" {
  command = plan
  variables {
    render_jobs = { "2G" = { vcpus = 1, memory_mib = 2048 } }
  }
  expect_failures = [var.render_jobs]
}

run "three_vcpus" {
  command = plan
  variables {
    render_jobs = { odd = { vcpus = 3, memory_mib = 2048 } }
  }
  expect_failures = [var.render_jobs]
}

run "more_memory_than_the_vcpus_can_have" {
  command = plan
  variables {
    render_jobs = { big = { vcpus = 1, memory_mib = 8192 } }
  }
  expect_failures = [var.render_jobs]
}

run "less_memory_than_a_job_can_have" {
  command = plan
  variables {
    render_jobs = { tiny = { vcpus = 1, memory_mib = 256 } }
  }
  expect_failures = [var.render_jobs]
}

run "two_jobs_of_one_size" {
  command = plan
  variables {
    render_jobs = { a = { vcpus = 1, memory_mib = 2048 }, b = { vcpus = 2, memory_mib = 2048 } }
  }
  expect_failures = [var.render_jobs]
}

run "no_task_at_once" {
  command = plan
  variables {
    render_jobs = { a = { vcpus = 1, memory_mib = 2048, parallelism = 0 } }
  }
  expect_failures = [var.render_jobs]
}

run "too_many_retries" {
  command = plan
  variables {
    render_jobs = { a = { vcpus = 1, memory_mib = 2048, max_retries = 11 } }
  }
  expect_failures = [var.render_jobs]
}

run "a_timeout_of_more_than_a_week" {
  command = plan
  variables {
    render_jobs = { a = { vcpus = 1, memory_mib = 2048, task_timeout_seconds = 700000 } }
  }
  expect_failures = [var.render_jobs]
}

run "an_image_for_a_tag" {
  command = plan
  variables {
    render_image_tag = "povstorm/render:1"
  }
  expect_failures = [var.render_image_tag]
}

run "the_whole_world_as_a_user" {
  command = plan
  variables {
    users = ["allUsers"]
  }
  expect_failures = [var.users]
}

run "a_name_of_a_billing_account" {
  command = plan
  variables {
    billing_account = "my account"
  }
  expect_failures = [var.billing_account]
}

run "no_budget" {
  command = plan
  variables {
    monthly_budget = 0
  }
  expect_failures = [var.monthly_budget]
}

run "half_an_address" {
  command = plan
  variables {
    alert_emails = ["ann"]
  }
  expect_failures = [var.alert_emails]
}

run "an_alert_for_nothing" {
  command = plan
  variables {
    failed_frames_alert = 0
  }
  expect_failures = [var.failed_frames_alert]
}

run "a_label_in_capitals" {
  command = plan
  variables {
    labels = { Team = "a" }
  }
  expect_failures = [var.labels]
}

run "a_tier_that_is_none" {
  command = plan
  variables {
    prefect_database_tier = "small"
  }
  expect_failures = [var.prefect_database_tier]
}

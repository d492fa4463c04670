resource "google_monitoring_notification_channel" "email" {
  for_each     = var.alert_emails
  display_name = "povstorm: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
  user_labels  = local.labels
  depends_on   = [google_project_service.apis]
}

# A line of severity ERROR or more is an attempt at a frame that failed (render_image/entrypoint.py).
# A container that ended before it had done its work is told by Cloud Run itself, as a WARNING: by
# its exit code, the signal that ended it, or the memory or time that it went beyond. SIGTERM, 15, and
# the exit code 143 that it leads to are what ends the containers of a job that was cancelled.
#
# Audit logs have entries of the same resource, errors too: of each execution that failed, was
# cancelled or could not be started (https://cloud.google.com/run/docs/audit-logging).
locals {
  lost_container = join("|", [
    "Container called exit.([2-9]|1[^4]|14[^3])",
    "Container terminated on signal ([2-9]|1[^5])",
    "[Mm]emory limit .*(exceeded|reached)",
    "Terminating task because it has reached the maximum timeout",
  ])
}

resource "google_logging_metric" "failed_frames" {
  name        = "povstorm_failed_frames"
  description = "Attempts at frames that failed, and containers that were lost"
  filter = join(" AND ", [
    "resource.type=\"cloud_run_job\"",
    "resource.labels.job_name=(${join(" OR ", [for job in google_cloud_run_v2_job.render : "\"${job.name}\""])})",
    "NOT logName:\"cloudaudit.googleapis.com\"",
    "(severity>=ERROR OR textPayload=~\"(${local.lost_container})\")",
  ])
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }
  depends_on = [google_project_service.apis]
}

resource "google_monitoring_alert_policy" "failed_frames" {
  display_name          = "povstorm: frames failed"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]
  user_labels           = local.labels

  conditions {
    display_name = "${var.failed_frames_alert} or more within ten minutes"
    condition_prometheus_query_language {
      query               = "sum(increase(logging_googleapis_com:user_${google_logging_metric.failed_frames.name}{monitored_resource=\"cloud_run_job\"}[10m])) >= ${var.failed_frames_alert}"
      duration            = "0s"
      evaluation_interval = "60s"
      # A metric of logs is there with its first line only.
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "povstorm: frames failed in ${var.project_id}"
    content   = <<-EOT
      povstorm tries frames again that another attempt can mend; `povstorm --cluster outputs.json status JOB_ID`
      tells which failed for good and why, `povstorm --cluster outputs.json retry JOB_ID` renders what is missing.
      The lines: Logs Explorer, `resource.type="cloud_run_job" severity>=WARNING -logName:"cloudaudit.googleapis.com"`;
      their labels name job and frame.
    EOT
  }
}

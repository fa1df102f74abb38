"""The engine for many SNs: an etcd cluster, one member beside each SN, started and owned by the SN process."""

"""The command line and the configuration of the Loki stand-in."""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml_subset
from common import Refusal

USAGE = "loki -config.file=FILE [-verify-config] [-version]"
SWITCHES = ("version", "verify-config", "print-config-stderr", "config.expand-env")
VALUED = ("config.file", "target", "log.level", "log.format", "server.graceful-shutdown-timeout")
# What Loki 3.7 takes in the sections that a stack of ours writes; `""` is the top of the file.
KNOWN = {
    "": (
        "target auth_enabled http_prefix ballast_bytes server internal_server ui distributor querier query_engine "
        "query_scheduler frontend query_range ruler ruler_storage ingester_client ingester pattern_ingester index_gateway "
        "bloom_build bloom_gateway storage_config chunk_store_config schema_config compactor compactor_client "
        "compactor_grpc_client limits_config frontend_worker table_manager memberlist kafka_config dataobj ingest_limits "
        "ingest_limits_frontend ingest_limits_frontend_client runtime_config operational_config tracing analytics "
        "profiling tenant_limits_allow_publish legacy_read_target common shutdown_delay metrics_namespace"
    ).split(),
    "server": (
        "http_listen_network http_listen_address http_listen_port http_listen_conn_limit grpc_listen_network "
        "grpc_listen_address grpc_listen_port grpc_listen_conn_limit grpc_collect_max_streams_by_conn "
        "proxy_protocol_enabled tls_cipher_suites tls_min_version http_tls_config grpc_tls_config "
        "register_instrumentation report_grpc_codes_in_instrumentation_label_enabled graceful_shutdown_timeout "
        "http_server_read_timeout http_server_read_header_timeout http_server_write_timeout http_server_idle_timeout "
        "http_log_closed_connections_without_response_enabled grpc_server_max_recv_msg_size grpc_server_max_send_msg_size "
        "grpc_server_max_concurrent_streams grpc_server_max_connection_idle grpc_server_max_connection_age "
        "grpc_server_max_connection_age_grace grpc_server_keepalive_time grpc_server_keepalive_timeout "
        "grpc_server_min_time_between_pings grpc_server_ping_without_stream_allowed grpc_server_num_workers "
        "grpc_server_stats_tracking_enabled grpc_server_recv_buffer_pools_enabled log_format log_level "
        "log_source_ips_enabled log_source_ips_full log_source_ips_header log_source_ips_regex log_request_headers "
        "log_request_at_info_level_enabled log_request_exclude_headers_list trace_request_headers "
        "trace_request_exclude_headers_list http_path_prefix cluster_validation create_new_traces"
    ).split(),
    "common": (
        "path_prefix storage persist_tokens replication_factor ring instance_interface_names instance_addr "
        "compactor_address compactor_grpc_address scratch_path"
    ).split(),
    "limits_config": (
        "ingestion_rate_strategy ingestion_rate_mb ingestion_burst_size_mb max_label_name_length max_label_value_length "
        "max_label_names_per_series reject_old_samples reject_old_samples_max_age creation_grace_period max_line_size "
        "max_line_size_truncate max_line_size_truncate_identifier increment_duplicate_timestamp simulated_push_latency "
        "enable_multi_variant_queries discover_generic_fields discover_service_name discover_log_levels log_level_fields "
        "log_level_from_json_max_depth use_owned_stream_count max_streams_per_user max_global_streams_per_user "
        "unordered_writes per_stream_rate_limit per_stream_rate_limit_burst max_chunks_per_query max_query_series "
        "max_query_lookback max_query_length max_query_range max_query_parallelism tsdb_max_query_parallelism "
        "tsdb_max_bytes_per_shard tsdb_sharding_strategy tsdb_precompute_chunks cardinality_limit "
        "max_streams_matchers_per_query max_concurrent_tail_requests max_entries_limit_per_query "
        "max_cache_freshness_per_query max_metadata_cache_freshness max_stats_cache_freshness max_queriers_per_tenant "
        "max_query_capacity query_ready_index_num_days query_timeout split_queries_by_interval "
        "split_metadata_queries_by_interval split_recent_metadata_queries_by_interval recent_metadata_query_window "
        "split_instant_metric_queries_by_interval engine_results_cache_time_bucket_interval "
        "split_ingester_queries_by_interval min_sharding_lookback max_query_bytes_read max_querier_bytes_read "
        "volume_enabled volume_max_series ruler_max_rules_per_rule_group ruler_max_rule_groups_per_tenant "
        "ruler_tenant_shard_size ruler_enable_wal_replay ruler_remote_write_disabled ruler_remote_write_url "
        "ruler_remote_write_timeout ruler_remote_write_headers ruler_remote_write_relabel_configs "
        "ruler_remote_write_queue_capacity ruler_remote_write_queue_min_shards ruler_remote_write_queue_max_shards "
        "ruler_remote_write_queue_max_samples_per_send ruler_remote_write_queue_batch_send_deadline "
        "ruler_remote_write_queue_min_backoff ruler_remote_write_queue_max_backoff "
        "ruler_remote_write_queue_retry_on_ratelimit ruler_remote_write_sigv4_config ruler_remote_write_config "
        "ruler_remote_evaluation_timeout ruler_remote_evaluation_max_response_size deletion_mode retention_period "
        "retention_stream per_tenant_override_config per_tenant_override_period allow_deletes shard_streams "
        "blocked_queries required_labels minimum_labels_number index_gateway_shard_size index_gateway_max_capacity "
        "bloom_gateway_enable_filtering bloom_build_max_builders bloom_build_task_max_retries "
        "bloom_build_builder_response_timeout bloom_creation_enabled bloom_planning_strategy "
        "bloom_split_series_keyspace_by bloom_task_target_series_chunk_size bloom_block_encoding bloom_prefetch_blocks "
        "bloom_max_block_size bloom_max_bloom_size allow_structured_metadata max_structured_metadata_size "
        "max_structured_metadata_entries_count otlp_config block_ingestion_policy_until block_ingestion_until "
        "block_ingestion_status_code enforced_labels policy_enforced_labels policy_stream_mapping "
        "ingestion_partitions_tenant_shard_size shard_aggregations pattern_ingester_tokenizable_json_fields_default "
        "pattern_ingester_tokenizable_json_fields_append pattern_ingester_tokenizable_json_fields_delete "
        "metric_aggregation_enabled pattern_persistence_enabled pattern_persistence_granularity pattern_rate_threshold "
        "s3_sse_type s3_sse_kms_key_id s3_sse_kms_encryption_context max_scan_task_parallelism debug_engine_tasks "
        "debug_engine_streams"
    ).split(),
    "compactor": (
        "working_directory compaction_interval apply_retention_interval retention_enabled retention_delete_delay "
        "retention_delete_worker_count retention_table_timeout retention_backoff_config delete_request_store "
        "delete_request_store_key_prefix delete_request_store_db_type backup_delete_request_store_db_type "
        "delete_batch_size delete_request_cancel_period delete_max_interval max_compaction_parallelism upload_parallelism "
        "compactor_ring tables_to_compact skip_latest_n_tables horizontal_scaling_mode worker_config jobs_config "
        "deletion_marker_object_store_prefix"
    ).split(),
    "analytics": (
        "reporting_enabled usage_stats_url proxy_url tls_config"
    ).split(),
    "schema_config": (
        "configs"
    ).split(),
}


def flags(words: list[str]) -> dict[str, str]:
    """Reads flags as Go does: `-name=value`, `-name value`, one dash or two."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        match = re.fullmatch(r"--?([a-z][a-z0-9.-]*)(?:=(.*))?", word, re.S)
        name, value = match.groups() if match else (None, None)
        if name not in SWITCHES + VALUED:
            raise Refusal(f"unknown flag `{word}`; usage: {USAGE}")
        if value is None:
            value = "true" if name in SWITCHES else rest.pop(0) if rest else ""
        found[name] = value
    return {name: value for name, value in found.items() if value != "false"}


def configuration(given: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Reads and checks the configuration file."""
    name = given["config.file"]
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"cannot read `{name}`: {error}") from error
    if "config.expand-env" in given:
        text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-?([^}]*))?\}", lambda m: os.environ.get(m.group(1)) or m.group(2) or "", text)
    settings = yaml_subset.load(text, name)
    if not isinstance(settings, dict):
        raise Refusal(f"`{name}` holds no settings; wanted at least `server`, `common` and `schema_config`")
    check_keys(settings, name)
    check_schema(settings, name)
    check_values(settings, name)
    return settings, text


def check_keys(settings: dict[str, Any], name: str) -> None:
    """Refuses sections and keys that Loki does not know, as Loki does."""
    for section, known in KNOWN.items():
        value = settings if section == "" else settings.get(section, {})
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, dict):
                raise Refusal(f"`{name}`: `{section}` wants a mapping, found `{item}`")
            for key in item:
                if key not in known:
                    raise Refusal(f"`{name}`: field `{key}` not found in {f'`{section}`' if section else 'the configuration'}")


def check_schema(settings: dict[str, Any], name: str) -> None:
    periods = settings.get("schema_config", {}).get("configs")
    if not isinstance(periods, list) or not periods:
        raise Refusal(f"`{name}`: `schema_config.configs` is missing; Loki does not start without a schema")
    for period in periods:
        missing = [key for key in ("from", "store", "object_store", "schema", "index") if key not in period]
        if missing:
            raise Refusal(f"`{name}`: a period of `schema_config` lacks `{missing[0]}`")
        if period["store"] == "tsdb" and period["index"].get("period") != "24h":
            raise Refusal(f"`{name}`: `schema_config`: `index.period` must be `24h` for the store `tsdb`")


def check_values(settings: dict[str, Any], name: str) -> None:
    server = settings.setdefault("server", {})
    for key, default in (("http_listen_port", 3100), ("grpc_listen_port", 9095)):
        port = server.get(key, default)
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 65536:
            raise Refusal(f"`{name}`: `server.{key}` is `{port}`; wanted a port")
    if not isinstance(settings.get("auth_enabled", True), bool):
        raise Refusal(f"`{name}`: `auth_enabled` is `{settings['auth_enabled']}`; wanted true or false")
    if not (settings.get("common") or {}).get("path_prefix"):
        raise Refusal(f"`{name}`: `common.path_prefix` is missing; the stand-in keeps its lines there")
    if settings.get("compactor", {}).get("retention_enabled") and not settings["compactor"].get("delete_request_store"):
        raise Refusal(f"`{name}`: `compactor.delete_request_store` should be set when retention is enabled")

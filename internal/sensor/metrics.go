// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"time"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/telemetry"
	"weir/internal/zeeklog"
	"weir/store/lake"
	"weir/store/neo4j"
)

//go:generate go test -run TestMetricsPage -update .

// Sources are where the metrics of a sensor come from. Each function returns a
// snapshot and may be called from several goroutines at once; nil leaves its
// metrics out.
type Sources struct {
	Capture  func() capture.Stats
	Pipeline func() Stats
	Store    func() PublishStats
	Spool    func() SpoolStats
	Logs     func() zeeklog.Stats
}

// SpoolStats says what became of the records for a database.
type SpoolStats struct {
	// Publish is about the spool, Queue counts records that did not even get there
	// because it did not take them as fast as they came.
	Publish PublishStats
	Queue   lake.Records
	// Forward is about the way from there to the server.
	Forward neo4j.ForwardStats
}

// Lost returns how many records the database will never have.
func (s *SpoolStats) Lost() lake.Records {
	return lake.Records{
		Conns: s.Publish.Lost.Conns + s.Queue.Conns + s.Forward.Dropped.Conns + s.Forward.Refused.Conns,
		Intel: s.Publish.Lost.Intel + s.Queue.Intel + s.Forward.Dropped.Intel + s.Forward.Refused.Intel,
	}
}

// Metrics returns the metrics of the sources. To add one, add a row to a table
// below.
func Metrics(s Sources) []telemetry.Group {
	var groups []telemetry.Group
	if s.Capture != nil {
		groups = append(groups, telemetry.NewGroup(s.Capture, captureMetrics()))
	}
	if s.Pipeline != nil {
		groups = append(groups, telemetry.NewGroup(s.Pipeline, pipelineMetrics()))
	}
	if s.Store != nil {
		groups = append(groups, telemetry.NewGroup(s.Store, storeMetrics()))
	}
	if s.Spool != nil {
		groups = append(groups, telemetry.NewGroup(s.Spool, spoolMetrics()))
	}
	if s.Logs != nil {
		groups = append(groups, telemetry.NewGroup(s.Logs, logMetrics()))
	}
	return groups
}

// counter returns a counter without labels.
func counter[S any, N uint64 | int64 | int](name, help string, read func(*S) N) telemetry.Metric[S] {
	return telemetry.Metric[S]{
		Name: name, Help: help, Kind: telemetry.Counter,
		Samples: telemetry.One(func(s *S) float64 { return float64(read(s)) }),
	}
}

// gauge returns a gauge without labels.
func gauge[S any, N uint64 | int64 | int](name, help string, read func(*S) N) telemetry.Metric[S] {
	m := counter(name, help, read)
	m.Kind = telemetry.Gauge
	return m
}

// timestamp returns a point in time, which is 0 where it is zero.
func timestamp[S any](name, help string, read func(*S) time.Time) telemetry.Metric[S] {
	return telemetry.Metric[S]{
		Name: name, Help: help, Kind: telemetry.Gauge,
		Samples: telemetry.One(func(s *S) float64 {
			if t := read(s); !t.IsZero() {
				return float64(t.UnixMilli()) / 1e3
			}
			return 0
		}),
	}
}

// labeled returns a counter with one label.
func labeled[S any](name, help, label string, samples ...telemetry.Sample[S]) telemetry.Metric[S] {
	return telemetry.Metric[S]{
		Name: name, Help: help, Kind: telemetry.Counter, Labels: []string{label}, Samples: samples,
	}
}

// by returns the sample of one value of the label.
func by[S any](value string, read func(*S) uint64) telemetry.Sample[S] {
	return telemetry.By(value, func(s *S) float64 { return float64(read(s)) })
}

func captureMetrics() []telemetry.Metric[capture.Stats] {
	type stats = capture.Stats
	var rejected, inside []telemetry.Sample[stats]
	for r := capture.Delivered + 1; r < capture.NumReasons; r++ {
		rejected = append(rejected, by(r.String(), func(s *stats) uint64 { return s.Rejected[r] }))
		inside = append(inside, by(r.String(), func(s *stats) uint64 { return s.Tunnels.Rejected[r] }))
	}
	return []telemetry.Metric[stats]{
		counter("weir_capture_packets_total", "Packets read: delivered and rejected ones",
			func(s *stats) uint64 { return s.Packets }),
		counter("weir_capture_packet_bytes_total", "Captured bytes of the packets read",
			func(s *stats) uint64 { return s.Bytes }),
		counter("weir_capture_delivered_packets_total", "Packets handed to the workers",
			func(s *stats) uint64 { return s.Delivered }),
		counter("weir_capture_aggregated_packets_total", "Packets handed to the workers beyond the first of a frame (802.11 A-MSDU)",
			func(s *stats) uint64 { return s.Aggregated }),
		labeled("weir_capture_rejected_packets_total", "Packets read that are none of a connection", "reason", rejected...),
		counter("weir_capture_received_packets_total", "Packets of interfaces that passed the filter in the kernel",
			func(s *stats) uint64 { return s.Received }),
		labeled("weir_capture_dropped_packets_total", "Packets of interfaces that were never looked at", "reason",
			by("kernel", func(s *stats) uint64 { return s.Lost.Kernel }),
			by("interface", func(s *stats) uint64 { return s.Lost.Interface }),
			by("queue", func(s *stats) uint64 { return s.Lost.Queue }),
			by("overload", func(s *stats) uint64 { return s.Lost.Overload }),
			by("unread", func(s *stats) uint64 { return s.Lost.Unread })),
		labeled("weir_capture_dropped_bytes_total", "Captured bytes of packets of interfaces that were never looked at", "reason",
			by("overload", func(s *stats) uint64 { return s.Lost.OverloadBytes })),
		counter("weir_capture_tunneled_packets_total", "Packets that came out of a tunnel",
			func(s *stats) uint64 { return s.Tunneled }),
		counter("weir_capture_inner_packets_total", "Packets out of tunnels over UDP, handed to the workers in addition to the outer ones",
			func(s *stats) uint64 { return s.Tunnels.Inner }),
		labeled("weir_capture_rejected_inner_packets_total", "What was in tunnels over UDP and is none of a connection", "reason", inside...),
		counter("weir_capture_invalid_tunnels_total", "UDP payloads that look like a tunnel by their port or first bytes, and are none",
			func(s *stats) uint64 { return s.Tunnels.Invalid }),
		gauge("weir_capture_tunnel_connections", "UDP connections remembered since they may carry tunnels",
			func(s *stats) int { return s.Tunnels.Connections }),
		counter("weir_capture_evicted_tunnel_connections_total", "Such connections that were forgotten to stay within the limit",
			func(s *stats) uint64 { return s.Tunnels.Evicted }),
		counter("weir_capture_reassembled_datagrams_total", "IP datagrams put together from fragments",
			func(s *stats) uint64 { return s.Fragments.Completed }),
		labeled("weir_capture_dropped_datagrams_total", "IP datagrams given up before all of their fragments came", "reason",
			by("timeout", func(s *stats) uint64 { return s.Fragments.TimedOut }),
			by("memory", func(s *stats) uint64 { return s.Fragments.Evicted })),
		counter("weir_capture_overlapping_fragments_total", "IP fragments that repeat bytes already there",
			func(s *stats) uint64 { return s.Fragments.Overlaps }),
		gauge("weir_capture_fragment_memory_bytes", "Memory that waiting fragments take",
			func(s *stats) uint64 { return s.Fragments.Bytes }),
		counter("weir_capture_input_bytes_total", "Bytes of files read, as they are stored",
			func(s *stats) int64 { return s.Read }),
		gauge("weir_capture_inputs", "Inputs: interfaces or files", func(s *stats) int { return s.Files }),
		counter("weir_capture_finished_inputs_total", "Inputs read to their end", func(s *stats) int { return s.Done }),
		counter("weir_capture_damaged_inputs_total", "Inputs that were found damaged", func(s *stats) int { return s.Damaged }),
		{
			Name: "weir_capture_time_seconds", Help: "The capture's time, since 1970", Kind: telemetry.Gauge,
			Samples: telemetry.One(func(s *stats) float64 { return float64(s.Now.Micro()) / 1e6 }),
		},
	}
}

func pipelineMetrics() []telemetry.Metric[Stats] {
	var intel, records []telemetry.Sample[Stats]
	for i, k := range flow.Kinds() {
		intel = append(intel, by(k.Name, func(s *Stats) uint64 { return s.Intel[i] }))
		records = append(records, by(k.Name, func(s *Stats) uint64 { return s.Dissect.Records[i] }))
	}
	return []telemetry.Metric[Stats]{
		counter("weir_sensor_connections_total", "Connections handed to the store and the logs, each with its first record",
			func(s *Stats) uint64 { return s.Connections }),
		labeled("weir_sensor_intel_total", "Records of intel handed to the store and the logs", "kind", intel...),

		counter("weir_flowtable_packets_total", "Packets given to connections",
			func(s *Stats) uint64 { return s.Table.Packets }),
		labeled("weir_flowtable_ignored_packets_total", "Packets of connections that changed no counter", "reason",
			by("checksum", func(s *Stats) uint64 { return s.Table.IgnoredChecksum }),
			by("header", func(s *Stats) uint64 { return s.Table.IgnoredHeader })),
		counter("weir_flowtable_connections_total", "Connections begun",
			func(s *Stats) uint64 { return s.Table.Connections }),
		counter("weir_flowtable_ended_connections_total", "Connections ended",
			func(s *Stats) uint64 { return s.Table.Ended }),
		labeled("weir_flowtable_early_ended_connections_total", "Connections ended before their time; they are stored like others",
			"reason", by("memory", func(s *Stats) uint64 { return s.Table.EndedEarly })),
		gauge("weir_flowtable_open_connections", "Connections open now", func(s *Stats) int { return s.Table.Open }),
		gauge("weir_flowtable_peak_open_connections", "Most connections open at once, summed over shards",
			func(s *Stats) int { return s.Table.OpenPeak }),
		counter("weir_flowtable_interim_records_total", "Records of connections that went on",
			func(s *Stats) uint64 { return s.Table.Interim }),
		labeled("weir_flowtable_dropped_interim_records_total", "Records of connections that went on, left out; later ones include them", "reason",
			by("memory", func(s *Stats) uint64 { return s.Table.InterimSkipped })),
		labeled("weir_flowtable_dropped_history_letters_total", "Letters that the histories of long connections lack", "reason",
			by("limit", func(s *Stats) uint64 { return s.Table.HistoryLettersLost })),

		counter("weir_reassembly_segments_total", "TCP segments with payload",
			func(s *Stats) uint64 { return s.Reassembly.Segments }),
		counter("weir_reassembly_reordered_segments_total", "TCP segments that came ahead of a hole",
			func(s *Stats) uint64 { return s.Reassembly.OutOfOrder }),
		counter("weir_reassembly_repeated_segments_total", "TCP segments that brought nothing new",
			func(s *Stats) uint64 { return s.Reassembly.Retransmits }),
		counter("weir_reassembly_conflicting_segments_total", "TCP segments that contradict an earlier copy",
			func(s *Stats) uint64 { return s.Reassembly.Conflicts }),
		counter("weir_reassembly_gaps_total", "Holes in TCP streams that were given up",
			func(s *Stats) uint64 { return s.Reassembly.Gaps }),
		counter("weir_reassembly_gap_bytes_total", "Bytes that such holes lack",
			func(s *Stats) uint64 { return s.Reassembly.GapBytes }),
		labeled("weir_reassembly_dropped_segments_total", "TCP segments not kept until the hole before them is filled", "reason",
			by("memory", func(s *Stats) uint64 { return s.Reassembly.NotKept })),
		labeled("weir_reassembly_dropped_streams_total", "Directions of TCP connections that are followed no more", "reason",
			by("gaps", func(s *Stats) uint64 { return s.Reassembly.Skipped })),
		gauge("weir_reassembly_held_bytes", "Payload that waits behind holes",
			func(s *Stats) int64 { return s.Reassembly.HeldBytes }),

		labeled("weir_dissect_records_total", "Records of intel found", "kind", records...),
		labeled("weir_dissect_dropped_records_total", "Records of intel left out", "reason",
			by("connection_limit", func(s *Stats) uint64 { return s.Dissect.RecordsDropped })),
		counter("weir_dissect_unknown_streams_total", "Directions of connections whose payload no dissector knows",
			func(s *Stats) uint64 { return s.Dissect.Unknown }),
		labeled("weir_dissect_dropped_streams_total", "Streams that are dissected no more", "reason",
			by("violation", func(s *Stats) uint64 { return s.Dissect.Violations }),
			by("connection_limit", func(s *Stats) uint64 { return s.Dissect.SessionFull }),
			by("memory", func(s *Stats) uint64 { return s.Dissect.MemoryFull }),
			by("gap", func(s *Stats) uint64 { return s.Dissect.Gaps })),
		counter("weir_dissect_truncated_values_total", "Values and lists of intel cut at a limit",
			func(s *Stats) uint64 { return s.Dissect.Truncated }),
		gauge("weir_dissect_sessions", "Streams being dissected now", func(s *Stats) uint64 { return s.Dissect.Sessions }),
	}
}

func storeMetrics() []telemetry.Metric[PublishStats] {
	return []telemetry.Metric[PublishStats]{
		counter("weir_lake_publications_total", "Publications to the store that succeeded",
			func(s *PublishStats) uint64 { return s.Publications }),
		counter("weir_lake_failed_publications_total", "Publications to the store that failed",
			func(s *PublishStats) uint64 { return s.Failures }),
		counter("weir_lake_connection_records_total", "Records of connections that are in the store",
			func(s *PublishStats) int64 { return s.Stored.Conns }),
		counter("weir_lake_intel_total", "Records of intel that are in the store",
			func(s *PublishStats) int64 { return s.Stored.Intel }),
		labeled("weir_lake_dropped_connection_records_total", "Records of connections that did not get into the store", "reason",
			by("write_error", func(s *PublishStats) uint64 { return uint64(s.Lost.Conns) })),
		labeled("weir_lake_dropped_intel_total", "Records of intel that did not get into the store", "reason",
			by("write_error", func(s *PublishStats) uint64 { return uint64(s.Lost.Intel) })),
		timestamp("weir_lake_last_publication_timestamp_seconds",
			"When the store took records for the last time, or when the sensor began, since 1970",
			func(s *PublishStats) time.Time { return s.Last }),
	}
}

func spoolMetrics() []telemetry.Metric[SpoolStats] {
	type stats = SpoolStats
	dropped := func(name, help string, of func(r *lake.Records) int64) telemetry.Metric[stats] {
		return labeled(name, help, "reason",
			by("queue", func(s *stats) uint64 { return uint64(of(&s.Queue)) }),
			by("write_error", func(s *stats) uint64 { return uint64(of(&s.Publish.Lost)) }),
			by("spool_full", func(s *stats) uint64 { return uint64(of(&s.Forward.Dropped)) }),
			by("refused", func(s *stats) uint64 { return uint64(of(&s.Forward.Refused)) }))
	}
	return []telemetry.Metric[stats]{
		counter("weir_neo4j_spool_publications_total", "Publications to the spool that succeeded",
			func(s *stats) uint64 { return s.Publish.Publications }),
		counter("weir_neo4j_spool_failed_publications_total", "Publications to the spool that failed",
			func(s *stats) uint64 { return s.Publish.Failures }),
		timestamp("weir_neo4j_spool_last_publication_timestamp_seconds",
			"When the spool took records for the last time, or when the sensor began, since 1970",
			func(s *stats) time.Time { return s.Publish.Last }),
		dropped("weir_neo4j_dropped_connection_records_total", "Records of connections that the database will not have",
			func(r *lake.Records) int64 { return r.Conns }),
		dropped("weir_neo4j_dropped_intel_total", "Records of intel that the database will not have",
			func(r *lake.Records) int64 { return r.Intel }),
		gauge("weir_neo4j_backlog_parts", "Files that wait in the spool",
			func(s *stats) int64 { return s.Forward.Backlog.Parts }),
		gauge("weir_neo4j_backlog_connection_records", "Records of connections that wait in the spool",
			func(s *stats) int64 { return s.Forward.Backlog.Connections }),
		gauge("weir_neo4j_backlog_intel", "Records of intel that wait in the spool",
			func(s *stats) int64 { return s.Forward.Backlog.Intel }),
		gauge("weir_neo4j_backlog_bytes", "Size of what waits in the spool",
			func(s *stats) int64 { return s.Forward.Backlog.Bytes }),
		timestamp("weir_neo4j_backlog_oldest_timestamp_seconds",
			"When the oldest of what waits in the spool came in, since 1970; 0 if nothing waits",
			func(s *stats) time.Time { return s.Forward.Backlog.Oldest }),
		counter("weir_neo4j_sent_parts_total", "Files of the spool that are in the database",
			func(s *stats) int64 { return s.Forward.Parts }),
		counter("weir_neo4j_sent_connection_records_total", "Records of connections that are in the database",
			func(s *stats) int64 { return s.Forward.Connections }),
		counter("weir_neo4j_sent_intel_total", "Records of intel that are in the database",
			func(s *stats) int64 { return s.Forward.Intel }),
		counter("weir_neo4j_sent_flows_total", "Flows that were made or changed in the database",
			func(s *stats) int64 { return s.Forward.Flows }),
		counter("weir_neo4j_retries_total", "Transactions that were tried again",
			func(s *stats) int64 { return s.Forward.Retries }),
		timestamp("weir_neo4j_last_success_timestamp_seconds",
			"When the database took records for the last time, since 1970; 0 if it has not yet",
			func(s *stats) time.Time { return s.Forward.Last }),
		gauge("weir_neo4j_up", "1 while nothing keeps the sensor from sending to the database, 0 while something does",
			func(s *stats) int {
				if s.Forward.Err != nil {
					return 0
				}
				return 1
			}),
	}
}

func logMetrics() []telemetry.Metric[zeeklog.Stats] {
	type stats = zeeklog.Stats
	return []telemetry.Metric[stats]{
		counter("weir_zeeklog_lines_total", "Lines written to Zeek's logs", func(s *stats) uint64 { return s.Lines }),
		labeled("weir_zeeklog_dropped_lines_total", "Lines that did not get into Zeek's logs", "reason",
			by("write_error", func(s *stats) uint64 { return s.Lost })),
		counter("weir_zeeklog_rotations_total", "Logs that were closed and given their name", func(s *stats) uint64 { return s.Rotations }),
		counter("weir_zeeklog_errors_total", "Logs that could not be opened, written or rotated", func(s *stats) uint64 { return s.Errors }),
	}
}
